/**
 * A closed loop: each caller appends, waits for the answer and appends again.
 *
 * - What ends before the warm-up is over, or after the window has closed, is not counted.
 * - A latency is the time from the continuation behind the `await` before to the one behind its own, as a program sees
 *   it, making the event included.
 */
import type { DrivenEntities } from "./entities.ts";
import { Latencies } from "./latencies.ts";
import type { Payments } from "./payload.ts";
import { type Random, uniformChoice, zipfChoice } from "./random.ts";
import type { Readings, Subject } from "./subject.ts";

export interface LoadOptions {
  readonly subject: Subject;
  readonly driven: DrivenEntities;
  readonly payments: Payments;
  readonly random: Random;
  readonly callers: number;
  /** Events of one append. */
  readonly batch: number;
  /** Percent of the calls that read a state instead of appending; of 100 the latencies are those of the reads. */
  readonly mixed: number;
  /** Choose entities by Zipf's law instead of all alike. */
  readonly zipf: boolean;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** End the window after so many events, should they come before the time is over. */
  readonly events: number | undefined;
  readonly signal: AbortSignal;
}

export interface LoadResult extends Readings {
  /** The measured window, seconds. */
  readonly seconds: number;
  readonly events: number;
  readonly appends: number;
  readonly reads: number;
  readonly eventsPerSecond: number;
  readonly readsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const {
    subject,
    driven,
    payments,
    random,
    callers,
    batch,
    mixed,
    zipf,
    events: eventsMax = Number.POSITIVE_INFINITY,
  } = options;
  const latencies = new Latencies();
  let appends = 0;
  let reads = 0;
  let isMeasured = false;
  let isOver = false;
  let failure: unknown;
  let onStopped = () => {};
  const stopped = new Promise<void>((resolve) => {
    onStopped = resolve;
  });
  const choose = (zipf ? zipfChoice : uniformChoice)(random, driven.active);
  const caller = async () => {
    // A call begins when the one before has ended: the clock, which costs as much as a part of an append, is read once.
    let begun = performance.now();
    while (!isOver) {
      const number = choose();
      const entity = driven.entity(number);
      if (mixed > 0 && random.below(100) < mixed) {
        await entity.read();
        const ended = performance.now();
        if (mixed === 100) latencies.record(ended - begun);
        begun = ended;
        reads++;
        continue;
      }
      const result =
        batch === 1 ? await entity.append(payments.event()) : await entity.appendBatch(payments.batch(batch));
      const ended = performance.now();
      latencies.record(ended - begun);
      begun = ended;
      if (!result.ok) throw new Error("an append without expectations met a conflict");
      driven.note(number, batch);
      appends++;
      if (isMeasured && appends * batch >= eventsMax) onStopped();
    }
  };
  const running = Array.from({ length: callers }, () =>
    caller().catch((thrown: unknown) => {
      failure ??= thrown;
      isOver = true;
      onStopped();
    }),
  );
  options.signal.addEventListener("abort", onStopped, { once: true });

  if (options.warmupSeconds > 0) await within(options.warmupSeconds, stopped);
  const readings = await subject.measure();
  latencies.clear();
  appends = 0;
  reads = 0;
  isMeasured = true;
  const begun = performance.now();
  await within(options.seconds, stopped);
  const seconds = (performance.now() - begun) / 1000;
  const events = appends * batch;
  const counted = {
    seconds,
    events,
    appends,
    reads,
    eventsPerSecond: events / seconds,
    readsPerSecond: reads / seconds,
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
    p999Ms: latencies.quantileMs(0.999),
    maxMs: latencies.maxMs,
  };
  const result = { ...counted, ...(await readings()) };
  isOver = true;
  await Promise.all(running);
  if (failure !== undefined) throw failure;
  return result;
}

/** Waits so many seconds, or until `stopped` if that is earlier; leaves no timer behind. */
async function within(seconds: number, stopped: Promise<void>): Promise<void> {
  let timer: Timer | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, seconds * 1000);
  });
  await Promise.race([over, stopped]);
  clearTimeout(timer);
}
