/**
 * Keeps Workers off the processor that the main thread is on, while that is busy.
 *
 * - Everybody waits for the main thread, and a Worker that it has just woken is what a scheduler likes to put beside it, or in its place: the
 *   main thread then waits, or is moved and finds the caches of another processor empty (docs/decisions/0013).
 * - Only the engine's own Workers are told where not to run. The main thread and whatever else a program does run where the system puts
 *   them, and a main thread that has little to do leaves all processors to everybody.
 * - Who gives a Worker other processors from outside, with `taskset`, is not overruled: it then leaves out one of those.
 */
import { allowedProcessors, currentProcessor, runOn } from "./processors.ts";

const lookEveryMs = 250;
/** Of a processor; below that the main thread waits more than it is waited for. */
const busyShare = 0.5;

interface Placed {
  /** What it may run on when nothing is left out. */
  allowed: readonly number[];
  /** What it was given last. */
  given: readonly number[];
}

export class Aside {
  readonly #threads: () => readonly number[];
  readonly #placed = new Map<number, Placed>();
  /** The processor that is left to the main thread; -1 when none is. */
  #left = -1;
  /** Where the last look found it. */
  #seen = -1;
  #lookedAt = 0;
  #usedUs = 0;

  /** `threads` are the Workers, by their numbers in the system; 0 for one that is not known. */
  constructor(threads: () => readonly number[]) {
    this.#threads = threads;
  }

  /** Called by the main thread, as often as it likes. */
  look(): void {
    const now = performance.now();
    const elapsedMs = now - this.#lookedAt;
    if (elapsedMs < lookEveryMs) return;
    const { user, system } = process.threadCpuUsage();
    const share = (user + system - this.#usedUs) / 1000 / elapsedMs;
    this.#lookedAt = now;
    this.#usedUs = user + system;
    const seen = share >= busyShare ? currentProcessor() : -1;
    // What was moved aside for a moment comes back.
    if (seen === this.#seen) this.leave(seen);
    this.#seen = seen;
  }

  /** Leaves a processor to the main thread; -1 for none. */
  leave(processor: number): void {
    if (processor === this.#left) return;
    this.#left = processor;
    for (const thread of this.#threads()) if (thread > 0) this.#place(thread);
  }

  #place(thread: number): void {
    const current = allowedProcessors(thread);
    const before = this.#placed.get(thread);
    const isOurs = before !== undefined && String(before.given) === String(current);
    const allowed = isOurs ? before.allowed : current;
    const others = allowed.filter((one) => one !== this.#left);
    const given = others.length === 0 ? allowed : others;
    this.#placed.set(thread, { allowed, given });
    if (given.length > 0 && String(given) !== String(current)) runOn(thread, given);
  }
}
