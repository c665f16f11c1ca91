/**
 * What a subscription is handed at once: events of one shard, one erasure or one gap, and where it stands behind them.
 *
 * A chunk ends at a record's end. It is shared by all subscriptions of a filter, and so is what is made of it.
 */
import { encodeCursor, type Positions } from "../core/cursor.ts";
import { type Bytes, bytesOf } from "../core/entry.ts";
import type { Gap } from "../core/dropped.ts";
import type { StoredEvent } from "../core/event.ts";
import { droppedOfFeedPart, type FeedPage, type FeedPart, feedPartKind, readFeedPart } from "../core/feed.ts";
import type { Filter } from "./filter.ts";

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
  /** What its events take where they are stored. */
  readonly bytes: number;
  #made: unknown;
  #cursor: string | undefined;

  constructor(
    place: { readonly shard: number; readonly after: number; readonly upTo: number },
    events: readonly StoredEvent[],
    numbers: readonly number[],
    bytes: number,
    mark: { readonly erased?: string; readonly gap?: Gap } = {},
  ) {
    this.shard = place.shard;
    this.after = place.after;
    this.upTo = place.upTo;
    this.events = events;
    this.numbers = numbers;
    this.bytes = bytes;
    this.erased = mark.erased;
    this.gap = mark.gap;
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
  let size = 0;
  for (const [i, part] of parts.entries()) {
    if (part.kind === feedPartKind.forgotten) continue;
    const gap = part.kind === feedPartKind.dropped ? gapOf(bytes, part, filter) : undefined;
    if (part.kind === feedPartKind.dropped && gap === undefined) continue;
    if (part.kind === feedPartKind.events) {
      size += part.length;
      for (const event of filter.eventsOf(bytes, part)) {
        events.push(event);
        numbers.push(part.number);
      }
      continue;
    }
    const { position } = part;
    const erased = part.entity === "" ? (filter.entity ?? "") : part.entity;
    const mark = gap === undefined ? { erased } : { gap };
    if (events.length > 0)
      chunks.push(new Chunk({ shard, after, upTo: position - 1 }, events, numbers, size));
    // What is left of a record comes behind what was dropped of it.
    const end = parts[i + 1]?.position === position ? position - 1 : position;
    chunks.push(new Chunk({ shard, after: position - 1, upTo: end }, [], [part.number], 0, mark));
    after = end;
    events = [];
    numbers = [];
    size = 0;
  }
  if (events.length > 0) chunks.push(new Chunk({ shard, after, upTo }, events, numbers, size));
  return chunks;
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
