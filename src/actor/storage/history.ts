/**
 * Reading the past of one entity: what is settled from its shard's file, the rest from the tail.
 *
 * - What a read will see is fixed when it starts: the durable events up to then, and nothing later.
 * - The tail's share is copied at that moment, since its memory is reused once it is settled.
 * - It is about one life of the entity: when that is erased meanwhile, the read ends with ERASED, also if the id has begun
 *   again.
 */

import { aboutDropped, type Dropped, droppedEvent, droppedType } from "../../core/dropped.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../../core/entry.ts";
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import type { Tail } from "../../journal/tail.ts";
import type { Base, EntriesPage } from "../../shard/messages.ts";
import type { Actor, States } from "../actor.ts";
import type { Folding } from "../folding.ts";
import type { Reading } from "./reading.ts";

export interface EventsQuery {
  /** First seq, 1 by default. */
  readonly from?: number;
  /** Last seq, the newest by default. */
  readonly to?: number;
  /** `forward` (oldest first) by default. */
  readonly direction?: "forward" | "backward";
  readonly limit?: number;
}

/** Where to cut an entity's past; times are ms since 1970 or a Date. */
export type Moment =
  | { readonly seq: number }
  | { readonly recorded: number | Date }
  /** Folds, in seq order, the events that had happened by then; an event without the time counts as recorded. */
  | { readonly occurred: number | Date };

/** What a read is about: the entity with a number, up to a seq. */
export interface Life {
  readonly number: number;
  readonly seq: number;
}

export interface HistoryParts {
  readonly folding: Folding;
  readonly tails: readonly Tail[];
  readonly reading: Reading;
}

export interface Page {
  readonly firstSeq: number;
  readonly bytes: Uint8Array;
  readonly dropped?: Dropped | undefined;
}

/** What is durable now. */
export function lifeOf({ number, committedSeq }: Actor): Life {
  return { number, seq: committedSeq };
}

/** Errors: ERASED when the actor's entity is another one by now, or none. */
export function requireSameLife(actor: Actor, { number }: Life): void {
  if (number !== 0 && actor.number !== number) throw erasedMeanwhile(actor.id);
}

export function erasedMeanwhile(id: string): WarpError {
  return new WarpError("ERASED", `entity ${JSON.stringify(id)} was erased while it was read`);
}

/** The durable events of an entity as stored, oldest or newest first; a mark in the place of dropped ones. */
export async function* readEvents(
  parts: HistoryParts,
  actor: Actor,
  query: EventsQuery & { readonly pageBytes?: number },
  life: Life = lifeOf(actor),
): AsyncGenerator<StoredEvent> {
  requireSameLife(actor, life);
  const from = Math.max(1, wholeNumber(query.from ?? 1, "from"));
  const to = Math.min(life.seq, wholeNumber(query.to ?? life.seq, "to"));
  let left = query.limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber(query.limit, "limit");
  const backward = query.direction === "backward";
  let next = from;
  const bytesMax = query.pageBytes ?? limits.readPageBytes;
  const { tailRow, shard } = actor;
  const { erased } = shard;
  let { changes } = erased;
  const changesBefore = changes;
  const erasedAt = erased.any ? erased.find(actor.id) : undefined;
  const inTail = parts.tails[shard.writer];
  const tail = inTail === undefined ? [] : copyTail(inTail, tailRow, shard.settledPosition, to, bytesMax);
  const settledTo = tail[0] === undefined ? to : tail[0].firstSeq - 1;
  const range = { number: life.number, from, to: Math.min(to, settledTo), bytesMax };
  const settled = readSettled(parts.reading, actor, range, backward);
  for await (const page of inOrder(settled, tail, backward)) {
    const mark = page.dropped === undefined ? [] : [droppedEvent(actor.id, page.dropped, next, to)];
    const events = decodePage(page, actor.id, from, to);
    for (const event of backward ? [...mark, ...events].reverse() : inTurn(mark, events)) {
      if (left-- <= 0) return;
      if (erased.changes !== changes) {
        // What was copied of the tail, or is in memory of a page, knows nothing of it.
        changes = erased.changes;
        if (erased.find(actor.id) !== erasedAt) throw erasedMeanwhile(actor.id);
      }
      if (!backward) next = event.seq + 1;
      // Who was erased since may be somebody of whom the page speaks.
      const mayBeErased = changes !== changesBefore && (event.personal ?? null) !== null;
      yield mayBeErased ? await readAgain(parts.reading, actor, life.number, event) : event;
    }
  }
}

