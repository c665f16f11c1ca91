/**
 * The shared words between the main thread and the journal Worker.
 *
 * The Worker sleeps in `Atomics.wait` and the main thread in `Atomics.waitAsync`: a turn costs two wake-ups and no
 * message. One turn is under way at any time, so one set of range words is enough. The position of the next block (position.ts) is the
 * Worker's while it is awake.
 */
import { Position, positionBytes } from "./position.ts";

const rangeWordsMax = 3 * 128;
const errorBytes = 4096;

/** Int32 words. */
const word = {
  requested: 0,
  done: 1,
  rangeCount: 2,
  stop: 3,
  failed: 4,
  segmentsReady: 5,
  errorLength: 6,
  task: 7,
  thread: 8,
  forced: 9,
} as const;
/** `advance`: begin the next segment. `retire`: say when the slots of what is to be retired are zeros. */
const journalTask = { advance: 1, retire: 2 } as const;
export type JournalTask = keyof typeof journalTask;
/** Float64 words behind them. */
const number = { retiredUse: 0, currentUse: 1, ranges: 2 } as const;
const errorAt = 64 + 8 * (number.ranges + rangeWordsMax);
const positionAt = errorAt + errorBytes;

/** Where the bytes of a turn lie: which tail, and from where to where. */
export interface TailRange {
  readonly tail: number;
  readonly start: number;
  readonly length: number;
}

export class JournalControl {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #error: Uint8Array;
  readonly position: Position;

  constructor(memory = new SharedArrayBuffer(positionAt + positionBytes)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 16);
    this.#numbers = new Float64Array(memory, 64, number.ranges + rangeWordsMax);
    this.#error = new Uint8Array(memory, errorAt, errorBytes);
    this.position = new Position(memory, positionAt);
  }

  // ---- main thread

  /** Hands a turn to the Worker; the one before must be done. `isForced`: on the disk under durability "os" too. */
  request(ranges: readonly TailRange[], isForced = false): void {
    let at = number.ranges;
    for (const range of ranges) {
      this.#numbers[at++] = range.tail;
      this.#numbers[at++] = range.start;
      this.#numbers[at++] = range.length;
    }
    Atomics.store(this.#words, word.forced, isForced ? 1 : 0);
    Atomics.store(this.#words, word.rangeCount, ranges.length);
    this.wake();
  }

  /** As {@link request}, for a turn that is a task and has no records. */
  requestTask(task: JournalTask): void {
    Atomics.store(this.#words, word.task, journalTask[task]);
    this.wake();
  }

  /** Resolves when the Worker has done more turns than `seen`, or has failed. */
  async done(seen: number): Promise<void> {
    while (Atomics.load(this.#words, word.done) === seen && !this.failed) {
      const wait = Atomics.waitAsync(this.#words, word.done, seen);
      if (wait.async) await wait.value;
    }
  }

  /** The Worker's number in the system; 0 until it has begun, or where that is not known. */
  get thread(): number {
    return Atomics.load(this.#words, word.thread);
  }

  get doneCount(): number {
    return Atomics.load(this.#words, word.done);
  }

  get failed(): boolean {
    return Atomics.load(this.#words, word.failed) !== 0;
  }

  /** JSON of the Worker's error; empty when it has not failed. */
  get error(): string {
    return Buffer.from(this.#error.slice(0, this.#words[word.errorLength] ?? 0)).toString();
  }

  /** Before the Worker starts: what is retired, and the use that the first turn goes to. */
  begin(retiredUse: number, firstUse: number): void {
    this.#numbers[number.retiredUse] = retiredUse;
    this.#numbers[number.currentUse] = firstUse;
  }

  /** The use of the segment that the last turn went to, or that the first will go to. */
  get currentUse(): number {
    return this.#numbers[number.currentUse] ?? 0;
  }

  /** Segments of this use and below may be overwritten. */
  retire(use: number): void {
    this.#numbers[number.retiredUse] = use;
    this.wake();
  }

  publishSegments(count: number): void {
    Atomics.store(this.#words, word.segmentsReady, count);
    this.wake();
  }

  stop(): void {
    Atomics.store(this.#words, word.stop, 1);
    this.wake();
  }

  #wakeups = 0;
  /** Has the Worker look at what is new. */
  wake(): void {
    this.#wakeups = (this.#wakeups + 1) | 0;
    Atomics.store(this.#words, word.requested, this.#wakeups);
    Atomics.notify(this.#words, word.requested);
  }

  // ---- journal Worker

  /** Before its first turn. */
  beginThread(thread: number): void {
    Atomics.store(this.#words, word.thread, thread);
  }

  /** Sleeps, without the position, until the main thread has something new or `timeoutMs` has passed. Returns the new `seen`. */
  waitForWork(seen: number, timeoutMs: number): number {
    this.position.leave(timeoutMs !== Number.POSITIVE_INFINITY);
    Atomics.wait(this.#words, word.requested, seen, timeoutMs);
    this.position.take();
    return Atomics.load(this.#words, word.requested);
  }

  /** The ranges of the requested turn; none when there is no turn to write. Taking them clears them. */
  takeRanges(): TailRange[] {
    const ranges: TailRange[] = [];
    const count = Atomics.load(this.#words, word.rangeCount);
    // Without a turn nothing is cleared: the main thread may be handing one over at this moment.
    if (count === 0) return ranges;
    for (let i = 0; i < count; i++) {
      const at = number.ranges + 3 * i;
      ranges.push({
        tail: this.#numbers[at] ?? 0,
        start: this.#numbers[at + 1] ?? 0,
        length: this.#numbers[at + 2] ?? 0,
      });
    }
    Atomics.store(this.#words, word.rangeCount, 0);
    return ranges;
  }

  /** Whether the turn that was taken has to be on the disk. */
  get isForced(): boolean {
    return Atomics.load(this.#words, word.forced) !== 0;
  }

  /** What {@link requestTask} asked for, once. */
  takeTask(): JournalTask | undefined {
    const task = Atomics.exchange(this.#words, word.task, 0);
    return task === 0 ? undefined : task === journalTask.advance ? "advance" : "retire";
  }

  get retiredUse(): number {
    return this.#numbers[number.retiredUse] ?? 0;
  }

  get segmentsReady(): number {
    return Atomics.load(this.#words, word.segmentsReady);
  }

  get stopping(): boolean {
    return Atomics.load(this.#words, word.stop) !== 0;
  }

  finishTurn(use: number): void {
    this.#numbers[number.currentUse] = use;
    Atomics.add(this.#words, word.done, 1);
    Atomics.notify(this.#words, word.done);
  }

  // ---- whoever writes

  fail(error: string): void {
    const bytes = Buffer.from(error).subarray(0, errorBytes);
    this.#error.set(bytes);
    this.#words[word.errorLength] = bytes.length;
    Atomics.store(this.#words, word.failed, 1);
    // Counts as a turn, or the main thread could look, not see it, and then wait for a number that never changes.
    Atomics.add(this.#words, word.done, 1);
    Atomics.notify(this.#words, word.done);
  }
}

/** Ranges that one turn may have at most. */
export const rangesMax = rangeWordsMax / 3;
