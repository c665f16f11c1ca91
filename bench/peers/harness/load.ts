/**
 * A closed loop over a peer: each caller calls, waits for the answer and calls again. What ends before the warm-up is
 * over, or after the window has closed, is not measured, but all of it is acknowledged and counted.
 */
import { Latencies } from "../../../src/cli/verbs/bench/latencies.ts";
import { Payments } from "../../../src/cli/verbs/bench/payload.ts";
import { Random } from "../../../src/cli/verbs/bench/random.ts";
import type { RunningPeer } from "./peer.ts";
import { entityCount, type Workload } from "./workloads.ts";

export interface Measured {
  /** Events appended, and reads answered, per second. */
  readonly eventsPerSecond: number;
  readonly readsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Calls that ended in the window; absent in older records. */
  readonly completions?: number;
  readonly seconds: number;
  /** Processors that this process, the client, kept busy. */
  readonly clientBusy: number;
}

/** The entities of a system: the seq that each has reached. */
export class Given {
  readonly seqs = new Uint32Array(entityCount);
  /** Entities that exist, from the first on. */
  entities = 0;
  /** Events that were acknowledged. */
  acknowledged = 0;
}

export function idOf(number: number): string {
  return `entity-${number}`;
}

const fillCallers = 256;

/** Gives the entities an event each, so that none is made in a measured window; ends early when the time is over. */
export async function fill(peer: RunningPeer, given: Given, secondsMax: number): Promise<void> {
  const payments = new Payments(100, 1);
  const begun = performance.now();
  const caller = async () => {
    while (given.entities < entityCount && performance.now() - begun < secondsMax * 1000) {
      const number = given.entities++;
      given.seqs[number] = 1;
      await peer.append(idOf(number), 1, [payments.event()]);
      given.acknowledged++;
    }
  };
  await Promise.all(Array.from({ length: fillCallers }, caller));
}

const readsBetweenTurns = 32;

export interface LoadOptions {
  readonly peer: RunningPeer;
  readonly given: Given;
  readonly workload: Workload;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly seed: number;
}

/** How long a window is. A fixed amount of work gets more time, and ends it. */
function windowSeconds({ events }: Workload, seconds: number): number {
  return events === undefined ? seconds : seconds * 2;
}

/** A window in which a caller has not called so often on average is prolonged … */
export const callsOfCaller = 5;
/** … up to so many times its length. */
const prolongedMax = 4;
/** A window that stayed open so much longer than it was to: the whole machine stood still meanwhile. */
const stoodStill = 1.3;

/** Also says whether the window was open much longer than it was meant to be. */
export async function runLoad(options: LoadOptions): Promise<Measured & { readonly isStretched: boolean }> {
  const { peer, given, workload, seed } = options;
  const { batch, readPercent, callers, events: eventsMax = Number.POSITIVE_INFINITY } = workload;
  const payments = new Payments(workload.bytes, seed);
  const random = new Random(seed + 1);
  const { seqs, entities } = given;
  const draw = workload.isSkewed === true ? skewed(random, entities) : () => random.below(entities);
  const latencies = new Latencies();
  let events = 0;
  let reads = 0;
  let begun = performance.now();
  let cpu = process.cpuUsage();
  let isOver = false;
  let failure: unknown;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();

  const caller = async () => {
    while (!isOver) {
      const number = draw();
      const id = idOf(number);
      const called = performance.now();
      if (readPercent > 0 && random.below(100) < readPercent) {
        const state = await peer.read(id);
        if (state === undefined || state === null) throw new Error(`${id} has no state`);
        latencies.record(performance.now() - called);
        reads++;
        // A library answers reads at once, and callers that never wait would keep timers and others from their turn.
        if (reads % readsBetweenTurns === 0) await new Promise(setImmediate);
      } else {
        const seq = (seqs[number] ?? 0) + 1;
        seqs[number] = seq + batch - 1;
        await peer.append(id, seq, batch === 1 ? [payments.event()] : payments.batch(batch));
        events += batch;
        given.acknowledged += batch;
        latencies.record(performance.now() - called);
        if (events >= eventsMax) stop();
      }
    }
  };
  const running = Array.from({ length: callers }, () =>
    caller().catch((thrown: unknown) => {
      failure ??= thrown;
      isOver = true;
      stop();
    }),
  );
  // A fixed amount of work is measured from its first event, which a library appends before it hands back the first promise.
  const isFixed = workload.events !== undefined;
  if (!isFixed) {
    await Promise.race([Bun.sleep(options.warmupSeconds * 1000), stopped]);
    latencies.clear();
    events = 0;
    reads = 0;
    begun = performance.now();
    cpu = process.cpuUsage();
  }
  const least = windowSeconds(workload, options.seconds);
  let meant = 0;
  do {
    meant += least;
    await Promise.race([Bun.sleep(least * 1000), stopped]);
  } while (!isFixed && !isOver && latencies.count < callsOfCaller * callers && meant < prolongedMax * least);
  const seconds = (performance.now() - begun) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const measured = {
    eventsPerSecond: events / seconds,
    readsPerSecond: reads / seconds,
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
    completions: latencies.count,
    seconds,
    clientBusy: (user + system) / 1e6 / seconds,
    isStretched: seconds > stoodStill * meant,
  };
  isOver = true;
  await Promise.all(running);
  if (failure !== undefined) throw failure;
  return measured;
}

const zipfExponent = 0.99;

/** Draws entities by Zipf's law, from a table of the cumulated shares. */
function skewed(random: Random, entities: number): () => number {
  const shares = new Float64Array(entities);
  let total = 0;
  for (let rank = 0; rank < entities; rank++) {
    total += 1 / (rank + 1) ** zipfExponent;
    shares[rank] = total;
  }
  const resolution = 2 ** 30;
  return () => {
    const wanted = (random.below(resolution) / resolution) * total;
    let low = 0;
    let high = entities - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((shares[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
