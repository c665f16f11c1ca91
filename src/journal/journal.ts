/**
 * The main thread's side of the journal: turns gather here and go to the Worker one at a time.
 *
 * - A turn is what was appended while the one before was being made durable. It is acknowledged whole.
 * - Turns are handed over, written and acknowledged in order; `onDurable` runs once for each, in that order.
 * - After a failure nothing is handed over any more: `onFailed` runs once, and every outcome not yet
 *   acknowledged is unknown.
 */
import { Aside } from "../core/aside.ts";
import { type ErrorCode, type ErrorDetails, toWarpError, WarpError } from "../core/errors.ts";
import { BlockWriter } from "./block-writer.ts";
import { JournalControl, type JournalTask, rangesMax, type TailRange } from "./control.ts";
import { blockKind } from "./format.ts";
import type { JournalWorkerStart } from "./journal-worker.ts";
import { OwnWrites, smallTurn, smallTurnBytes } from "./own-writes.ts";
import { SpareSegments } from "./ring-files.ts";
import type { SegmentsOptions } from "./segments.ts";
import type { Tail } from "./tail.ts";

/**
 * With many callers in a closed loop, a turn is sent when half of them have come back, so that the disk works on one
 * half while the main thread works on the other. Below this many, a whole turn is gathered.
 */
const eagerMin = smallTurn;

/** A turn of so many bytes is sent as soon as the journal is idle, however few callers they are from. */
const eagerBytes = smallTurnBytes;

/** Passes over the microtasks that must add nothing before a turn is sent. */
const quietPasses = 6;

/** What was appended together and becomes durable together. */
export interface Turn<Completion> {
  readonly id: number;
  readonly completions: Completion[];
  readonly ranges: TailRange[];
  bytes: number;
  /** It is on the disk when it is acknowledged, with all before it, under durability "os" too. */
  isForced?: boolean;
  /** Something else than writing; such a turn holds no records. */
  readonly task?: { readonly name: JournalTask; readonly done: () => void } | undefined;
}

export interface JournalOptions<Completion> {
  readonly segments: SegmentsOptions;
  /** Segment files that exist already. */
  readonly segmentCount: number;
  readonly segmentsMax: number;
  /** Id of the first turn; smaller ones were taken by recovery. */
  readonly firstTurn: number;
  /** What one block may carry, bytes. */
  readonly blockBytesMax: number;
  /** One tail per shard writer. */
  readonly tails: readonly Tail[];
  /** The shard writers by their numbers in the system: with the journal's Worker they keep off the main thread's processor. */
  readonly writerThreads: () => readonly number[];
  readonly onDurable: (turn: Turn<Completion>, use: number) => void;
  readonly onFailed: (error: WarpError) => void;
}

export class Journal<Completion> {
  readonly #options: JournalOptions<Completion>;
  readonly #control = new JournalControl();
  readonly #writer: BlockWriter;
  readonly #ownWrites = new OwnWrites();
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #open: Turn<Completion>;
  /** By tail: takes what a tail closed to begin again at its start into the open turn. */
  readonly #onWraps: readonly ((start: number, length: number) => void)[];
  /** Turns that were cut because they were full, waiting for the Worker. */
  readonly #waiting: Turn<Completion>[] = [];
  #inFlight: Turn<Completion> | undefined;
  #doneAtSend = 0;
  #scheduled = false;
  #pollsSoon = false;
  #pending = 0;
  #lastSize = 0;
  /** An idle journal is sent a turn of this many completions at once. */
  #eagerAt = eagerMin;
  readonly #spares: SpareSegments;
  #failed: WarpError | undefined;
  #closed = false;
  readonly #idle: (() => void)[] = [];
  readonly #aside: Aside;

