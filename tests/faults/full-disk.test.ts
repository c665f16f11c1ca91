import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAndVerify } from "../crash/campaign.ts";
import { Model } from "../crash/model.ts";
import { printedSeed, seededRandom } from "../crash/seeded.ts";
import { loadInto } from "./flips.ts";

const home = mkdtempSync(join(tmpdir(), "warp-full-"));
const disk = join(home, "disk");
mkdirSync(disk);

function mount(...options: string[]): string | undefined {
  const run = Bun.spawnSync(["mount", ...options]);
  return run.exitCode === 0 ? undefined : run.stderr.toString().trim() || "mount failed";
}

const reason = mount("-t", "tmpfs", "-o", "size=4m", "none", disk);

async function fillDisk(): Promise<void> {
  try {
    const seed = printedSeed();
    const order = { dataDir: join(disk, "data"), seed, run: "f", callers: 12, operations: 0 };
    const lines = await loadInto(home, order);
    const failed = lines.flatMap((line) => ("failed" in line ? [line.failed] : []));
    expect(["DISK_FULL", "IO_ERROR"]).toContain(failed[0] ?? "it did not fail");
    expect(lines.at(-1)).toEqual({ mark: "closed" });
    const model = new Model();
    model.take(lines, ["OUTCOME_UNKNOWN", "ENGINE_FAILED", "DISK_FULL", "IO_ERROR"]);
    expect(mount("-o", "remount,size=64m", disk)).toBeUndefined();
    const verified = await openAndVerify(disk, model, seededRandom(seed));
    expect([...model.complaints, ...verified.complaints]).toEqual([]);
    expect(verified.events).toBeGreaterThan(100);
  } finally {
    Bun.spawnSync(["umount", disk]);
    rmSync(home, { recursive: true });
  }
}

const name = "a disk that fills up stops the engine, and with more space everything acknowledged is there";
if (reason === undefined) test(name, fillDisk);
else {
  test(`DID NOT RUN (${reason}): ${name}`, () => {
    console.warn(`\nA FULL DISK WAS TESTED BY INJECTED ERRORS ONLY: ${reason}\n`);
    rmSync(home, { recursive: true });
  });
}
