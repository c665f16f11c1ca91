/**
 * What a subscription is handed at once: events of one shard, one erasure or one gap, and where it stands behind them.
 *
 * A chunk ends at a record's end. It is shared by all subscriptions of a filter, and so is what is made of it. What is erased
 * while it waits is left out of what is handed over of it.
 */
import { encodeCursor, type Positions } from "../core/cursor.ts";
import { type Bytes, bytesOf } from "../core/entry.ts";
import type { Gap } from "../core/dropped.ts";
import type { StoredEvent } from "../core/event.ts";
import { droppedOfFeedPart, type FeedPage, type FeedPart, feedPartKind, readFeedPart } from "../core/feed.ts";
import { hasPersonal, personalParts } from "../core/personal.ts";
import type { Filter } from "./filter.ts";

export type Subjects = ReadonlyMap<StoredEvent, number>;

const nobody: Subjects = new Map();

export class Chunk {
  readonly shard: number;
  /** It follows on this position … */
  readonly after: number;
  /** … and whoever has it is complete up to this one. */
  readonly upTo: number;
  readonly events: readonly StoredEvent[];
  /** The number of each event's entity; that of an erased one, or of one with a gap, alone. */
  readonly numbers: readonly number[];
  /** Set when it tells of an erasure; the id may be gone too, and is then empty. */
  readonly erased: string | undefined;
  /** Set when it tells of events that are gone. */
  readonly gap: Gap | undefined;
  /** The number of whom an event speaks, for those that do. */
  readonly subjects: Subjects;
  /** What its events take where they are stored. */
  readonly bytes: number;
  #made: unknown;
  #cursor: string | undefined;

  constructor(
    place: { readonly shard: number; readonly after: number; readonly upTo: number },
    events: readonly StoredEvent[],
    numbers: readonly number[],
    bytes: number,
    what: { readonly erased?: string; readonly gap?: Gap; readonly subjects?: Subjects } = {},
  ) {
    this.shard = place.shard;
    this.after = place.after;
    this.upTo = place.upTo;
    this.events = events;
    this.numbers = numbers;
    this.bytes = bytes;
    this.erased = what.erased;
    this.gap = what.gap;
    this.subjects = what.subjects ?? nobody;
  }

  /**
   * As it would be read now that these are erased, but for the first `from` events; undefined when nothing of it would. That somebody
   * was erased is told as ever.
   */
  without(erased: ReadonlySet<number>, from = 0): Chunk | undefined {
    if (erased.size === 0 || this.erased !== undefined) return this;
    const isGone = (_: unknown, i: number) => i >= from && erased.has(this.numbers[i] ?? 0);
    if (this.gap !== undefined) return isGone(this.gap, 0) ? undefined : this;
    const isSpoken = (event: StoredEvent, i: number) =>
      i >= from && erased.has(this.subjects.get(event) ?? 0);
    if (!this.events.some((event, i) => isGone(event, i) || isSpoken(event, i))) return this;
    const events: StoredEvent[] = [];
    const numbers: number[] = [];
    const subjects = new Map<StoredEvent, number>();
    for (const [i, event] of this.events.entries()) {
      if (isGone(event, i)) continue;
      const left = isSpoken(event, i) ? { ...event, personal: null } : event;
      const subject = this.subjects.get(event);
      if (left === event && subject !== undefined) subjects.set(event, subject);
      events.push(left);
      numbers.push(this.numbers[i] ?? 0);
    }
    return events.length === 0 ? undefined : new Chunk(this, events, numbers, this.bytes, { subjects });
  }

  /** Where whoever has it stands; the same for all who are live, so that it is encoded once. */
  cursor(incarnation: string, positions: Positions): string {
    this.#cursor ??= encodeCursor(incarnation, positions.with(this.shard, this.upTo));
    return this.#cursor;
  }

  /** What `make` makes of it the first time it is asked for: bytes that many can send. */
  shared<Made>(make: (chunk: Chunk) => Made): Made {
    this.#made ??= make(this);
    return this.#made as Made;
  }
}

/**
 * The parts of a page that a filter is about, as chunks; none when it lets nothing through. An erasure that has lost its id
 * is known by the entity's number, `number` if it is that of the filter's entity.
 */
export function chunksOf(page: FeedPage, filter: Filter, number: number): Chunk[] {
  const bytes = pageBytes(page);
  const parts: FeedPart[] = [];
  for (let at = 0; at < page.bytes.length; ) {
    const part = readFeedPart(bytes, at);
    parts.push(part);
    at += part.length;
  }
  return chunksOfParts(
    page,
    bytes,
    parts.filter((part) => filter.matchesEntity(part.entity) || part.number === number),
    filter,
  );
}

/** As {@link chunksOf}, of the parts of entities that the filter is about. An erasure, or a gap, stands alone. */
export function chunksOfParts(
  page: FeedPage,
  bytes: Bytes,
  parts: readonly FeedPart[],
  filter: Filter,
): Chunk[] {
  const { shard, upTo } = page;
  const chunks: Chunk[] = [];
  let after = page.after;
  let events: StoredEvent[] = [];
  let numbers: number[] = [];
  let subjects = new Map<StoredEvent, number>();
  let size = 0;
  for (const [i, part] of parts.entries()) {
    if (part.kind === feedPartKind.forgotten) continue;
    const gap = part.kind === feedPartKind.dropped ? gapOf(bytes, part, filter) : undefined;
    if (part.kind === feedPartKind.dropped && gap === undefined) continue;
    if (part.kind === feedPartKind.events) {
      size += part.length;
      const own = filter.eventsOf(bytes, part);
      for (const event of own) {
        events.push(event);
        numbers.push(part.number);
      }
      noteSubjects(subjects, own, bytes, part.entryAt, part.firstSeq);
      continue;
    }
    const { position } = part;
    const erased = part.entity === "" ? (filter.entity ?? "") : part.entity;
    const mark = gap === undefined ? { erased } : { gap };
    if (events.length > 0)
      chunks.push(new Chunk({ shard, after, upTo: position - 1 }, events, numbers, size, { subjects }));
    // What is left of a record comes behind what was dropped of it.
    const end = parts[i + 1]?.position === position ? position - 1 : position;
    chunks.push(new Chunk({ shard, after: position - 1, upTo: end }, [], [part.number], 0, mark));
    after = end;
    events = [];
    numbers = [];
    subjects = new Map();
    size = 0;
  }
  if (events.length > 0) chunks.push(new Chunk({ shard, after, upTo }, events, numbers, size, { subjects }));
  return chunks;
}

/** Notes whom events speak of: those of the entry at `entryAt` that a filter lets through. */
export function noteSubjects(
  subjects: Map<StoredEvent, number>,
  events: readonly StoredEvent[],
  bytes: Bytes,
  entryAt: number,
  firstSeq: number,
): void {
  if (events.length === 0 || !hasPersonal(bytes, entryAt)) return;
  const bySeq = new Map(
    personalParts(bytes, entryAt)?.map(({ index, number }) => [firstSeq + index, number]),
  );
  for (const event of events) {
    const subject = bySeq.get(event.seq);
    if (subject !== undefined) subjects.set(event, subject);
  }
}

/** What a part of dropped events is for a filter, at the place of the newest that it wanted. */
function gapOf(bytes: Bytes, part: FeedPart, filter: Filter): Gap | undefined {
  const newest = filter.lastDropped(droppedOfFeedPart(bytes, part));
  if (newest?.position !== part.position) return undefined;
  return { entity: part.entity, droppedTo: part.firstSeq, ...newest };
}

export function pageBytes({ bytes }: FeedPage): Bytes {
  return bytesOf(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}
