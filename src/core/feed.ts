/**
 * The feed of a shard: what subscriptions, projections and other followers read, in the order of positions.
 *
 * - A page holds every durable record behind `after`, up to and including `upTo`, of one shard, as *parts* back to back:
 *   the share of a record that belongs to one entity, or the erasure of an entity. A record's parts are never divided
 *   between two pages.
 * - Only what is durable is in it. What was erased is not in it any more, but its erasure is, so a follower that reads
 *   on from where it was meets the erasure of everything it may have seen.
 * - What retention dropped is not in it any more either. Where the newest dropped event of some type stood there is a part that
 *   says so, until more of the entity is dropped.
 * - A part is self-contained and a page is one block of memory, so that it can be handed to a Worker.
 *
 * A part, little-endian: u32 length of all of it, u8 kind, u8 0, u16 bytes of the id, f64 number, f64 first seq, f64
 * position, the id in UTF-8, and for events an entry (record.ts), verbatim. Of dropped events the first seq
 * is that of the last that is gone, and behind the id is JSON: of each type the newest (`LastDropped`).
 */
import type { LastDropped } from "./dropped.ts";
import { type Bytes, readEntry } from "./entry.ts";
import type { StoredEvent } from "./event.ts";
import { isSubjectName } from "./personal.ts";
import { readUtf8 } from "./utf8.ts";

/**
 * An erasure is `erased` in the shard of the id, where it has its place among the entity's events, and `forgotten` in others that
 * knew her as a subject (personal.ts): there the number alone matters.
 */
export const feedPartKind = { events: 1, erased: 2, forgotten: 3, dropped: 4 } as const;
export const feedPartHeaderBytes = 32;
export const feedPartOffset = {
  length: 0,
  kind: 4,
  idBytes: 6,
  number: 8,
  firstSeq: 16,
  position: 24,
} as const;
const offset = feedPartOffset;

export interface FeedPage {
  readonly shard: number;
  readonly after: number;
  /** Everything up to here has been read; equal to `after` when nothing durable is behind it. */
  readonly upTo: number;
  readonly bytes: Uint8Array;
}

/** Erased ids by the first 48 bits of a keyed hash (core/erasure.ts), and the time of the newest erasure of each. */
export interface KnownErased {
  readonly idHashKey: Uint8Array;
  readonly hashes: Float64Array;
  /** ms since 1970. */
  readonly times: Float64Array;
}

/** Where followers read. Made by the engine; positions and numbers mean nothing outside their shard. */
export interface FeedSource {
  readonly shards: number;
  readonly incarnation: string;
  /** Position of the newest durable record of a shard. */
  committed(shard: number): number;
  /** What that was when the context was opened: whatever was made of later records is of this process. */
  recovered(shard: number): number;
  /** The next page behind `after`, of about `bytesMax` bytes. Errors: INVALID_ARGUMENT for a position of the future. */
  read(shard: number, after: number, bytesMax: number): Promise<FeedPage>;
  /** The position behind which everything was recorded at this time (ms since 1970) or later. */
  positionAt(shard: number, recordedAt: number): Promise<number>;
  /** What the context knows of erased ids, in a form that can be handed to a Worker. */
  erasedIds(): KnownErased;
  /** When the id was erased, ms since 1970; undefined if it was not, or is not known any more. */
  erasedAt(shard: number, entity: string): number | undefined;
  /** Calls `onDurable` after turns that made something durable, at most once a turn. Returns how to end it. */
  watch(onDurable: () => void): () => void;
}

/** A part as it lies in a page; `at` is its offset. */
export interface FeedPart {
  readonly at: number;
  readonly length: number;
  readonly kind: number;
  readonly number: number;
  readonly entity: string;
  readonly firstSeq: number;
  readonly position: number;
  /** Offset of the entry, or of what is said of dropped events; the end of the part for an erasure. */
  readonly entryAt: number;
}

/** Bytes of a part with this id and entry. */
export function feedPartBytes(idBytes: number, entryBytes: number): number {
  return feedPartHeaderBytes + idBytes + entryBytes;
}

/** Writes a part but for its entry, which the caller puts at the offset that this returns. */
export function writeFeedPart(
  out: Bytes,
  at: number,
  part: {
    readonly kind: number;
    readonly number: number;
    readonly firstSeq: number;
    readonly position: number;
  },
  id: Uint8Array,
  entryBytes: number,
): number {
  const { buffer, view } = out;
  view.setUint32(at + offset.length, feedPartBytes(id.length, entryBytes), true);
  view.setUint16(at + offset.kind, part.kind, true);
  view.setUint16(at + offset.idBytes, id.length, true);
  view.setFloat64(at + offset.number, part.number, true);
  view.setFloat64(at + offset.firstSeq, part.firstSeq, true);
  view.setFloat64(at + offset.position, part.position, true);
  buffer.set(id, at + feedPartHeaderBytes);
  return at + feedPartHeaderBytes + id.length;
}

/** `ids`, of the same shard, are those that the caller knows: an id that is in there by its number is not decoded. */
export function readFeedPart(bytes: Bytes, at: number, ids?: ReadonlyMap<number, string>): FeedPart {
  const { buffer, view } = bytes;
  const idAt = at + feedPartHeaderBytes;
  const entryAt = idAt + view.getUint16(at + offset.idBytes, true);
  const kind = view.getUint8(at + offset.kind);
  const number = view.getFloat64(at + offset.number, true);
  // An erasure may have lost its id, which is something to be told.
  const known = kind === feedPartKind.events ? ids?.get(number) : undefined;
  return {
    at,
    length: view.getUint32(at + offset.length, true),
    kind,
    number,
    entity: known ?? readUtf8(buffer, idAt, entryAt),
    firstSeq: view.getFloat64(at + offset.firstSeq, true),
    position: view.getFloat64(at + offset.position, true),
    entryAt,
  };
}

/** How the erasure of what had this name is told, and under which id. */
export function erasureTold(
  name: Buffer,
  isHome: (id: string) => boolean,
): { readonly kind: number; readonly id: Buffer } {
  if (!isSubjectName(name)) return { kind: feedPartKind.erased, id: name };
  const id = name.subarray(1);
  if (isHome(id.toString("utf8"))) return { kind: feedPartKind.erased, id };
  return { kind: feedPartKind.forgotten, id: id.subarray(0, 0) };
}

/** The events of a part, as stored; none of an erasure. */
export function eventsOfFeedPart(bytes: Bytes, part: FeedPart): StoredEvent[] {
  if (part.kind !== feedPartKind.events) return [];
  return readEntry(bytes, part.entryAt, part.entity, part.firstSeq);
}

/** Of each type the newest dropped event, as a part of kind `dropped` says it. */
export function droppedOfFeedPart({ buffer }: Bytes, { at, length, entryAt }: FeedPart): LastDropped[] {
  return JSON.parse(buffer.toString("utf8", entryAt, at + length)) as LastDropped[];
}
