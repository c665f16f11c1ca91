/**
 * Power failures behind receipts: what a disk may be left with when the power fails after an erasure was called complete is
 * searched as it is, before any start could clean it.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Disk } from "../crash/disk.ts";
import type { LoadOrder } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";
import { seededRandom } from "../crash/seeded.ts";
import { type TracedCall, traced } from "../crash/trace.ts";
import { application } from "./found.ts";
import { tracesOf } from "./traces.ts";

const loadScript = join(import.meta.dir, "../crash/load.ts");

export interface FailedPower {
  readonly receipts: number;
  readonly states: number;
  readonly complaints: readonly string[];
}

/** Records short lives beside a projection, and searches `states` disks, each behind some receipt. */
export async function failPowerBehindReceipts(
  seed: number,
  durability: "fsync" | "os",
  states: number,
): Promise<FailedPower> {
  const random = seededRandom(seed);
  const home = mkdtempSync(join(tmpdir(), "warp-erased-power-"));
  const root = join(home, "run");
  mkdirSync(root);
  const load: LoadOrder = {
    dataDir: join(root, "data"),
    ...{ seed, run: "a", callers: 3, operations: 40, lives: 0.5, application, durability },
  };
  const calls = await traced([process.execPath, loadScript, JSON.stringify(load)], root);
  rmSync(root, { recursive: true });
  mkdirSync(root);
  const receipts = receiptLines(calls);
  const complaints: string[] = [];
  for (let done = 0; done < states && complaints.length === 0; done++) {
    const until = receipts[Math.floor(random() * receipts.length)] ?? 0;
    const state = join(home, `state-${done}`);
    const disk = new Disk(root);
    for (const call of calls) if (call.start <= until) disk.apply(call, until);
    if (done % 2 === 0) disk.writeSynced(state);
    else disk.write(state, random);
    const traces = tracesOf(join(state, "data"), modelAt(calls, until).buriedTexts);
    complaints.push(...traces.slice(0, 12).map((one) => `line ${until}: ${one} [${state}]`));
    if (complaints.length === 0) rmSync(state, { recursive: true });
  }
  if (complaints.length === 0) rmSync(home, { recursive: true });
  return { receipts: receipts.length, states, complaints };
}

/** Where the recording says that somebody has a receipt. */
function receiptLines(calls: readonly TracedCall[]): number[] {
  const model = new Model();
  const lines: number[] = [];
  for (const call of calls) {
    if (call.kind !== "said") continue;
    const before = model.buriedOperations.length;
    model.take(logLines(call.text));
    if (model.buriedOperations.length > before) lines.push(call.start);
  }
  return lines;
}

/** What callers knew when the power failed. */
function modelAt(calls: readonly TracedCall[], until: number): Model {
  const model = new Model();
  for (const call of calls) if (call.kind === "said" && call.start <= until) model.take(logLines(call.text));
  return model;
}
