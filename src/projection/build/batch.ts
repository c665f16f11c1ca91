/**
 * One batch of a projection: handlers run over records, their changes gather in memory, and are committed together with
 * the place up to which they go.
 *
 * - A failing event leaves nothing behind. What follows from it says the policy: the entity is held back from this event on
 *   (park), the event is left out (skip), or the batch ends before its record (retry).
 * - Where the shards are is not said record by record but before the commit, by who commits ({@link Batch.advance}).
 * - A row about an entity that was erased is not made by an event that was recorded before: whatever reaches a build late (a
 *   backlog, or everything when it is built anew) brings nothing back.
 * - Plain SQL runs behind the rows of the batch. So a record that uses a table after another one's SQL begins a new batch,
 *   and within one record it is an error.
 * - Rows that are not in memory are fetched between passes: handlers run until nothing is missing, and only the last pass counts.
 */
import type { FoldPlan } from "../../aggregate/fold.ts";
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import type { Stored } from "../columns.ts";
import type { FailurePolicy, Projection, RunSql, Table } from "../definition.ts";
import type { ParkedEntity } from "../messages.ts";
import { checkpoints, ownTables, parked, type Sink, type Statement, seen, totals } from "../sink.ts";
import type { ErasedBefore } from "./erased-before.ts";
import { failureText } from "./failure-text.ts";
import { MissingRows } from "./missing-rows.ts";
import type { EventFailure, PassResult } from "./outcomes.ts";
import type { EventsOf, FeedRecord } from "./records.ts";
import { RowMissing, Rows, UndoLog } from "./rows.ts";

/** A moment within a batch that it can go back to. */
interface Mark {
  readonly undo: number;
  readonly statements: number;
  readonly parked: number;
  readonly skipped: number;
  readonly events: number;
}

/** Ends a handler that would use a table behind plain SQL of the same batch. */
class BehindSql extends Error {}

/** Numbers of entities that are known to be in the table of those seen. */
const seenKnownMax = 100_000;

export class Batch {
  readonly #projection: Projection;
  readonly #plan: FoldPlan;
  readonly #sink: Sink;
  readonly #rows = new Map<Table, Rows>();
  readonly #tables: Readonly<Record<string, unknown>>;
  readonly #run: RunSql;
  /** Whose events were taken is kept in `seen` … */
  readonly #keepsEntities: boolean;
  /** The event that is being handled. */
  #event: StoredEvent | undefined;
  /** `shard:number` of entities whose row of `seen` is committed; some of them. */
  readonly #seen = new Set<string>();
  readonly #undo = new UndoLog();
  #statements: Statement[] = [];
  /** `shard:number` of entities that are held back … */
  readonly #parked = new Set<string>();
  /** … and those of them that this batch has added, in order. */
  #parkedNow: string[] = [];
  #skipped = 0;
  /** Those that are committed. */
  #skippedBefore = 0;
  readonly #missing: MissingRows;
  /** Statements at the begin of the record under way. */
  #recordStatements = 0;
  events = 0;

