/**
 * A feed that lives in memory, made of real pages: for what the engine's own cannot be told to do at a given moment.
 */
import { bytesOf, type EntryDraft, entryBytesBound, writeEntry } from "../../src/core/entry.ts";
import { idHash } from "../../src/core/erasure.ts";
import {
  type FeedPage,
  type FeedSource,
  feedPartBytes,
  feedPartKind,
  type KnownErased,
  writeFeedPart,
} from "../../src/core/feed.ts";
import { shortHash } from "../../src/shard/erase/known-erasures.ts";

interface Part {
  readonly kind: number;
  readonly number: number;
  readonly entity: string;
  readonly firstSeq: number;
  readonly events: readonly { readonly type: string; readonly data: unknown }[];
}

interface FeedRecord {
  readonly position: number;
  readonly recordedAt: number;
  parts: Part[];
}

export class MemoryFeed implements FeedSource {
  readonly shards: number;
  incarnation = "one";
  /** Records in a page at most. */
  pageRecords = 50;
  /** Records that each shard had when the context was opened; undefined for all that it has. */
  recoveredRecords: number | undefined;
  readonly #records: FeedRecord[][];
  readonly #entities = new Map<string, { number: number; seq: number }>();
  readonly #watchers = new Set<() => void>();
  readonly idHashKey = new Uint8Array(32).fill(7);
  readonly #erasedAt = new Map<string, number>();
  #nextNumber = 1;
  #clock = 1_700_000_000_000;

  constructor(shards = 2) {
    this.shards = shards;
    this.#records = Array.from({ length: shards }, () => []);
  }

  /** Shard of an entity: by the first letter, so that a test can choose. */
  shardOf(entity: string): number {
    return entity.charCodeAt(0) % this.shards;
  }

  append(entity: string, ...events: { type: string; data: unknown }[]): { shard: number; position: number } {
    return this.together([entity, events]);
  }

  /** One record of several entities, which share a shard. */
  together(...parts: readonly (readonly [string, readonly { type: string; data: unknown }[]])[]) {
    const shard = this.shardOf(parts[0]?.[0] ?? "");
    const made = parts.map(([entity, events]): Part => {
      const known = this.#entities.get(entity) ?? { number: this.#nextNumber++, seq: 0 };
      this.#entities.set(entity, known);
      const firstSeq = known.seq + 1;
      known.seq += events.length;
      return { kind: feedPartKind.events, number: known.number, entity, firstSeq, events };
    });
    return this.#add(shard, made);
  }

  /** Everything of the entity leaves the feed, and its erasure comes in. */
  erase(entity: string): { shard: number; position: number } {
    const shard = this.shardOf(entity);
    const { number } = this.#entities.get(entity) ?? { number: 0 };
    for (const record of this.#records[shard] ?? []) {
      record.parts = record.parts.filter((part) => part.number !== number);
    }
    this.#entities.delete(entity);
    this.#erasedAt.set(entity, this.#clock);
    return this.#add(shard, [{ kind: feedPartKind.erased, number, entity, firstSeq: 0, events: [] }]);
  }

  /** Loses its newest records, as a machine's power failure does under durability "os". */
  lose(shard: number, records: number): void {
    this.#records[shard]?.splice(-records);
  }

  committed(shard: number): number {
    return this.#records[shard]?.length ?? 0;
  }

  recovered(shard: number): number {
    return Math.min(this.recoveredRecords ?? Number.POSITIVE_INFINITY, this.committed(shard));
  }

  async read(shard: number, after: number): Promise<FeedPage> {
    const records = this.#records[shard]?.slice(after, after + this.pageRecords) ?? [];
    return { shard, after, upTo: after + records.length, bytes: pageOf(records) };
  }

  erasedIds(): KnownErased {
    const { idHashKey } = this;
    const hashes = [...this.#erasedAt.keys()].map((id) => shortHash(idHash(idHashKey, id)));
    return {
      idHashKey,
      hashes: Float64Array.from(hashes),
      times: Float64Array.from(this.#erasedAt.values()),
    };
  }

  erasedAt(_shard: number, entity: string): number | undefined {
    return this.#erasedAt.get(entity);
  }

  async positionAt(): Promise<number> {
    return 0;
  }

  watch(onDurable: () => void): () => void {
    this.#watchers.add(onDurable);
    return () => this.#watchers.delete(onDurable);
  }

  #add(shard: number, parts: Part[]): { shard: number; position: number } {
    const records = this.#records[shard] ?? [];
    const position = records.length + 1;
    records.push({ position, recordedAt: this.#clock++, parts });
    for (const watcher of this.#watchers) watcher();
    return { shard, position };
  }
}

function pageOf(records: readonly FeedRecord[]): Uint8Array {
  const parts = records.flatMap(({ position, recordedAt, parts }) =>
    parts.map((part) => {
      const id = Buffer.from(part.entity);
      const entry = part.kind === feedPartKind.events ? entryOf(part, recordedAt, position) : Buffer.alloc(0);
      const bytes = bytesOf(new ArrayBuffer(feedPartBytes(id.length, entry.length)));
      const at = writeFeedPart(bytes, 0, { ...part, position }, id, entry.length);
      bytes.buffer.set(entry, at);
      return bytes.buffer;
    }),
  );
  const page = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    page.set(part, at);
    at += part.length;
  }
  return page;
}

function entryOf({ events }: Part, recordedAt: number, position: number): Buffer {
  const names = [...new Set(events.map(({ type }) => type))];
  const draft: EntryDraft = {
    count: events.length,
    types: names.map((name) => ({ name, utf8: Buffer.from(name), version: 1 })),
    typeIndexes:
      names.length > 1 ? Uint8Array.from(events.map(({ type }) => names.indexOf(type))) : undefined,
    occurred: undefined,
    data: JSON.stringify(events.map(({ data }) => data)),
    isMsgpack: false,
  };
  const bytes = bytesOf(new ArrayBuffer(entryBytesBound(draft)));
  return bytes.buffer.subarray(0, writeEntry(bytes, 0, draft, recordedAt, position));
}
