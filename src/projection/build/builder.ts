/**
 * The life of one build, in a Worker of its own: takes pages of the feed and keeps the rows of its sink up with them.
 *
 * - What is asked runs one after the other. Erasures and the end come between two batches, also while it waits for a sink
 *   that is away or for an event that is tried again.
 * - Rows and checkpoint are one transaction, so it can be ended at any moment and goes on where the rows are.
 * - A sink that refuses a batch is given its records one by one, so that only the one that is at fault is held back.
 */
import type { FoldPlan } from "../../aggregate/fold.ts";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { FeedPage, KnownErased } from "../../core/feed.ts";
import type { ErasedId, Erasure, FromBuild, Place, TableRow, WireError } from "../messages.ts";
import { type Build, checkpoints, type Sink, totals } from "../sink.ts";
import { Batch } from "./batch.ts";
import { ErasedBefore } from "./erased-before.ts";
import { HeldBack } from "./held-back.ts";
import { type EventFailure, refusalOf } from "./outcomes.ts";
import { ErasedOutOfTurn } from "./out-of-turn.ts";
import { Ended, Patience, waitMsMax, waitMsMin } from "./patience.ts";
import { Purging } from "./purging.ts";
import { readAbout, readParked } from "./reading-rows.ts";
import { type FeedRecord, placeOf, RecordReader } from "./records.ts";

/** A batch is committed when it has taken this many events … */
const batchEventsMax = 8192;
/** … or changes this many rows. */
const batchChangesMax = 8192;
/** Rows that stay in memory between batches, per table. */
const rowsKeptMax = 20_000;

export interface BuilderParts {
  readonly build: Build;
  readonly plan: FoldPlan;
  readonly sink: Sink;
  /** What was erased until now. */
  readonly erased: KnownErased;
  readonly say: (message: FromBuild) => void;
}

export class Builder {
  readonly #parts: BuilderParts;
  readonly #batch: Batch;
  readonly #reader: RecordReader;
  readonly #erased: ErasedBefore;
  readonly #places = new Map<number, Place>();
  /** Since the last commit. */
  #changed = new Map<number, Place>();
  #pending: FeedRecord[] = [];
  #failures: EventFailure[] = [];
  readonly #writer = crypto.randomUUID();
  #commits = 0;
  #work: Promise<void> = Promise.resolve();
  readonly #urgent: (() => Promise<void>)[] = [];
  readonly #patience: Patience;
  readonly #held: HeldBack;
  readonly #purging: Purging;
  readonly #outOfTurn = new ErasedOutOfTurn();

