/**
 * From the parts of a page to what a projection has to do, record by record.
 *
 * An entry without a type that is handled is not decoded: its types stand in front of its data.
 */
import { lastDropped } from "../../core/dropped.ts";
import { type Bytes, bytesOf, entryRecordedAt, readEntry, typesWanted } from "../../core/entry.ts";
import type { StoredEvent } from "../../core/event.ts";
import {
  droppedOfFeedPart,
  type FeedPage,
  type FeedPart,
  type FeedSource,
  feedPartKind,
  feedPartOffset,
  readFeedPart,
} from "../../core/feed.ts";
import { limits } from "../../core/limits.ts";
import { partForm, personalParts, subjectName } from "../../core/personal.ts";
import type { ErasedId, Erasure, Place } from "../messages.ts";

const pageBytes = 256 * 1024;

/** Events of one entity in one record. */
export interface EventsOf {
  readonly number: number;
  readonly entity: string;
  readonly firstSeq: number;
  /** As stored, those of types that are handled. */
  readonly events: readonly StoredEvent[];
  /** Whom they speak of, by the event that does. */
  readonly subjects: readonly { readonly seq: number; readonly number: number }[];
}

export interface FeedRecord {
  readonly shard: number;
  readonly position: number;
  readonly recordedAt: number;
  readonly parts: readonly EventsOf[];
  readonly erased: { readonly number: number; readonly entity: string } | undefined;
}

/** Where a shard is when the record is done. */
export function placeOf({ shard, position, recordedAt }: FeedRecord): Place {
  return { shard, position, recordedAt };
}

/** Ids that a reader knows before it forgets all of them. */
const idsMax = 131_072;

/** Reads pages. An id is decoded when its number is met first, and data of types that nobody handles is not decoded at all. */
export class RecordReader {
  readonly #isHandled: (type: string) => boolean;
  /** By shard and number. */
  #ids: Map<number, string>[] = [];
  #idCount = 0;
  #gaps = 0;

  constructor(isHandled: (type: string) => boolean) {
    this.#isHandled = isHandled;
  }

  /** The records of a page, in their order. */
  *recordsOf(page: FeedPage): Generator<FeedRecord, undefined> {
    const { shard } = page;
    const bytes = bytesOf(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length);
    const ids = this.#idsOf(shard);
    let position = 0;
    let recordedAt = 0;
    let parts: EventsOf[] = [];
    for (let at = 0; at < bytes.buffer.length; ) {
      const part = readFeedPart(bytes, at, ids);
      if (part.kind === feedPartKind.dropped) {
        at += part.length;
        const newest = lastDropped(droppedOfFeedPart(bytes, part), this.#isHandled);
        if (newest?.position === part.position) this.#gaps++;
        continue;
      }
      if (part.position !== position && parts.length > 0) {
        yield { shard, position, recordedAt, parts, erased: undefined };
        parts = [];
      }
      position = part.position;
      at += part.length;
      const { number, entity, firstSeq, entryAt } = part;
      if (part.kind !== feedPartKind.events) {
        ids.delete(number);
        yield { shard, position, recordedAt, parts: [], erased: { number, entity } };
        continue;
      }
      if (!ids.has(number)) {
        ids.set(number, entity);
        this.#idCount++;
      }
      recordedAt = entryRecordedAt(bytes, entryAt);
      const events = this.#eventsOf(bytes, part);
      const subjects = events.length === 0 ? [] : subjectsOf(bytes, entryAt, firstSeq);
      parts.push({ number, entity, firstSeq, events, subjects });
    }
    if (parts.length > 0) yield { shard, position, recordedAt, parts, erased: undefined };
  }

  /** How often events were missing that are handled, because retention had dropped them, since this was asked last. */
  takeGaps(): number {
    const gaps = this.#gaps;
    this.#gaps = 0;
    return gaps;
  }

  /** Forgets the id of what was erased. */
  forget(shard: number, number: number): void {
    this.#ids[shard]?.delete(number);
  }

  #idsOf(shard: number): Map<number, string> {
    if (this.#idCount > idsMax) {
      this.#ids = [];
      this.#idCount = 0;
    }
    this.#ids[shard] ??= new Map();
    return this.#ids[shard];
  }

