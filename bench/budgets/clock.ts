/**
 * How long a step takes, in ns of a machine on which the yardstick takes 1 µs.
 *
 * - The yardstick is what every path does anyhow: an event of 100 bytes written and read as JSON, and 1 KiB copied.
 * - Step and yardstick take turns every few milliseconds, and the median of their ratios counts: a processor that changes its
 *   speed, or is taken away for a while, changes both.
 */
import { Payments } from "../../src/cli/verbs/bench/payload.ts";

/** Performs the step so many times. */
export type Run = (times: number) => void | Promise<void>;

export const yardstickNs = 1000;

const roundMs = 2;
const warmUpMs = 250;
const roundsMax = 60;
const roundsMin = 9;
/** Steps that take long at once are measured in fewer rounds. */
const measuredMs = 1500;

const payments = new Payments(100, 1);
const data = Array.from({ length: 1024 }, () => payments.data());
const source = new Uint8Array(1024).fill(7);
const target = new Uint8Array(1024);
/** What steps compute goes here, so that nobody leaves it out. */
export const sink: { value: unknown } = { value: undefined };

function yardstick(times: number): void {
  for (let i = 0; i < times; i++) {
    sink.value = JSON.parse(JSON.stringify([data[i & 1023]]));
    target.set(source);
  }
}

async function msOf(run: Run, times: number): Promise<number> {
  const begun = performance.now();
  const done = run(times);
  if (done !== undefined) await done;
  return performance.now() - begun;
}

/** How many times fill a round, found while the compiler warms up. */
async function timesOf(run: Run): Promise<number> {
  let times = 1;
  let perRound = 1;
  const end = performance.now() + warmUpMs;
  while (performance.now() < end) {
    const ms = await msOf(run, times);
    perRound = Math.max(1, Math.round((times * roundMs) / Math.max(ms, 0.001)));
    times = Math.min(perRound, times * 4);
  }
  return perRound;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** ns of one time, at the yardstick's speed. */
export async function measure(run: Run): Promise<number> {
  const times = await timesOf(run);
  const yards = await timesOf(yardstick);
  const ratios: number[] = [];
  let before = await msOf(yardstick, yards);
  const end = performance.now() + measuredMs;
  for (let round = 0; round < roundsMax; round++) {
    if (round >= roundsMin && performance.now() > end) break;
    const ms = await msOf(run, times);
    const after = await msOf(yardstick, yards);
    ratios.push(ms / times / ((before + after) / 2 / yards));
    before = after;
  }
  return median(ratios) * yardstickNs;
}

/** What the yardstick takes now, ns: to bring a figure of a whole run to the yardstick's speed. */
export async function yardstickNow(): Promise<number> {
  const yards = await timesOf(yardstick);
  const all: number[] = [];
  for (let round = 0; round < roundsMax; round++) all.push((await msOf(yardstick, yards)) / yards);
  return median(all) * 1e6;
}