  constructor(parts: BuilderParts) {
    this.#parts = parts;
    const { build, plan, sink } = parts;
    this.#erased = new ErasedBefore(parts.erased);
    this.#batch = new Batch({ projection: build.projection, plan, sink, erased: this.#erased });
    this.#reader = new RecordReader((type) => build.projection.handlers.has(type));
    this.#patience = new Patience({ attend: () => this.#attend(), say: parts.say });
    this.#held = new HeldBack({
      sink,
      batch: this.#batch,
      reader: this.#reader,
      patience: this.#patience,
      commit: () => this.#commit(),
      positionOf: (shard) => this.#placeOf(shard).position,
    });
    this.#purging = new Purging({
      runUrgently: (work) => this.#runUrgently(work),
      purge: () => this.#patience.with(() => sink.purge()),
      say: parts.say,
    });
  }

  /** Finds out where the rows are, and shows them to queries if they are the ones. Waits for a sink that is away. */
  open(isLive: boolean): Promise<void> {
    return this.#enqueue(async () => {
      const { sink, say } = this.#parts;
      const commits = await this.#patience.with(() => sink.open());
      if (commits === undefined) {
        say({ type: "foreign" });
        return;
      }
      this.#commits = commits;
      const read = async () =>
        [await sink.all(checkpoints), await sink.all(totals), await readParked(sink)] as const;
      const [places, total, held] = await this.#patience.with(read);
      for (const [shard, position, recordedAt] of places as [number, number, number][]) {
        this.#places.set(shard, { shard, position, recordedAt });
      }
      if (isLive) await this.#patience.with(() => sink.publish());
      this.#batch.restore(held, Number(total[0]?.[1] ?? 0));
      const { parkedCount, skipped } = this.#batch;
      say({ type: "opened", places: [...this.#places.values()], parked: parkedCount, skipped });
    });
  }

  /** `erased`: whose erasures are in the pages. */
  take(pages: readonly FeedPage[], erased: readonly ErasedId[]): Promise<void> {
    return this.#enqueue(async () => {
      // What others said of them may be in a shard that comes behind their erasure, and they may have begun again by then.
      for (const { entity, erasedAt } of erased) this.#erased.learn(entity, erasedAt);
      for (const page of pages) await this.#takePage(page);
      await this.#commit();
      this.#parts.say({ type: "taken" });
    });
  }

  eraseNow(erasure: Erasure): void {
    this.#runUrgently(async () => {
      await this.#commit();
      this.#erased.learn(erasure.entity, erasure.erasedAt);
      const isToCome = erasure.position > this.#placeOf(erasure.shard).position;
      if (isToCome) this.#outOfTurn.add(erasure);
      // Rows of a new life stay; before the erasure has come in turn all rows are of the old one.
      await this.#erase(erasure.isReborn && !isToCome ? { ...erasure, entity: "" } : erasure);
      this.#purging.ask(erasure.shard, erasure.position);
    });
  }

  /** Takes events again of an entity that is held back. */
  unpark(id: number, number: number, page: FeedPage): Promise<void> {
    return this.#enqueue(async () => {
      await this.#commit();
      const failure = await this.#held.take(number, page);
      this.#parts.say({ type: "unparked", id, failure });
    });
  }

  listParked(id: number): Promise<void> {
    return this.#enqueue(async () => {
      const list = await this.#patience.with(() => readParked(this.#parts.sink));
      this.#parts.say({ type: "parkedList", id, parked: list });
    });
  }

  /** For an export: what cannot be read now is its failure, and not that of the build. */
  rowsAbout(id: number, entity: string): void {
    this.#runUrgently(async () => {
      let rows: readonly TableRow[] = [];
      let error: WireError | undefined;
      try {
        rows = await readAbout(this.#parts.sink, this.#parts.build.projection.tables, entity);
      } catch (thrown) {
        error = toWarpError(thrown, "SINK_UNAVAILABLE").toWire();
      }
      this.#parts.say({ type: "rowsAbout", id, rows, error });
    });
  }

  publish(id: number): Promise<void> {
    return this.#enqueue(async () => {
      await this.#patience.with(() => this.#parts.sink.publish());
      this.#parts.say({ type: "published", id });
    });
  }

  /** Leaves what is not committed to the next life. */
  async close(): Promise<void> {
    this.#purging.end();
    this.#patience.end();
    await this.#work.catch(() => undefined);
    await this.#parts.sink.close();
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(async () => {
      if (!this.#patience.isEnding) await work();
    });
    this.#work = done.catch(() => undefined);
    return done.catch((thrown: unknown) => {
      if (thrown instanceof Ended) return;
      this.#patience.end();
      throw thrown;
    });
  }

  #runUrgently(work: () => Promise<void>): void {
    this.#urgent.push(work);
    this.#patience.wake();
    // With nothing under way this is what takes it.
    void this.#enqueue(() => this.#attend()).catch((thrown: unknown) => this.#fail(thrown));
  }

  #fail(thrown: unknown): void {
    this.#parts.say({ type: "failed", error: toWarpError(thrown, "ENGINE_FAILED").toWire() });
  }

  async #attend(): Promise<void> {
    for (let work = this.#urgent.shift(); work !== undefined; work = this.#urgent.shift()) await work();
    if (this.#patience.isEnding) throw new Ended();
  }

  async #takePage(page: FeedPage): Promise<void> {
    const done = this.#placeOf(page.shard);
    if (page.after > done.position) {
      throw new WarpError(
        "ABORTED",
        `shard ${page.shard} is at ${done.position}, the page begins behind that`,
      );
    }
    let waiting: FeedRecord[] = [];
    let events = 0;
    let { recordedAt } = done;
    for (const record of this.#reader.recordsOf(page)) {
      recordedAt = Math.max(recordedAt, record.recordedAt);
      // Pages come again after a restart.
      if (record.position <= done.position) continue;
      if (record.erased !== undefined) {
        await this.#takeRecords(waiting);
        waiting = [];
        await this.#commit();
        this.#changed.set(record.shard, { shard: record.shard, position: record.position, recordedAt });
        // One that was done out of turn is not done again: there may be rows of a new life by now.
        const isDone = this.#outOfTurn.has({ ...record, ...record.erased });
        const { number, entity } = record.erased;
        await this.#erase({ shard: record.shard, number, entity: isDone ? "" : entity });
        continue;
      }
      waiting.push(record);
      for (const part of record.parts) events += part.events.length;
      if (events < batchEventsMax) continue;
      await this.#takeRecords(waiting);
      waiting = [];
      events = 0;
    }
    await this.#takeRecords(waiting);
    if (page.upTo > this.#placeOf(page.shard).position)
      this.#changed.set(page.shard, { shard: page.shard, position: page.upTo, recordedAt });
  }

  /** Records of a shard, in their order. */
  async #takeRecords(records: readonly FeedRecord[]): Promise<void> {
    if (records.length === 0) return;
    let left = records;
    let waitMs = waitMsMin;
    while (left.length > 0) {
      if (this.#urgent.length > 0 || this.#patience.isEnding) {
        await this.#commit();
        await this.#attend();
      }
      left = this.#outOfTurn.without(left);
      const { done, failures, end } = await this.#patience.with(() => this.#batch.take(left));
      this.#noteTaken(left, done);
      left = done === left.length ? [] : left.slice(done);
      if (end !== "retry") this.#failures.push(...failures);
      if (done > 0) waitMs = waitMsMin;
      const isFull = this.#batch.events >= batchEventsMax || this.#batch.changes >= batchChangesMax;
      if (isFull || end !== "all") await this.#commit();
      if (end !== "retry") continue;
      // What became urgent during the commit has found nobody waiting.
      await this.#patience.wait("retry", errorOf(failures), this.#urgent.length > 0 ? 0 : waitMs);
      waitMs = Math.min(waitMs * 2, waitMsMax);
    }
    this.#patience.goOn();
  }

  /** The first `done` of records of a shard are in the batch. */
  #noteTaken(records: readonly FeedRecord[], done: number): void {
    for (let i = 0; i < done; i++) {
      const record = records[i];
      if (record !== undefined) this.#pending.push(record);
    }
    const last = records[done - 1];
    if (last !== undefined) this.#changed.set(last.shard, placeOf(last));
  }

  /** Up to where the shard is taken, committed or not. */
  #placeOf(shard: number): Place {
    return this.#changed.get(shard) ?? this.#places.get(shard) ?? { shard, position: 0, recordedAt: 0 };
  }

  /** Commits what was taken, and says so. Errors: PROJECTION_FAILED when what is refused is of no record. */
  async #commit(erased?: string): Promise<void> {
    if (this.#changed.size === 0 && this.#batch.changes === 0 && erased === undefined) return;
    try {
      await this.#commitBatch(erased);
    } catch (thrown) {
      await this.#commitOneByOne(refusalOf(thrown));
    }
    this.#committed();
  }

  /** What was taken is committed. */
  #committed(): void {
    const { events } = this.#batch;
    this.#batch.committed(rowsKeptMax);
    for (const [shard, place] of this.#changed) {
      this.#places.set(shard, place);
      this.#outOfTurn.passed(shard, place.position);
    }
    const { parkedCount, skipped } = this.#batch;
    this.#parts.say({
      type: "applied",
      places: [...this.#changed.values()],
      records: this.#pending.length,
      events,
      parked: parkedCount,
      skipped,
      gaps: this.#reader.takeGaps(),
      failures: this.#failures,
    });
    this.#pending = [];
    this.#changed = new Map();
    this.#failures = [];
  }

  async #commitBatch(erased: string | undefined): Promise<void> {
    const { sink } = this.#parts;
    const writer = this.#writer;
    for (const { shard, position, recordedAt } of this.#changed.values())
      this.#batch.advance(shard, position, recordedAt);
    const commit = { batch: this.#commits, writer, ...this.#batch.content, erased };
    let isUnsure = false;
    await this.#patience.with(async () => {
      if (isUnsure) {
        const last = await sink.last();
        if (last.batch === this.#commits + 1 && last.writer === writer) return;
      }
      isUnsure = true;
      await sink.commit(commit);
    });
    this.#commits++;
  }

  /** The batch was refused: everything of it is taken again, a record a time. */
  async #commitOneByOne(error: WarpError): Promise<void> {
    const records = this.#pending;
    const changed = this.#changed;
    if (records.length === 0) throw error;
    this.#batch.clear();
    for (const record of records) await this.#commitAlone(record);
    this.#patience.goOn();
    this.#changed = changed;
    await this.#commitBatch(undefined);
  }

  async #commitAlone(record: FeedRecord): Promise<void> {
    for (let waitMs = waitMsMin; ; waitMs = Math.min(waitMs * 2, waitMsMax)) {
      this.#changed = new Map([[record.shard, placeOf(record)]]);
      this.#pending = [record];
      const [left = record] = this.#outOfTurn.without([record]);
      const { failures, end } = await this.#patience.with(() => this.#batch.take([left]));
      const refused = end === "retry" ? errorOf(failures) : await this.#refusal();
      if (refused !== undefined) {
        this.#batch.clear();
        if (this.#parts.build.projection.onFailure === "retry") {
          // What is urgent meanwhile commits, and that must not go past the record.
          this.#changed = new Map();
          this.#pending = [];
          await this.#patience.wait("retry", refused, this.#urgent.length > 0 ? 0 : waitMs);
          continue;
        }
        this.#failures.push(...this.#batch.giveUp(left, refused.message));
        await this.#commitBatch(undefined);
      }
      this.#committed();
      return;
    }
  }

  async #refusal(): Promise<WarpError | undefined> {
    try {
      await this.#commitBatch(undefined);
      return undefined;
    } catch (thrown) {
      return refusalOf(thrown);
    }
  }

  /** Removes the rows of an entity; what was taken before is committed already. */
  async #erase({ shard, number, entity }: Pick<Erasure, "shard" | "number" | "entity">): Promise<void> {
    const isTainted = await this.#patience.with(() => this.#batch.hasSeen(shard, number));
    this.#batch.forget(shard, number);
    this.#reader.forget(shard, number);
    // An erasure that every follower is past has no id in the feed any more, and then nothing is left of it here either.
    await this.#commit(entity === "" ? undefined : entity);
    this.#batch.clear();
    if (isTainted) this.#parts.say({ type: "tainted" });
    this.#purging.plan();
  }
}

/** Of an event that is tried again. */
function errorOf([failure]: readonly EventFailure[]): WarpError {
  return new WarpError("PROJECTION_FAILED", failure?.message ?? "a handler failed", { ...failure });
}