/** An event as it is stored now, with nothing of whoever has a receipt. */
async function readAgain(
  reading: Reading,
  actor: Actor,
  number: number,
  event: StoredEvent,
): Promise<StoredEvent> {
  const { seq } = event;
  const range = { number, from: seq, to: seq, direction: "forward", bytesMax: 1 } as const;
  const page = await reading.entries({ shard: actor.shard.index, ...range });
  for (const read of decodePage(page, actor.id, seq, seq)) return read;
  // One that is not settled speaks of nobody whose erasure has a receipt: what speaks of her is settled first.
  return page.dropped === undefined ? event : { ...event, personal: null };
}

/** The states of all aggregates as they were at a moment. */
export async function statesAt(parts: HistoryParts, actor: Actor, moment: Moment): Promise<States> {
  const { folding, reading } = parts;
  const { shard, id } = actor;
  const now = lifeOf(actor);
  const { number } = now;
  const seq = "seq" in moment ? Math.min(now.seq, wholeNumber(moment.seq, "seq")) : now.seq;
  for (;;) {
    while (shard.refolding !== undefined) await shard.refolding;
    const { refolds } = shard;
    const base = number === 0 ? undefined : await reading.base(shard.index, number, folding.snapshotVersions);
    if (base !== undefined && isBehind(base.dropped, moment)) {
      const why = `the state of ${JSON.stringify(id)} is known from seq ${base.dropped.seq} on; the events before were dropped by retention`;
      throw new WarpError("EVENTS_DROPPED", why, { entity: id, droppedTo: base.dropped.seq });
    }
    const states = await foldTo(parts, actor, moment, { number, seq }, base);
    // Of a subject that was erased meanwhile they may have what was said.
    if (states !== undefined && refolds === shard.refolds) return states;
  }
}

/** True when what was dropped is only partly before a moment. */
function isBehind(dropped: Dropped, moment: Moment): boolean {
  const { recordedAt, occurredAt } = aboutDropped(dropped);
  if ("seq" in moment) return moment.seq < dropped.seq;
  if ("recorded" in moment) return toMs(moment.recorded) < recordedAt;
  return toMs(moment.occurred) < occurredAt;
}

/** The states at a moment behind what was dropped; undefined when more was dropped meanwhile. */
async function foldTo(
  parts: HistoryParts,
  actor: Actor,
  moment: Moment,
  life: Life,
  base: Base | undefined,
): Promise<States | undefined> {
  const { folding } = parts;
  const begun = folding.begin(actor.id, base?.snapshots ?? [], base?.dropped);
  const { covered } = begun;
  let { states } = begun;
  for await (const event of readEvents(parts, actor, { from: (base?.dropped.seq ?? 0) + 1 }, life)) {
    if (event.type === droppedType) return undefined;
    if ("recorded" in moment && event.recordedAt > toMs(moment.recorded)) break;
    if ("occurred" in moment && (event.occurredAt ?? event.recordedAt) > toMs(moment.occurred)) continue;
    states = folding.foldStored(states, event, covered);
  }
  return states;
}

async function* inOrder(settled: AsyncIterable<Page>, tail: Page[], backward: boolean): AsyncGenerator<Page> {
  if (backward) yield* tail.toReversed();
  yield* settled;
  if (!backward) yield* tail;
}

