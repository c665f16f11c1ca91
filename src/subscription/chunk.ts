/**
 * What a subscription is handed at once: events of one shard, or one erasure, and where it stands behind them.
 *
 * A chunk ends at a record's end. It is shared by all subscriptions of a filter, and so is what is made of it.
 */
import { encodeCursor, type Positions } from "../core/cursor.ts";
import { type Bytes, bytesOf } from "../core/entry.ts";
import type { StoredEvent } from "../core/event.ts";
import { type FeedPage, type FeedPart, feedPartKind, readFeedPart } from "../core/feed.ts";
import type { Filter } from "./filter.ts";

export class Chunk {
  readonly shard: number;
  /** It follows on this position … */
  readonly after: number;
  /** … and whoever has it is complete up to this one. */
  readonly upTo: number;
  readonly events: readonly StoredEvent[];
  /** The number of each event's entity; that of an erased one alone. */
  readonly numbers: readonly number[];
  /** Set when it tells of an erasure; the id may be gone too, and is then empty. */
  readonly erased: string | undefined;
  /** What its events take where they are stored. */
  readonly bytes: number;
  #made: unknown;
  #cursor: string | undefined;

  constructor(
    place: { readonly shard: number; readonly after: number; readonly upTo: number },
    events: readonly StoredEvent[],
    numbers: readonly number[],
    bytes: number,
    erased?: string,
  ) {
    this.shard = place.shard;
    this.after = place.after;
    this.upTo = place.upTo;
    this.events = events;
    this.numbers = numbers;
    this.bytes = bytes;
    this.erased = erased;
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

/** As {@link chunksOf}, of the parts of entities that the filter is about. An erasure stands alone. */
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
  for (const part of parts) {
    if (part.kind === feedPartKind.forgotten) continue;
    if (part.kind !== feedPartKind.erased) {
      size += part.length;
      for (const event of filter.eventsOf(bytes, part)) {
        events.push(event);
        numbers.push(part.number);
      }
      continue;
    }
    const { position } = part;
    const entity = part.entity === "" ? (filter.entity ?? "") : part.entity;
    if (events.length > 0)
      chunks.push(new Chunk({ shard, after, upTo: position - 1 }, events, numbers, size));
    chunks.push(new Chunk({ shard, after: position - 1, upTo: position }, [], [part.number], 0, entity));
    after = position;
    events = [];
    numbers = [];
    size = 0;
  }
  if (events.length > 0) chunks.push(new Chunk({ shard, after, upTo }, events, numbers, size));
  return chunks;
}

export function pageBytes({ bytes }: FeedPage): Bytes {
  return bytesOf(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}