  constructor(parts: {
    readonly projection: Projection;
    readonly plan: FoldPlan;
    readonly sink: Sink;
    readonly erased: ErasedBefore;
  }) {
    const { projection, plan, sink, erased } = parts;
    this.#projection = projection;
    this.#plan = plan;
    this.#sink = sink;
    this.#keepsEntities = projection.tables.some(({ onErase }) => onErase === "rebuild");
    this.#missing = new MissingRows(sink);
    const read = sink.read ?? ((table, key) => this.#missing.note(table, key, this.#event));
    const own = { read, onUse: () => {}, isErased: () => false };
    const isErased = (entity: Stored) => this.#event !== undefined && erased.has(entity, this.#event);
    const access = { read, onUse: () => this.#onUse(), isErased };
    for (const table of projection.tables) this.#rows.set(table, new Rows(table, access, this.#undo));
    for (const table of ownTables) this.#rows.set(table, new Rows(table, own, this.#undo));
    this.#tables = Object.fromEntries(projection.tables.map((table) => [table.name, this.#handleOf(table)]));
    this.#run = (sql, params = []) => this.#statements.push({ sql, params });
  }

  get parkedCount(): number {
    return this.#parked.size;
  }

  isParked(shard: number, number: number): boolean {
    return this.#parked.size > 0 && this.#parked.has(`${shard}:${number}`);
  }

  /** Rows that differ from what is committed, and statements. */
  get changes(): number {
    let changes = this.#statements.length;
    for (const rows of this.#rows.values()) changes += rows.changes;
    return changes;
  }

  /** Events that were left out, in all batches. */
  get skipped(): number {
    return this.#skipped;
  }

  /** What earlier lives of the build have left. */
  restore(held: readonly { readonly shard: number; readonly number: number }[], skipped: number): void {
    for (const { shard, number } of held) this.#parked.add(`${shard}:${number}`);
    this.#skipped = skipped;
    this.#skippedBefore = skipped;
  }

  /** Runs the handlers over records, none of which is an erasure. Errors: those of the sink. */
  take(records: readonly FeedRecord[]): Promise<PassResult> {
    return this.#take(records, this.#projection.onFailure);
  }

  /** Takes a record of an entity that is held back, and holds it back behind it. The shard stays where it is. */
  takeAgain(record: FeedRecord, held: ParkedEntity): Promise<PassResult> {
    return this.#take([record], "park", held);
  }

  async #take(
    records: readonly FeedRecord[],
    onFailure: FailurePolicy,
    held?: ParkedEntity,
  ): Promise<PassResult> {
    const begin = this.#mark();
    this.#missing.begin();
    for (;;) {
      const result = this.#pass(records, onFailure, held);
      if (this.#missing.isEmpty) return result;
      this.#rollBack(begin);
      await this.#missing.fetch(this.#rows);
    }
  }

  /** What to commit. */
  get content() {
    const rows = [...this.#rows.values()].filter((one) => one.changes > 0);
    return {
      rows: rows.map((one) => ({ table: one.table, changes: one.dirty })),
      statements: this.#statements,
    };
  }

  committed(rowsKeptMax: number): void {
    const isUnsure = this.#statements.length > 0;
    this.#statements = [];
    this.#parkedNow = [];
    this.#skippedBefore = this.#skipped;
    this.#undo.clear();
    this.events = 0;
    if (this.#seen.size > seenKnownMax) this.#seen.clear();
    for (const { key } of this.#own(seen).dirty) this.#seen.add(key.join(":"));
    for (const rows of this.#rows.values()) {
      rows.committed();
      if (isUnsure || rows.size > rowsKeptMax) rows.clear();
    }
  }

  /** Forgets everything that is not committed, and every row. */
  clear(): void {
    this.#rollBack({ undo: 0, statements: 0, parked: 0, skipped: this.#skippedBefore, events: 0 });
    for (const rows of this.#rows.values()) rows.clear();
  }

  /** The place up to which the shard's records are done: said once, before a commit. */
  advance(shard: number, position: number, recordedAt: number): void {
    this.#own(checkpoints).upsert({ shard, position, recorded_at: recordedAt });
  }

  /** The policy for a record that the sink refused: all its events, since it does not say which. */
  giveUp(record: FeedRecord, message: string, held?: ParkedEntity): EventFailure[] {
    const failures: EventFailure[] = [];
    const onFailure = held === undefined ? this.#projection.onFailure : "park";
    for (const part of record.parts) {
      const [first] = part.events;
      const isOurs = this.isParked(record.shard, part.number) === (held !== undefined);
      if (first === undefined || !isOurs) continue;
      failures.push({ entity: part.entity, seq: first.seq, type: first.type, message, policy: onFailure });
      if (onFailure === "park") this.#park(record, part, first, message);
      else this.#skip(part.events.length);
    }
    return failures;
  }

  /** The entity is not held back any more: it was erased, or has caught up. */
  forget(shard: number, number: number): void {
    if (!this.#parked.delete(`${shard}:${number}`)) return;
    this.#own(parked).delete({ shard, number });
  }

  /** True when the build has events of the entity in rows that are nobody's, or anywhere what others say of the subject. */
  async hasSeen(shard: number, number: number): Promise<boolean> {
    if (!this.#keepsEntities && !this.#projection.personal) return false;
    const [row] = await this.#sink.fetch(seen, [[shard, number]]);
    return row !== null && row !== undefined;
  }

  #pass(
    records: readonly FeedRecord[],
    onFailure: FailurePolicy,
    held: ParkedEntity | undefined,
  ): PassResult {
    const failures: EventFailure[] = [];
    let done = 0;
    for (const record of records) {
      const mark = this.#mark();
      const failuresBefore = failures.length;
      this.#recordStatements = this.#statements.length;
      try {
        this.#takeRecord(record, onFailure, failures, held);
      } catch (thrown) {
        this.#rollBack(mark);
        if (thrown instanceof Retry) return { done, failures, end: "retry" };
        if (!(thrown instanceof BehindSql)) throw thrown;
        failures.length = failuresBefore;
        return { done, failures, end: "commit" };
      }
      done++;
    }
    return { done, failures, end: "all" };
  }

  #takeRecord(
    record: FeedRecord,
    onFailure: FailurePolicy,
    failures: EventFailure[],
    held: ParkedEntity | undefined,
  ): void {
    const failuresBefore = failures.length;
    const { shard, position } = record;
    for (const part of record.parts) {
      // One that is taken again may have been erased meanwhile, and is not held back any more.
      const isOurs = this.isParked(shard, part.number) === (held !== undefined);
      if (part.events.length === 0 || !isOurs) continue;
      // With whatever event it is met first: retention may have dropped its beginning.
      if (this.#keepsEntities) this.#noteSeen(shard, part.number);
      if (this.#projection.personal) for (const { number } of part.subjects) this.#noteSeen(shard, number);
      for (const stored of part.events) {
        const failure = this.#takeEvent(stored);
        if (failure === undefined) continue;
        failures.push({
          entity: part.entity,
          seq: stored.seq,
          type: stored.type,
          message: failure,
          policy: onFailure,
        });
        if (onFailure === "retry") throw new Retry();
        if (onFailure === "skip") {
          this.#skip(1);
          continue;
        }
        this.#park(record, part, stored, failure);
        break;
      }
      if (held !== undefined && failures.length === failuresBefore)
        this.#hold({ ...held, position: position + 1 });
    }
  }

  #noteSeen(shard: number, number: number): void {
    if (!this.#seen.has(`${shard}:${number}`)) this.#own(seen).upsert({ shard, number });
  }

  /** Why the event's handler failed; undefined when it did not. */
  #takeEvent(stored: StoredEvent): string | undefined {
    const handler = this.#projection.handlers.get(stored.type);
    if (handler === undefined) return undefined;
    this.#event = stored;
    const undo = this.#undo.mark;
    const statements = this.#statements.length;
    try {
      const returned = handler(this.#eventFor(stored), this.#tables, this.#run);
      if (returned instanceof Promise) {
        returned.catch(() => undefined);
        throw new WarpError(
          "PROJECTION_FAILED",
          "a handler returned a Promise: it has to do its work at once",
        );
      }
      this.events++;
      return undefined;
    } catch (thrown) {
      const isOwnSql = this.#statements.length > this.#recordStatements;
      this.#undo.rollBack(undo);
      this.#statements.length = statements;
      if (thrown instanceof BehindSql) {
        if (!isOwnSql) throw thrown;
        return "within one record, tables are used before plain SQL";
      }
      if (thrown instanceof RowMissing) return undefined;
      return failureText(thrown);
    }
  }

  /** What others said is for projections that can be built again without it. */
  #eventFor(stored: StoredEvent): StoredEvent {
    const event = this.#plan.upcastEvent(stored);
    if (!("personal" in event) || this.#projection.personal) return event;
    const { personal: _, ...rest } = event;
    return rest;
  }

  #skip(events: number): void {
    this.#skipped += events;
    this.#own(totals).upsert({ id: 1, skipped: this.#skipped });
  }

  #park({ shard, position }: FeedRecord, part: EventsOf, { seq, type }: StoredEvent, error: string): void {
    const { number, entity } = part;
    if (!this.isParked(shard, number)) {
      this.#parked.add(`${shard}:${number}`);
      this.#parkedNow.push(`${shard}:${number}`);
    }
    this.#hold({ shard, number, entity, seq, position, type, error, parkedAt: Date.now() });
  }

  #hold({ parkedAt, ...held }: ParkedEntity): void {
    this.#own(parked).upsert({ ...held, parked_at: parkedAt });
  }

  /** A table may be used while nothing of it may be changed by SQL that has not run. */
  #onUse(): void {
    if (this.#statements.length > 0) throw new BehindSql();
  }

  #own(table: Table): Rows {
    const rows = this.#rows.get(table);
    if (rows === undefined) throw new RangeError(`there is no table ${table.name}`);
    return rows;
  }

  #handleOf(table: Table): object {
    const rows = this.#own(table);
    const name = this.#sink.nameOf(table);
    return {
      insert: rows.insert.bind(rows),
      upsert: rows.upsert.bind(rows),
      update: rows.update.bind(rows),
      add: rows.add.bind(rows),
      delete: rows.delete.bind(rows),
      get: rows.get.bind(rows),
      toString: () => name,
    };
  }

  #mark(): Mark {
    return {
      undo: this.#undo.mark,
      statements: this.#statements.length,
      parked: this.#parkedNow.length,
      skipped: this.#skipped,
      events: this.events,
    };
  }

  #rollBack(mark: Mark): void {
    this.#undo.rollBack(mark.undo);
    this.#statements.length = mark.statements;
    for (const one of this.#parkedNow.splice(mark.parked)) this.#parked.delete(one);
    this.#skipped = mark.skipped;
    this.events = mark.events;
  }
}

/** An event failed that is tried again until it succeeds. */
class Retry extends Error {}