  constructor(options: JournalOptions<Completion>) {
    this.#options = options;
    this.#aside = new Aside(() => [this.#control.thread, ...options.writerThreads()]);
    this.#writer = new BlockWriter(this.#control.position, options.segments);
    this.#open = emptyTurn(options.firstTurn);
    this.#onWraps = options.tails.map(
      (_, tail) => (start, length) => this.#open.ranges.push({ tail, start, length }),
    );
    const { directory, segmentBytes, retiredUse, lastUse } = options.segments;
    this.#control.begin(retiredUse, lastUse + 1);
    this.#spares = new SpareSegments(this.#control, {
      ...{ directory, segmentBytes, segmentsMax: options.segmentsMax, count: options.segmentCount },
      onFailed: (thrown) => this.#fail(toWarpError(thrown, "IO_ERROR", { file: "journal" })),
    });
    this.#worker = new Worker(new URL("./journal-worker.ts", import.meta.url));
    this.#exited = new Promise((resolve) => {
      this.#worker.addEventListener("close", () => {
        resolve();
        this.#noticeExit();
      });
    });
    this.#worker.addEventListener("error", (event) => {
      this.#fail(new WarpError("ENGINE_FAILED", `the journal Worker died: ${event.message}`));
    });
    const start: JournalWorkerStart = {
      control: this.#control.memory,
      tails: options.tails.map((tail) => tail.memory),
      segments: options.segments,
    };
    this.#worker.postMessage(start);
    this.#spares.keep();
  }

  /** The turn that the next record belongs to. */
  get openTurn(): Turn<Completion> {
    return this.#open;
  }

  /** Completions that are not durable yet. */
  get pending(): number {
    return this.#pending;
  }

  /** True when a record could be part of a turn that is not yet durable. */
  get isBusy(): boolean {
    return this.#inFlight !== undefined || this.#open.completions.length > 0 || this.#waiting.length > 0;
  }

  /** Space for a record in the tail of a writer: its offset, or -1 when the tail is full. */
  reserve(tail: number, bytes: number): number {
    if (this.#open.bytes + bytes > this.#options.blockBytesMax || this.#open.ranges.length > rangesMax / 2)
      this.#cut();
    const ring = this.#options.tails[tail];
    const onWrap = this.#onWraps[tail];
    if (ring === undefined || onWrap === undefined) return -1;
    return ring.reserve(bytes, this.#open.id, onWrap);
  }

  /** Takes a record that was written at `at`, up to `end`, into the open turn. */
  commit(tail: number, at: number, end: number): void {
    this.#options.tails[tail]?.commit(end);
    this.#open.bytes += end - at;
  }

  /** Adds something to complete when the open turn is durable, and sees to it that it is sent. */
  complete(completion: Completion): void {
    this.#open.completions.push(completion);
    this.#pending++;
    this.#sendWhenDue();
  }

  /** Acknowledges the turn in flight if it is durable by now: a busy main thread need not end its work first. */
  poll(): void {
    const turn = this.#inFlight;
    if (turn !== undefined && turn.ranges.length > 0 && this.#control.doneCount !== this.#doneAtSend)
      this.#finish(turn);
  }

  /** A server reads for somebody: whether this thread writes turns itself depends on it. */
  noteRead(): void {
    this.#ownWrites.noteRead();
  }

  /** As {@link complete}, for several that must be of the same turn. `isForced`: it is on the disk then, whatever the durability. */
  completeTogether(completions: readonly Completion[], isForced = false): void {
    if (isForced && completions.length > 0) this.#open.isForced = true;
    this.#open.completions.push(...completions);
    this.#pending += completions.length;
    this.#sendWhenDue();
  }

  /**
   * Begins a new segment and resolves with the use of the one before: what was durable until now is in it, or in
   * earlier ones, and nothing that comes later. Resolves never when the journal fails.
   */
  async advance(): Promise<number> {
    await this.#perform("advance");
    return this.#control.currentUse - 1;
  }

  /** Resolves when the keys of all segments that were retired are zeros on the disk. As {@link advance}. */
  retired(): Promise<void> {
    return this.#perform("retire");
  }

  #perform(task: JournalTask): Promise<void> {
    return new Promise((resolve) => {
      this.#cut();
      const { id } = this.#open;
      this.#waiting.push({ ...emptyTurn<Completion>(id), task: { name: task, done: resolve } });
      this.#open = emptyTurn(id + 1);
      this.#schedule();
    });
  }

  #sendWhenDue(): void {
    const { completions, bytes } = this.#open;
    const isLarge = bytes >= eagerBytes;
    if (this.#inFlight !== undefined) {
      if (isLarge) this.#pollSoon();
      return;
    }
    if ((isLarge || completions.length >= this.#eagerAt) && this.#waiting.length === 0) this.#send();
    else this.#schedule();
  }

  /** Looks at the turn in flight when the caller of this moment has ended: there is enough for the next one. */
  #pollSoon(): void {
    if (this.#pollsSoon || this.#control.doneCount === this.#doneAtSend) return;
    this.#pollsSoon = true;
    queueMicrotask(() => {
      this.#pollsSoon = false;
      this.poll();
    });
  }

  get retiredUse(): number {
    return this.#control.retiredUse;
  }

  /** Resolves when nothing is open, waiting or in flight, or when the journal has failed. */
  async whenIdle(): Promise<void> {
    while (this.isBusy && this.#failed === undefined)
      await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** The use of the segment that the newest durable turn went to; before the first, the one that it will go to. */
  get currentUse(): number {
    return this.#control.currentUse;
  }

  /** Everything in segments of this use and below is settled and checkpointed. */
  retire(use: number): void {
    this.#control.retire(use);
  }

  /** Writes what is open, stops the Worker and waits until its files are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#spares.close();
    this.#control.stop();
    await this.#exited;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#gather(-1, 0);
  }

  /**
   * Sends the open turn once some passes over the microtasks have added nothing to it: callers that were released
   * together come back a few microtasks apart, and should share one fsync.
   */
  #gather(before: number, quiet: number): void {
    const now = this.#open.completions.length;
    if (quiet === quietPasses) {
      if (!this.#ownWrites.waits(this.#sendGathered)) this.#sendGathered();
    } else {
      queueMicrotask(() => this.#gather(now, now === before ? quiet + 1 : 0));
    }
  }

  readonly #sendGathered = (): void => {
    this.#scheduled = false;
    this.#send(true);
  };

  /** Ends the open turn; it waits for the Worker. */
  #cut(): void {
    const turn = this.#open;
    for (const [index, tail] of this.#options.tails.entries()) {
      const { start, length } = tail.close(turn.id);
      if (length > 0) turn.ranges.push({ tail: index, start, length });
    }
    if (turn.completions.length > 0 || turn.ranges.length > 0) this.#waiting.push(turn);
    this.#open = emptyTurn(turn.id + 1);
  }

  /** `mayWriteHere` when nobody minds that the turn is durable, and acknowledged, on return. */
  #send(mayWriteHere = false): void {
    if (this.#inFlight !== undefined || this.#failed !== undefined) return;
    if (this.#waiting.length === 0) this.#cut();
    const turn = this.#waiting.shift();
    if (turn === undefined) return;
    this.#inFlight = turn;
    this.#eagerAt = Math.max(eagerMin, (this.#lastSize + turn.completions.length) / 2);
    this.#lastSize = turn.completions.length;
    if (turn.task !== undefined) {
      const seen = this.#control.doneCount;
      this.#control.requestTask(turn.task.name);
      this.#control.done(seen).then(() => this.#finish(turn));
      return;
    }
    if (turn.ranges.length === 0) {
      // Only results that waited for an earlier turn, which is durable by now; its own callers hear of it first.
      queueMicrotask(() => this.#finish(turn));
      return;
    }
    const isForced = turn.isForced === true && this.#options.segments.durability === "os";
    if (mayWriteHere && !isForced && this.#writeHere(turn)) return;
    this.#doneAtSend = this.#control.doneCount;
    this.#control.request(turn.ranges, isForced);
    this.#control.done(this.#doneAtSend).then(() => {
      if (this.#inFlight === turn) this.#finish(turn);
    });
  }

  /** Writes a turn on this thread and acknowledges it. False when it is the Worker's. */
  #writeHere(turn: Turn<Completion>): boolean {
    const { position } = this.#control;
    if (this.#closed || !this.#ownWrites.isFor(turn.completions.length, turn.bytes)) return false;
    if (!position.tryHold()) return false;
    const { isWatched } = position;
    try {
      if (!this.#writer.hasRoom(turn.bytes)) return false;
      const start = performance.now();
      this.#writer.write(
        blockKind.records,
        turn.ranges.map((range) => this.#bytesOf(range)),
      );
      this.#ownWrites.note(performance.now() - start);
    } catch (thrown) {
      this.#control.fail(JSON.stringify(toWarpError(thrown, "IO_ERROR", { file: "journal" }).toWire()));
    } finally {
      position.giveBack();
    }
    // It marks the end of a busy time, and does not know of this one yet.
    if (!isWatched) this.#control.wake();
    this.#finish(turn);
    return true;
  }

  #bytesOf({ tail, start, length }: TailRange): Uint8Array {
    return this.#options.tails[tail]?.bytes.buffer.subarray(start, start + length) ?? new Uint8Array();
  }

  #finish(turn: Turn<Completion>): void {
    if (this.#control.failed) {
      const wire: unknown = JSON.parse(this.#control.error);
      this.#fail(errorFromWorker(wire));
      return;
    }
    this.#inFlight = undefined;
    this.#pending -= turn.completions.length;
    this.#spares.keep();
    const { currentUse } = this.#control;
    const gathered = this.#open.completions.length;
    // What gathered meanwhile is sent before anybody hears of this turn: the disk works while its callers are served.
    const isLarge = this.#open.bytes >= eagerBytes;
    const isCrowd = isLarge || (gathered >= eagerMin && gathered * 2 >= turn.completions.length);
    if (this.#waiting.length > 0 || isCrowd) this.#send();
    if (turn.task === undefined) this.#options.onDurable(turn, currentUse);
    else turn.task.done();
    this.#aside.look();
    if (this.#inFlight === undefined) this.#schedule();
    if (!this.isBusy) this.#wakeIdle();
  }

  #wakeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #noticeExit(): void {
    if (this.#closed) return;
    if (this.#control.failed) this.#finish(this.#inFlight ?? this.#open);
    else this.#fail(new WarpError("ENGINE_FAILED", "the journal Worker ended by itself"));
  }

  #fail(error: WarpError): void {
    if (this.#failed !== undefined) return;
    this.#failed = error;
    this.#options.onFailed(error);
    this.#wakeIdle();
  }

  /** All that was not acknowledged when the journal failed. */
  unacknowledged(): Completion[] {
    const turns = [this.#inFlight, ...this.#waiting, this.#open];
    return turns.flatMap((turn) => turn?.completions ?? []);
  }
}

function emptyTurn<Completion>(id: number): Turn<Completion> {
  return { id, completions: [], ranges: [], bytes: 0 };
}

function errorFromWorker(wire: unknown): WarpError {
  return WarpError.fromWire(wire as { code: ErrorCode; message: string; details: ErrorDetails });
}
