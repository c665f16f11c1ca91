/**
 * Sample shards for the tests and benchmarks of this folder: a tail that is filled as the engine fills it, and the model
 * that the files are compared with.
 *
 * Everything follows from the seed, so a failure repeats. Nothing outside tests and benchmarks imports this.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PeriodKeys } from "../core/period-keys.ts";
import { appendRecordBound, type PartDraft, writePart, writeRecordHeader } from "../core/append-record.ts";
import { type Bytes, bytesOf, type EntryDraft } from "../core/entry.ts";
import { writeErasePart } from "../core/erase-record.ts";
import { assert } from "../core/errors.ts";
import { recordHeaderBytes, recordKind, recordOffset } from "../core/record.ts";
import type { ShardWorkerOptions, SnapshotDraft, ToWriter } from "./messages.ts";

/** mulberry32: 32 bits of state are enough for tests. Returns values in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mix = Math.imul(state ^ (state >>> 15), 1 | state);
    mix = (mix + Math.imul(mix ^ (mix >>> 7), 61 | mix)) ^ mix;
    return ((mix ^ (mix >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed for a random test, printed: `WARP_TEST_SEED` repeats it. */
export function sampleSeed(): number {
  const seed = Number(process.env.WARP_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`WARP_TEST_SEED=${seed}`);
  return seed;
}

export function sampleDirectory(): string {
  return mkdtempSync(join(tmpdir(), "warp-shard-"));
}

export function sampleOptions(dataDir: string, change: Partial<ShardWorkerOptions> = {}): ShardWorkerOptions {
  return {
    dataDir,
    context: "sample",
    shards: [0, 1, 2],
    create: true,
    periods: PeriodKeys.of([{ period: 1, key: new Uint8Array(32).fill(7) }]).memory,
    durability: "fsync",
    idHashKey: new Uint8Array(32).fill(9),
    deliveryBytes: 2 ** 20,
    ...change,
  };
}

/** Four fields, about 90 bytes of JSON, half of it random. */
export function sampleData(random: () => number): string {
  const cents = Math.floor(random() * 1e6);
  const ref = `ref-${Math.floor(random() * 2 ** 40).toString(36)}`;
  const note = `${Math.floor(random() * 2 ** 50).toString(36)}-abcdefghij`;
  return `{"cents":${cents},"ref":"${ref}","at":${1_700_000_000_000 + cents},"note":"${note}"}`;
}

export interface SampleEntity {
  readonly shard: number;
  readonly number: number;
  readonly id: string;
  seq: number;
  /** Data text of every event. */
  readonly events: string[];
  readonly positions: number[];
  readonly callerKeys: {
    readonly key: string;
    readonly firstSeq: number;
    readonly count: number;
    readonly outcome: string | undefined;
  }[];
}

const noErasures = new Float64Array(0);
const sampleTypes = [{ name: "Credited", utf8: Buffer.from("Credited"), version: 1 }] as const;

export class SampleTail {
  readonly memory: SharedArrayBuffer;
  readonly entities: SampleEntity[] = [];
  readonly byId = new Map<string, SampleEntity>();
  readonly #bytes: Bytes;
  readonly #positions = new Map<number, number>();
  readonly #nextNumbers = new Map<number, number>();
  #at = 0;
  #roundAt = 0;
  #round = 0;
  #time = 1_700_000_000_000;
  #keys = 0;

  constructor(capacity: number) {
    this.memory = new SharedArrayBuffer(capacity);
    this.#bytes = bytesOf(this.memory);
  }

  get round(): number {
    return this.#round;
  }

  get bytes(): number {
    return this.#at;
  }

  positionOf(shard: number): number {
    return this.#positions.get(shard) ?? 0;
  }

  /** A new entity without events; it is made by its first append. */
  entity(shard: number, id: string): SampleEntity {
    const number = this.#nextNumbers.get(shard) ?? 1;
    this.#nextNumbers.set(shard, number + 1);
    const entity: SampleEntity = { shard, number, id, seq: 0, events: [], positions: [], callerKeys: [] };
    this.entities.push(entity);
    this.byId.set(id, entity);
    return entity;
  }

