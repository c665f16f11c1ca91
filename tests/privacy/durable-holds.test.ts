/**
 * A hold that was answered is in force after a power failure, also when another process kept the WAL from being copied.
 */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "../../src/index.ts";
import { Disk } from "../crash/disk.ts";
import { effort, printedSeed, seededRandom } from "../crash/seeded.ts";
import { loadSettings } from "../crash/settings.ts";
import { traced, whyNoTrace } from "../crash/trace.ts";

const reason = whyNoTrace();
const name = "a hold that was answered outlives a power failure, whoever reads an older state meanwhile";

async function holdsOfStates(seed: number, states: number): Promise<(string | undefined)[]> {
  const random = seededRandom(seed);
  const home = mkdtempSync(join(tmpdir(), "warp-holds-"));
  const root = join(home, "run");
  mkdirSync(root);
  const dataDir = join(root, "data");
  const calls = await traced([process.execPath, join(import.meta.dir, "hold-child.ts"), dataDir], root);
  const said = calls.find(({ kind }) => kind === "said");
  if (said === undefined) throw new Error("nothing was answered");
  rmSync(root, { recursive: true });
  mkdirSync(root);
  const reasons: (string | undefined)[] = [];
  for (let i = 0; i < states; i++) {
    const disk = new Disk(root);
    for (const call of calls) if (call.start <= said.start) disk.apply(call, said.start);
    const state = join(home, `state-${i}`);
    disk.write(state, random);
    const warp = await start({ ...loadSettings(join(state, "data")), shards: 1, writers: 1 });
    reasons.push((await warp.entity("alice").currentHold())?.reason);
    await warp.close();
  }
  rmSync(home, { recursive: true });
  return reasons;
}

/** Without strace nothing can be proved here; the run says so in its output and in the test's name. */
if (reason === undefined) {
  test(name, async () => {
    const states = effort(8);
    const holds = await holdsOfStates(printedSeed(), states);
    expect(holds).toEqual(new Array(states).fill("claim"));
  }, 300_000);
} else {
  test(`DID NOT RUN (${reason}): ${name}`, () => console.warn(`\nNOT TESTED: ${reason}\n`));
}
