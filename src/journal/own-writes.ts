/**
 * Decides which turns the main thread writes itself instead of waking the journal Worker (docs/decisions/0021).
 *
 * - With few callers everybody waits for the sync, the main thread too: handing the turn over gains nothing, and to wake two threads
 *   takes as long as a quick disk.
 * - A thread that is in a sync does nothing else. So it writes itself only while the disk is quick and there is little else to do;
 *   otherwise turns are handed over for a while, and then it tries again. What it tries in vain takes 2 % of its time at most.
 * - One turn in a pass of the event loop: what arrived during a sync is heard before the next one.
 */

/** A turn of so many completions, or bytes, is the Worker's. */
export const smallTurn = 64;
export const smallTurnBytes = 128 * 1024;

/** Turns that one look is about. */
const turnsPerLook = 16;
/** A disk is quick when writing a turn takes no longer, on average … */
const quickMs = 0.5;
/** … and never this long. */
const slowMs = 4;
/** There is little else to do when the thread uses no more processor time, writing included, in times of the time it writes. */
const busyMax = 2;
/** It rests for this long when the look was bad, and for so many times as long as what it looked at took. */
const restMs = 250;
const restPerMs = 50;

export class OwnWrites {
  /** On the clock of performance.now(). */
  #restsUntil = 0;
  /** Of the look under way: turns, the time they took to write, and the thread's processor time at its beginning. */
  #turns = 0;
  #writingMs = 0;
  #usedMs = 0;
  #isInPass = false;
  #onPass: (() => void) | undefined;

  /** True when a turn of so many completions and bytes is for the main thread. */
  isFor(completions: number, bytes: number): boolean {
    const isSmall = completions < smallTurn && bytes < smallTurnBytes;
    return isSmall && !this.#isInPass && performance.now() >= this.#restsUntil;
  }

  /** A turn was written, and it took so long. */
  note(ms: number): void {
    this.#isInPass = true;
    setImmediate(this.#pass);
    if (this.#turns === 0) this.#usedMs = threadMs();
    this.#turns++;
    this.#writingMs += ms;
    if (ms > slowMs) this.#end(0);
    else if (this.#turns === turnsPerLook) this.#look();
  }

  /** True when a turn was written in this pass of the event loop; `callback` is then called in the next one. */
  waits(callback: () => void): boolean {
    if (this.#isInPass) this.#onPass = callback;
    return this.#isInPass;
  }

  readonly #pass = (): void => {
    this.#isInPass = false;
    const callback = this.#onPass;
    this.#onPass = undefined;
    callback?.();
  };

  #look(): void {
    const isSlow = this.#writingMs > quickMs * this.#turns;
    const isBusy = threadMs() - this.#usedMs > busyMax * this.#writingMs;
    this.#end(isSlow || isBusy ? restMs : undefined);
  }

  /** Ends a look; `atLeastMs` is given when it was bad. */
  #end(atLeastMs?: number): void {
    if (atLeastMs !== undefined)
      this.#restsUntil = performance.now() + Math.max(atLeastMs, restPerMs * this.#writingMs);
    this.#turns = 0;
    this.#writingMs = 0;
  }
}

/** Processor time of this thread. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
