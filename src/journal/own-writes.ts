/**
 * Decides which turns the main thread writes itself instead of waking the journal Worker (docs/decisions/0021).
 *
 * - With few callers everybody waits for the sync, the main thread too: handing the turn over gains nothing, and to wake two threads
 *   takes as long as a quick disk.
 * - A thread that is in a sync does nothing else. So it writes itself only while the disk is quick and there is little else to do;
 *   otherwise turns are handed over for a while, and then it tries again. What it tries in vain takes a tenth of its time at most.
 * - Reads of a server do not wait for a disk: where there are more of them than turns, turns are handed over.
 * - One turn in a pass of the event loop: what arrived during a sync is heard before the next one.
 */

/** A turn of so many completions, or bytes, is the Worker's. */
export const smallTurn = 64;
export const smallTurnBytes = 128 * 1024;

/** Turns that one look is about. */
const turnsPerLook = 64;
/** A disk is quick when it takes no longer for half of them … */
const quickMs = 0.5;
/** … and for each. */
const slowMs = 4;
/** There is little else to do when the thread uses no more processor time, writing included, in times of the time it writes. */
const busyMax = 4;
/** Reads for others that are served beside as many turns, and these few more, are something else to do. */
const readsMax = 8;
/** It rests for this long when a look was bad … */
const restMs = 100;
/** … and for so many times as long as a slow one took. */
const restPerMs = 10;

export class OwnWrites {
  /** On the clock of performance.now(). */
  #restsUntil = 0;
  /** Of the look under way: turns, how many were not quick, how long all took to write; and reads beside them. */
  #turns = 0;
  #slowTurns = 0;
  #writingMs = 0;
  #reads = 0;
  /** The thread's processor time when it began. */
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
    if (this.#turns === 0) {
      this.#usedMs = threadMs();
      this.#reads = 0;
    }
    this.#turns++;
    this.#writingMs += ms;
    if (ms > quickMs) this.#slowTurns++;
    if (ms > slowMs) this.#rest(ms * restPerMs);
    else if (this.#turns === turnsPerLook) this.#look();
  }

  /** The thread serves a read for somebody who would have waited for a sync. */
  noteRead(): void {
    this.#reads++;
    if (this.#turns > 0 && this.#reads > this.#turns + readsMax) this.#rest(restMs);
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
    const isSlow = this.#slowTurns * 2 > turnsPerLook;
    const isBusy = threadMs() - this.#usedMs > busyMax * this.#writingMs;
    this.#rest(isSlow || isBusy ? restMs : 0);
  }

  /** Ends a look. */
  #rest(ms: number): void {
    this.#restsUntil = performance.now() + ms;
    this.#turns = 0;
    this.#slowTurns = 0;
    this.#writingMs = 0;
  }
}

/** Processor time of this thread. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