async function* readSettled(
  reading: Reading,
  actor: Actor,
  range: {
    readonly number: number;
    readonly from: number;
    readonly to: number;
    readonly bytesMax: number;
  },
  backward: boolean,
): AsyncGenerator<Page> {
  const { number, from, to, bytesMax } = range;
  let low = from;
  let high = to;
  while (low <= high) {
    const page: EntriesPage = await reading.entries({
      shard: actor.shard.index,
      number,
      from: low,
      to: high,
      direction: backward ? "backward" : "forward",
      bytesMax,
    });
    // What is asked for was there: rows that are missing were erased meanwhile, and half a history is none.
    if (page.bytes.length === 0 && page.dropped === undefined) throw erasedMeanwhile(actor.id);
    if (!backward && page.next === undefined) requireEnd(page, actor, to);
    yield page;
    if (page.next === undefined) return;
    if (backward) high = page.next;
    else low = page.next;
  }
}

/** A history that ends early is damage: everything up to `to` was settled. */
function requireEnd({ bytes, firstSeq }: EntriesPage, { id, shard }: Actor, to: number): void {
  if (bytes.length === 0) return;
  const entries = bytesOf(bytes.buffer, bytes.byteOffset, bytes.length);
  let due = firstSeq;
  for (let at = 0; at < bytes.length; at += entryLength(entries, at)) due += entryCount(entries, at);
  if (due > to) return;
  const why = `the history of ${JSON.stringify(id)} ends at seq ${due - 1}, and ${to} is there`;
  throw new WarpError("CORRUPT", why, { shard: shard.index, entity: id, seq: due });
}

/** A copy of what the tail holds of the entity of a row up to a seq, durable and not settled, in pages. */
export function copyTail(
  tail: Tail,
  tailRow: number,
  settledPosition: number,
  to: number,
  bytesMax: number,
): Page[] {
  const pages: Page[] = [];
  let firstSeq = 0;
  let copies: Buffer[] = [];
  let bytes = 0;
  const end = () => {
    if (copies.length > 0) pages.push({ firstSeq, bytes: Buffer.concat(copies, bytes) });
    copies = [];
    bytes = 0;
  };
  for (const entry of tail.index.chain(tailRow, settledPosition)) {
    if (entry.firstSeq > to) break;
    const length = entryLength(tail.bytes, entry.at);
    if (bytes > 0 && bytes + length > bytesMax) end();
    if (copies.length === 0) firstSeq = entry.firstSeq;
    copies.push(Buffer.from(tail.bytes.buffer.subarray(entry.at, entry.at + length)));
    bytes += length;
  }
  end();
  return pages;
}

/** The events of a page from one seq to another, decoded entry by entry as they are asked for. */
function* decodePage(page: Page, entity: string, from: number, to: number): Generator<StoredEvent> {
  const { buffer, byteOffset, length } = page.bytes;
  const bytes = bytesOf(buffer, byteOffset, length);
  let seq = page.firstSeq;
  for (let at = 0; at < length; at += entryLength(bytes, at)) {
    const end = seq + entryCount(bytes, at);
    if (end > from && seq <= to)
      for (const event of readEntry(bytes, at, entity, seq))
        if (event.seq >= from && event.seq <= to) yield event;
    seq = end;
  }
}

function* inTurn<Value>(first: Iterable<Value>, second: Iterable<Value>): Generator<Value> {
  yield* first;
  yield* second;
}

function wholeNumber(value: number, name: string): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new WarpError("INVALID_ARGUMENT", `${name} is a whole number from 0, not ${String(value)}`);
}

function toMs(time: number | Date): number {
  const ms = typeof time === "number" ? time : time.getTime();
  if (Number.isFinite(ms)) return ms;
  throw new WarpError("INVALID_ARGUMENT", `not a time: ${String(time)}`);
}
