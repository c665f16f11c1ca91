/**
 * Where the next block goes, in memory that the main thread and the journal Worker share. Who holds the position writes there,
 * and moves it; the other one keeps off.
 *
 * - The Worker holds it whenever it is awake. It sleeps without it, and waits for it when it wakes up.
 * - The main thread takes it for one block, and only when nobody holds it: it never waits.
 */
import { keyBytes } from "../core/aead.ts";

/** Who holds it: a new one is the Worker's. `awaited` is the main thread, with the Worker waiting for it. */
const holder = { worker: 0, nobody: 1, main: 2, awaited: 3 } as const;
/** Int32 words. */
const word = { holder: 0, watched: 1 } as const;
/** Float64 words behind them, and the key behind these. */
const number = { file: 0, segment: 1, use: 2, at: 3, sequence: 4, writtenAt: 5 } as const;
const numbersAt = 8;
const numbers = 6;
const keyAt = numbersAt + 8 * numbers;
/** What it takes of shared memory, from a multiple of 8. */
export const positionBytes = keyAt + keyBytes;

/** A segment that blocks go to. */
export interface OpenSegment {
  readonly id: number;
  /** Its file descriptor, the same in all threads. */
  readonly file: number;
  readonly use: number;
  readonly key: Uint8Array;
}

export class Position {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  /** Of the use that blocks go to; for who holds the position. */
  readonly key: Uint8Array;

  constructor(memory = new SharedArrayBuffer(positionBytes), at = 0) {
    this.#words = new Int32Array(memory, at, 2);
    this.#numbers = new Float64Array(memory, at + numbersAt, numbers);
    this.key = new Uint8Array(memory, at + keyAt, keyBytes);
  }

  // ---- main thread

  /** Takes it if nobody holds it; false when somebody does. */
  tryHold(): boolean {
    return Atomics.compareExchange(this.#words, word.holder, holder.nobody, holder.main) === holder.nobody;
  }

  /** Gives it back after {@link tryHold}. */
  giveBack(): void {
    if (Atomics.exchange(this.#words, word.holder, holder.nobody) === holder.awaited)
      Atomics.notify(this.#words, word.holder);
  }

  /** True when the Worker will look at the position again soon, by itself. */
  get isWatched(): boolean {
    return Atomics.load(this.#words, word.watched) !== 0;
  }

  // ---- journal Worker

  /** Gives it up before sleeping; `watches` says whether it wakes up by itself. */
  leave(watches: boolean): void {
    Atomics.store(this.#words, word.watched, watches ? 1 : 0);
    Atomics.store(this.#words, word.holder, holder.nobody);
  }

  /** Takes it, once the main thread has given it back. */
  take(): void {
    for (;;) {
      const found = Atomics.compareExchange(this.#words, word.holder, holder.nobody, holder.worker);
      if (found === holder.nobody) return;
      if (found === holder.main)
        Atomics.compareExchange(this.#words, word.holder, holder.main, holder.awaited);
      Atomics.wait(this.#words, word.holder, holder.awaited);
    }
  }

  /** Blocks go to this segment from now on, the first one to `at`. */
  openSegment(segment: OpenSegment, at: number): void {
    this.#numbers[number.segment] = segment.id;
    this.#numbers[number.file] = segment.file;
    this.#numbers[number.use] = segment.use;
    this.key.set(segment.key);
    this.#numbers[number.at] = at;
  }

  /** Blocks go nowhere until the next segment is open; forgets the key. */
  closeSegment(): void {
    this.#numbers[number.segment] = 0;
    this.key.fill(0);
  }

  // ---- who holds it

  /** 0 when none is open. */
  get segment(): number {
    return this.#numbers[number.segment] ?? 0;
  }

  get file(): number {
    return this.#numbers[number.file] ?? 0;
  }

  /** Of the segment that was opened last. */
  get use(): number {
    return this.#numbers[number.use] ?? 0;
  }

  /** Offset of the next block, bytes; a multiple of the sector. */
  get at(): number {
    return this.#numbers[number.at] ?? 0;
  }

  /** Of the newest block that is written; set before the first one by who knows the directory. */
  get sequence(): number {
    return this.#numbers[number.sequence] ?? 0;
  }

  set sequence(sequence: number) {
    this.#numbers[number.sequence] = sequence;
  }

  /** When that was, on the clock of Date.now(); 0 when nothing was written yet. */
  get writtenAt(): number {
    return this.#numbers[number.writtenAt] ?? 0;
  }

  /** The next block was written, and takes so many bytes. */
  advance(bytes: number): void {
    this.#numbers[number.at] = this.at + bytes;
    this.#numbers[number.sequence] = this.sequence + 1;
    this.#numbers[number.writtenAt] = Date.now();
  }
}