  /** One record with a part for each entity, all of one shard; without data it is the outcome of a rejected command. */
  append(entities: readonly SampleEntity[], data: readonly string[], withKey = false): void {
    const shard = entities[0]?.shard ?? 0;
    const position = this.positionOf(shard) + 1;
    this.#positions.set(shard, position);
    this.#time += 1;
    const parts = entities.map((entity) => this.#part(entity, data, withKey));
    let bound = 0;
    for (const part of parts) bound += appendRecordBound(part);
    if (this.#at + bound > this.memory.byteLength) this.#at = 0;
    assert(this.#at + bound <= this.memory.byteLength, "the sample fits in its tail");
    const at = this.#at;
    let end = at + recordHeaderBytes;
    for (const part of parts) end = writePart(this.#bytes, end, part, this.#time, position);
    writeRecordHeader(this.#bytes, at, end, shard, 1, position, parts.length);
    this.#at = end;
    for (const entity of entities) {
      entity.events.push(...data);
      for (const _ of data) entity.positions.push(position);
      entity.seq += data.length;
    }
  }

  /** The record that ends an entity. */
  erase(entity: SampleEntity): void {
    const { shard, number, id, seq } = entity;
    const position = this.positionOf(shard) + 1;
    this.#positions.set(shard, position);
    const at = this.#at;
    const draft = { id, events: seq, erasedAt: ++this.#time, reason: "", by: "" };
    const end = writeErasePart(this.#bytes, at + recordHeaderBytes, number, draft);
    writeRecordHeader(this.#bytes, at, end, shard, 1, position, 1);
    this.#bytes.view.setUint8(at + recordOffset.kind, recordKind.erase);
    this.#at = end;
  }

  /** The message that settles what was appended since the last one. */
  settleMessage(snapshots: readonly SnapshotDraft[] = []): Extract<ToWriter, { type: "settle" }> {
    this.#round++;
    const ranges = Float64Array.of(this.#roundAt, this.#at - this.#roundAt);
    this.#roundAt = this.#at;
    return { type: "settle", round: this.#round, ranges, snapshots, deliveries: [], erased: noErasures };
  }

  /** As if everything appended so far came in one round. */
  replayMessage(): Extract<ToWriter, { type: "settle" }> {
    const ranges = Float64Array.of(0, this.#at);
    return {
      type: "settle",
      round: ++this.#round,
      ranges,
      snapshots: [],
      deliveries: [],
      erased: noErasures,
    };
  }

  /** Begins again at the start of the memory; what was there is settled. */
  rewind(): void {
    this.#at = 0;
    this.#roundAt = 0;
  }

  #part(entity: SampleEntity, data: readonly string[], withKey: boolean): PartDraft {
    const isNew = entity.seq === 0 && entity.callerKeys.length === 0;
    const outcome =
      data.length === 0 ? '{"code":"INSUFFICIENT_FUNDS","details":{"have":"zu wenig €"}}' : undefined;
    const key = withKey || data.length === 0 ? `key-${++this.#keys}-ü` : undefined;
    const firstSeq = entity.seq + 1;
    if (key !== undefined) entity.callerKeys.push({ key, firstSeq, count: data.length, outcome });
    return {
      number: entity.number,
      firstSeq,
      id: isNew ? entity.id : undefined,
      key: key === undefined ? undefined : { text: key, contentHash: contentHashOf(key) },
      delivery: withKey ? { sessionStart: 1, sessionNumber: 2, counter: this.#keys } : undefined,
      outcome,
      entry: entryOf(data),
    };
  }
}

export function contentHashOf(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(text).digest().subarray(0, 16);
}

function entryOf(data: readonly string[]): EntryDraft {
  const types = data.length === 0 ? [] : sampleTypes;
  return {
    count: data.length,
    types,
    typeIndexes: undefined,
    occurred: undefined,
    data: `[${data.join(",")}]`,
    isMsgpack: false,
  };
}

/** Random appends: new and known entities, batches, several parts, caller keys, rejected commands. */
export function appendRandomly(tail: SampleTail, random: () => number, records: number): void {
  const pick = (count: number) => Math.floor(random() * count);
  for (let i = 0; i < records; i++) {
    const shard = pick(3);
    const known = tail.entities.filter((entity) => entity.shard === shard);
    const isNew = known.length === 0 || random() < 0.2;
    const one = isNew ? tail.entity(shard, `entity-${tail.entities.length}-é`) : known[pick(known.length)];
    if (one === undefined) continue;
    const other = random() < 0.1 ? known.find((entity) => entity !== one) : undefined;
    const kind = random();
    const count = kind < 0.1 ? 0 : kind < 0.2 ? 40 : 1 + pick(3);
    const data = Array.from({ length: count }, () => sampleData(random));
    tail.append(other === undefined ? [one] : [one, other], data, random() < 0.2);
  }
}
