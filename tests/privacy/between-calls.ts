/**
 * Ends of a process between any two calls of an erasure, worked out from a recording.
 *
 *   bun tests/privacy/between-calls.ts [--states 500] [--seed N]
 *
 * - A load that erases, with its projection, is recorded with every write, size, name and sync. A process that is killed
 *   leaves exactly what it had written until then, so each call of the recording is an end that may have come.
 * - Those between the moment at which an erasure was asked for and that of its receipt are opened and looked at
 *   (found.ts): all of them, or as many as are wanted, spread evenly.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Disk } from "../crash/disk.ts";
import type { LoadOrder, LogLine } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";
import { type TracedCall, traced } from "../crash/trace.ts";
import { application, lookAt } from "./found.ts";

const loadScript = join(import.meta.dir, "../crash/load.ts");

export interface BetweenResult {
  /** Calls of the recording within erasures; and those that were tried. */
  readonly calls: number;
  readonly states: number;
  readonly complaints: readonly string[];
}

export async function endBetweenCalls(seed: number, statesMax: number): Promise<BetweenResult> {
  const home = mkdtempSync(join(tmpdir(), "warp-between-"));
  const [base, root] = [join(home, "base"), join(home, "run")];
  mkdirSync(root);
  const order: LoadOrder = {
    ...{ dataDir: join(root, "data"), seed, run: "b", callers: 3, operations: 40 },
    ...{ lives: 0.4, application },
  };
  cpSync(root, base, { recursive: true });
  const calls = await traced([process.execPath, loadScript, JSON.stringify(order)], root);
  rmSync(root, { recursive: true });
  cpSync(base, root, { recursive: true });

  const ends = endsWithin(calls);
  const count = Math.min(statesMax, ends.length);
  const chosen = Array.from({ length: count }, (_, i) => ends[Math.floor((i * ends.length) / count)] ?? 0);
  const complaints: string[] = [];
  let states = 0;
  for (const until of chosen) {
    const state = join(home, `state-${states++}`);
    const disk = new Disk(root);
    for (const call of calls) if (call.start <= until) disk.apply(call, until);
    disk.writeAll(state);
    const model = new Model();
    model.take(saidBy(calls, until));
    const found = await lookAt(join(state, "data"), join(state, "target"), model);
    complaints.push(...found.complaints.slice(0, 12).map((one) => `line ${until}: ${one} [${state}]`));
    if (complaints.length > 0) return { calls: ends.length, states, complaints };
    rmSync(state, { recursive: true });
  }
  rmSync(home, { recursive: true });
  return { calls: ends.length, states, complaints };
}

/** The lines of calls that change something while an erasure is under way. */
function endsWithin(calls: readonly TracedCall[]): number[] {
  const asked = new Set<string>();
  const ends: number[] = [];
  for (const call of calls) {
    if (call.kind !== "said") {
      if (asked.size > 0 && call.kind !== "sync" && call.kind !== "open") ends.push(call.start);
      continue;
    }
    for (const line of logLines(call.text)) {
      if ("try" in line && line.try.kind === "erase") asked.add(line.try.op);
      if ("done" in line) asked.delete(line.done.op);
    }
  }
  return ends;
}

/** What callers had tried and been told. What is written in one call is said at once. */
function saidBy(calls: readonly TracedCall[], until: number): LogLine[] {
  const said = calls.map((call) => (call.kind === "said" && call.start <= until ? call.text : ""));
  return logLines(said.join(""));
}

if (import.meta.main) {
  const value = (name: string) => process.argv[process.argv.indexOf(name) + 1];
  const seed = process.argv.includes("--seed") ? Number(value("--seed")) : Date.now() % 2 ** 31;
  const states = process.argv.includes("--states") ? Number(value("--states")) : Number.MAX_SAFE_INTEGER;
  console.log(`seed ${seed}`);
  const result = await endBetweenCalls(seed, states);
  console.log(JSON.stringify(result, undefined, 2));
  process.exit(result.complaints.length === 0 ? 0 : 1);
}
