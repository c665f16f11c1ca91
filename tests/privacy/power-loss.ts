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
import { application, notFound } from "./found.ts";
import { readable, tracesIn } from "./traces.ts";

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
  const calls = await recordLives(root, { seed, callers: 3, operations: 40, lives: 0.7, durability });
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
    const [all, model] = [[...readable(join(state, "data"))], modelAt(calls, until)];
    const traces = tracesIn(all, model.buriedTexts);
    // Who is not erased is on this disk, or the scan would find nothing of anybody.
    if (durability === "fsync") traces.push(...notFound(all, withoutAsked(model)));
    complaints.push(...traces.slice(0, 12).map((one) => `line ${until}: ${one} [${state}]`));
    if (complaints.length === 0) rmSync(state, { recursive: true });
  }
  if (complaints.length === 0) rmSync(home, { recursive: true });
  return { receipts: receipts.length, states, complaints };
}

/** What a load does that begins in a new directory under `root`, where nothing is left of it. */
async function recordLives(root: string, order: Omit<LoadOrder, "dataDir" | "run">): Promise<TracedCall[]> {
  mkdirSync(root);
  const load: LoadOrder = { ...order, dataDir: join(root, "data"), run: "a", application };
  const calls = await traced([process.execPath, loadScript, JSON.stringify(load)], root);
  rmSync(root, { recursive: true });
  return calls;
}

/**
 * Of how many erasures entries were written into ledgers, and before which of them the journal had not been synced since the erasure was
 * asked for. One caller, durability "os".
 */
export async function ledgersAheadOfJournal(seed: number): Promise<{ entries: number; ahead: number }> {
  const home = mkdtempSync(join(tmpdir(), "warp-erased-power-"));
  const order = { seed, callers: 1, operations: 20, lives: 1, durability: "os" } as const;
  const calls = await recordLives(join(home, "run"), order);
  rmSync(home, { recursive: true });
  const found = { entries: 0, ahead: 0 };
  let isSynced = false;
  for (const call of calls) {
    if (call.kind === "said" && call.text.includes('"kind":"erase"')) isSynced = false;
    else if (call.kind === "sync" && /\/journal\/\d+$/.test(call.path)) isSynced = true;
    else if (call.kind === "write" && call.path.endsWith("/ledger")) {
      found.entries++;
      if (!isSynced) found.ahead++;
    }
  }
  return found;
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

/** Those whose erasure is under way may be there or not. */
function withoutAsked(model: Model): Model {
  for (const [op, { operation }] of model.operations)
    if (model.erasures.get(operation.parts[0]?.[0] ?? "") === "asked") model.operations.delete(op);
  return model;
}

/** What callers knew when the power failed. */
function modelAt(calls: readonly TracedCall[], until: number): Model {
  const model = new Model();
  for (const call of calls) if (call.kind === "said" && call.start <= until) model.take(logLines(call.text));
  return model;
}