  #eventsOf(bytes: Bytes, { entryAt, entity, firstSeq }: FeedPart): readonly StoredEvent[] {
    const wanted = typesWanted(bytes, entryAt, this.#isHandled);
    if (wanted === "none") return [];
    const events = readEntry(bytes, entryAt, entity, firstSeq);
    return wanted === "all" ? events : events.filter(({ type }) => this.#isHandled(type));
  }
}

function subjectsOf(bytes: Bytes, entryAt: number, firstSeq: number): EventsOf["subjects"] {
  const readable = personalParts(bytes, entryAt)?.filter(({ form }) => form !== partForm.erased) ?? [];
  return readable.map(({ index, number }) => ({ seq: firstSeq + index, number }));
}

/**
 * The events of one entity alone, from where it is held back up to where its shard is: in pages of about the size of a
 * message, the last of which ends there or behind it.
 */
export async function* historyOf(
  source: FeedSource,
  held: { readonly shard: number; readonly number: number; readonly position: number },
  upTo: number,
): AsyncGenerator<FeedPage> {
  const { shard, number } = held;
  let after = held.position - 1;
  let kept: Uint8Array[] = [];
  let size = 0;
  for (let at = after; at < upTo; ) {
    const page = await source.read(shard, at, limits.readPageBytes);
    if (page.upTo === at) break;
    at = page.upTo;
    for (const part of partsOf(page, number)) {
      kept.push(part);
      size += part.length;
    }
    if (size < limits.projectionMessageBytes || at >= upTo) continue;
    yield { shard, after, upTo: at, bytes: Buffer.concat(kept) };
    after = at;
    kept = [];
    size = 0;
  }
  yield { shard, after, upTo: Math.max(after, upTo), bytes: Buffer.concat(kept) };
}

/** Copies of an entity's parts, so that the page can go. */
function* partsOf(page: FeedPage, number: number): Generator<Uint8Array> {
  const bytes = bytesOf(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length);
  for (let at = 0; at < bytes.buffer.length; ) {
    const part = readFeedPart(bytes, at);
    if (part.number === number) yield page.bytes.slice(at, at + part.length);
    at += part.length;
  }
}

/**
 * The erasure at a place of the feed, as it can be done now: with the id that the feed has until everybody is past it, and
 * with whether that id has a new life since. Nothing has become durable between what was looked at and the moment in which
 * it resolves.
 */
export async function erasureNow(source: FeedSource, shard: number, position: number): Promise<Erasure> {
  let erasure: Erasure = { shard, position, number: 0, entity: "", erasedAt: 0, isReborn: false };
  const reader = new RecordReader(() => false);
  for (let after = position - 1; after < source.committed(shard); ) {
    const page = await source.read(shard, after, pageBytes);
    for (const record of reader.recordsOf(page)) {
      if (record.position === position && record.erased !== undefined) {
        const erasedAt = erasedAtOf(source, shard, record.erased.entity);
        erasure = { ...erasure, ...record.erased, erasedAt };
      }
      const isAlive = record.parts.some(
        ({ entity, number }) => entity === erasure.entity && number !== erasure.number,
      );
      if (isAlive && record.position > position) return { ...erasure, isReborn: true };
    }
    after = page.upTo;
  }
  return erasure;
}

/** Who was no entity is in the ledger as a subject. 0 for nobody that it knows. */
function erasedAtOf(source: FeedSource, shard: number, entity: string): number {
  if (entity === "") return 0;
  return Math.max(source.erasedAt(shard, entity) ?? 0, source.erasedAt(shard, subjectName(entity)) ?? 0);
}

/** Whose erasures are in a page, with the time of the newest of each: it is known before a page has the erasure. */
export function erasedIn({ shard, bytes: page }: FeedPage, source: FeedSource): ErasedId[] {
  const bytes = bytesOf(page.buffer, page.byteOffset, page.length);
  const erased: ErasedId[] = [];
  for (let at = 0; at < page.length; at += bytes.view.getUint32(at + feedPartOffset.length, true)) {
    if (page[at + feedPartOffset.kind] !== feedPartKind.erased) continue;
    // Without its id everybody is past it.
    const { entity } = readFeedPart(bytes, at);
    const erasedAt = erasedAtOf(source, shard, entity);
    if (erasedAt > 0) erased.push({ entity, erasedAt });
  }
  return erased;
}

/** Bytes that have their memory for themselves, so that it can be handed over. */
export function owned(bytes: Uint8Array): Uint8Array {
  const isAlone = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
  return isAlone ? bytes : bytes.slice();
}

export function memoryOf({ bytes }: FeedPage): ArrayBuffer {
  return bytes.buffer as ArrayBuffer;
}
