/**
 * What the tests of the engine share: small contexts in directories of their own, and the aggregates they fold.
 *
 * - Everything is small (tail, segments, shards), so that settling, wrapping and switching segments happen all the time.
 * - A context that a test leaves open is closed, and every directory removed, by `cleanUp`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Warp } from "../../src/index.ts";
import { defineAggregate, reject, type Settings, start, WarpError } from "../../src/index.ts";

export { seededRandom } from "../../src/shard/sample.ts";

export const account = defineAggregate({
  name: "account",
  version: 1,
  initialState: { cents: 0, count: 0 },
  evolve: {
    Credited: (state, { data }) => ({ cents: state.cents + data.cents, count: state.count + 1 }),
    Debited: (state, { data }) => ({ cents: state.cents - data.cents, count: state.count + 1 }),
  },
  commands: {
    debit: (state, input: { cents: number }) =>
      state.cents < input.cents
        ? reject("INSUFFICIENT_FUNDS", { have: state.cents })
        : { type: "Debited", data: { cents: input.cents } },
  },
  snapshotEvery: 10,
});

/** Remembers every seq it folds, so that a missing, doubled or reordered event shows. */
export const trace = defineAggregate({
  name: "trace",
  version: 1,
  initialState: { last: 0, sum: 0 },
  evolve: (state: { last: number; sum: number }, { seq, data }) => {
    if (seq !== state.last + 1) throw new Error(`seq ${seq} after ${state.last}`);
    return { last: seq, sum: state.sum + (data.cents ?? 0) };
  },
  snapshotEvery: 7,
});

export const credited = (cents: number) => ({ type: "Credited", data: { cents } });

export const smallSettings = {
  context: "banking",
  shards: 2,
  writers: 1,
  memory: { tailBytes: 1 << 20 },
  journal: { segmentBytes: 256 * 1024, segmentsMax: 8 },
  settle: { delayMs: 20 },
} as const;

const directories: string[] = [];
const opened = new Set<Warp>();

export function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "warp-engine-"));
  directories.push(directory);
  return join(directory, "data");
}

/** Opens a context with small settings over `dataDir`. */
export async function openSmall(dataDir: string, settings: Partial<Settings> = {}): Promise<Warp> {
  const warp = await start({ ...smallSettings, aggregates: [account], ...settings, dataDir });
  opened.add(warp);
  return warp;
}

/** Closes the contexts that are still open and removes all directories. */
export async function cleanUp(): Promise<void> {
  for (const warp of opened) await warp.close();
  opened.clear();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** The code that a promise fails with, or what it resolved with as text. */
export async function codeOf(work: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    const value = await (typeof work === "function" ? work() : work);
    return `no error: ${JSON.stringify(value)}`;
  } catch (thrown) {
    return thrown instanceof WarpError ? thrown.code : `not a WarpError: ${String(thrown)}`;
  }
}

export async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const all: Value[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** Waits until `condition` holds, letting everything else run in between. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until every record is in the shards' files. */
export function settled(warp: Warp): Promise<void> {
  return until(() => warp.pressure.unsettledBytes === 0);
}
