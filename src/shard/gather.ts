/**
 * The records of one round, walked once and grouped by shard and entity.
 *
 * - The ranges are first copied out of shared memory, whole: reading and sealing private bytes is faster, and nobody
 *   else can change them meanwhile.
 * - Nothing is allocated per record: parts and chains are rows of typed arrays that are used again in every round. A
 *   chain is the list of one entity's parts, in order.
 * - Positions of a shard follow each other without gaps, and so do the seqs of a chain, also across rounds as far as
 *   they are remembered; anything else is CORRUPT.
 * - A record that is settled already adds to no chain, and one that is named already adds no name.
 * - Of an entity that is erased in the round, or was before, nothing is grouped: no run, name, key or caller key.
 * - Numbers of new entities rise with the positions of the records that make them: names and filters build on it.
 */
import { type Bytes, bytesOf } from "../core/entry.ts";
import { type EraseRecord, readEraseRecord } from "../core/erase-record.ts";
import { WarpError } from "../core/errors.ts";
import {
  entryHeaderBytes,
  entryOffset,
  partFlag,
  partHeaderBytes,
  partOffset,
  recordHeaderBytes,
  recordKind,
  recordOffset,
} from "../core/record.ts";
import { RecentSeqs } from "./recent-seqs.ts";

const none = -1;
/** Chains of a shard are sorted by number × this + chain, exactly, as long as numbers are below 2^33. */
const chainsMax = 2 ** 20;

/** Entries that are looked at together, and bytes of each. */
const lookedAtMax = 32;
const lookedAtBytes = 256;

/** What a shard's files have before a round. */
export interface ShardPositions {
  readonly settled: number;
  readonly named: number;
  /** The smallest number that no name has. */
  readonly nextNumber: number;
  /** Numbers of which nothing is settled any more: erased in this round, or before what is replayed. */
  readonly erased?: ReadonlySet<number> | undefined;
}

/** What a round holds for one shard. */
export class ShardBatch {
  readonly shard: number;
  settledPosition = 0;
  namedPosition = 0;
  /** Position of the last record seen; 0 before the first. */
  lastPosition = 0;
  lastRecordedAt = 0;
  /** The largest number that is named, in names.db or by this round. */
  newestNumber = 0;
  chains: number[] = [];
  /** Parts whose id is not yet in names.db. */
  named: number[] = [];
  /** Parts with a caller key that are not yet in runs.db. */
  keyed: number[] = [];
  /** Numbers that are neither named nor settled: they need keys. */
  minted: number[] = [];
  /** ERASE records that are not settled. */
  erasures: EraseRecord[] = [];
  /** ERASE records that are settled, but not in names.db: a power failure took what was not synced of it. */
  unnamedErasures: EraseRecord[] = [];
  erased: ReadonlySet<number> | undefined;

  constructor(shard: number) {
    this.shard = shard;
  }

  begin({ settled, named, nextNumber, erased }: ShardPositions): void {
    this.settledPosition = settled;
    this.namedPosition = named;
    this.lastPosition = 0;
    this.lastRecordedAt = 0;
    this.newestNumber = nextNumber - 1;
    this.chains = [];
    this.named = [];
    this.keyed = [];
    this.minted = [];
    this.erasures = [];
    this.unnamedErasures = [];
    this.erased = erased;
  }
}

export class Gather {
  bytes: Bytes = bytesOf(new ArrayBuffer(1024 * 1024));
  /** Offset of each part, and the next part of its chain. */
  #partAt = new Uint32Array(4096);
  #partNext = new Int32Array(4096);
  #parts = 0;
  #chainNumber = new Float64Array(1024);
  #chainShard = new Uint16Array(1024);
  #chainHead = new Int32Array(1024);
  #chainTail = new Int32Array(1024);
  #chainNextSeq = new Float64Array(1024);
  #chains = 0;
  /** Open addressing over (shard, number): chain + 1, or 0 where free. */
  #table = new Int32Array(4096);
  /** Of what was looked at, so that looking is not left out. */
  #seen = 0;
  readonly #recent = new RecentSeqs();
  readonly #batches: ReadonlyMap<number, ShardBatch>;

  constructor(shards: readonly number[]) {
    this.#batches = new Map(shards.map((shard) => [shard, new ShardBatch(shard)]));
  }

  /**
   * Takes a round: ranges of `tail` as start, length, start, length …. Returns the batches of the shards that have
   * records in it. Errors: CORRUPT.
   */
  take(tail: Uint8Array, ranges: Float64Array, positionsOf: (shard: number) => ShardPositions): ShardBatch[] {
    const length = this.#copy(tail, ranges);
    this.#parts = 0;
    this.#chains = 0;
    this.#table.fill(0);
    for (const batch of this.#batches.values()) batch.begin(positionsOf(batch.shard));
    for (let at = 0; at < length; ) at = this.#takeRecord(at, length);
    const touched = [...this.#batches.values()].filter((batch) => batch.lastPosition > 0);
    for (const batch of touched) batch.chains = this.#sorted(batch.chains);
    return touched;
  }

  /** The round is settled: what is due next for its entities is known. */
  remember(): void {
    for (let chain = 0; chain < this.#chains; chain++) {
      const due = this.#chainNextSeq[chain] ?? 0;
      this.#recent.remember(this.#chainShard[chain] ?? 0, this.#chainNumber[chain] ?? 0, due);
    }
  }

  numberOf(chain: number): number {
    return this.#chainNumber[chain] ?? 0;
  }

  /** First part of a chain. */
  headOf(chain: number): number {
    return this.#chainHead[chain] ?? none;
  }

  /** The part behind a part in its chain; negative at the end. */
  nextOf(part: number): number {
    return this.#partNext[part] ?? none;
  }

  /** Offset of a part in `bytes`. */
  partAt(part: number): number {
    return this.#partAt[part] ?? 0;
  }

  /**
   * Looks at the entries of a chain, or the first of them, before they are read. They lie far apart; with nothing in between the processor
   * fetches several of them at a time.
   */
  lookAt(head: number): void {
    const { buffer } = this.bytes;
    let seen = 0;
    let part = head;
    for (let i = 0; i < lookedAtMax && part >= 0; i++) {
      const at = this.#partAt[part] ?? 0;
      // Beyond the round there are zeros or nothing.
      for (let line = 0; line < lookedAtBytes; line += 64) seen += buffer[at + line] ?? 0;
      part = this.#partNext[part] ?? none;
    }
    this.#seen = seen + (this.#seen & 1);
  }

  #copy(tail: Uint8Array, ranges: Float64Array): number {
    let length = 0;
    for (let i = 1; i < ranges.length; i += 2) length += ranges[i] ?? 0;
    if (length > this.bytes.buffer.length) this.bytes = bytesOf(new ArrayBuffer(Math.ceil(length * 1.25)));
    let at = 0;
    for (let i = 0; i < ranges.length; i += 2) {
      const start = ranges[i] ?? 0;
      const bytes = ranges[i + 1] ?? 0;
      this.bytes.buffer.set(tail.subarray(start, start + bytes), at);
      at += bytes;
    }
    return length;
  }

  #takeRecord(at: number, limit: number): number {
    const { view } = this.bytes;
    if (at + recordHeaderBytes > limit) throw damaged(at, "it is cut off");
    const end = at + view.getUint32(at + recordOffset.length, true);
    const shard = view.getUint16(at + recordOffset.shard, true);
    const position = view.getFloat64(at + recordOffset.position, true);
    if (end <= at || end > limit) throw damaged(at, "its length does not fit", { shard, position });
    const batch = this.#batches.get(shard);
    if (batch === undefined) throw damaged(at, `shard ${shard} is not of this writer`, { shard, position });
    const isFirst = batch.lastPosition === 0;
    const expected = isFirst ? batch.settledPosition + 1 : batch.lastPosition + 1;
    if (isFirst ? !(position >= 1 && position <= expected) : position !== expected) {
      throw damaged(at, `position ${position} comes where ${expected} is due`, { shard, position });
    }
    batch.lastPosition = position;
    switch (view.getUint8(at + recordOffset.kind)) {
      case recordKind.append:
        this.#takeParts(batch, at, end, position);
        break;
      case recordKind.erase:
        if (position > batch.settledPosition) this.#takeErasure(batch, readEraseRecord(this.bytes, at));
        else if (position > batch.namedPosition) batch.unnamedErasures.push(readEraseRecord(this.bytes, at));
        break;
      default:
        throw damaged(at, `its kind ${view.getUint8(at + recordOffset.kind)} is unknown`, {
          shard,
          position,
        });
    }
    return end;
  }

  #takeParts(batch: ShardBatch, recordAt: number, end: number, position: number): void {
    const { view } = this.bytes;
    const parts = view.getUint32(recordAt + recordOffset.parts, true);
    const isUnsettled = position > batch.settledPosition;
    const isUnnamed = position > batch.namedPosition;
    let at = recordAt + recordHeaderBytes;
    for (let i = 0; i < parts; i++) {
      if (at + partHeaderBytes + entryHeaderBytes > end) throw damaged(recordAt, "a part is cut off");
      const length = view.getUint32(at + partOffset.length, true);
      const entryAt = at + view.getUint32(at + partOffset.entry, true);
      const isWhole = at + length <= end && entryAt + entryHeaderBytes <= at + length;
      if (!isWhole || entryAt + view.getUint32(entryAt + entryOffset.length, true) !== at + length) {
        throw damaged(recordAt, "the lengths of a part do not add up", { shard: batch.shard, position });
      }
      const number = view.getFloat64(at + partOffset.number, true);
      const flags = view.getUint32(at + partOffset.flags, true);
      if (batch.erased?.has(number)) {
        // The number stays given out.
        batch.newestNumber = Math.max(batch.newestNumber, number);
        at += length;
        continue;
      }
      const part = this.#addPart(at);
      if ((flags & partFlag.id) !== 0) {
        // Numbers only rise, so a number says better than a position what is named: under durability "os" names may
        // survive a power failure that took the records they came from, and positions are then given out again.
        if (number > batch.newestNumber) {
          batch.newestNumber = number;
          batch.named.push(part);
          if (isUnsettled) batch.minted.push(number);
        } else if (isUnnamed) {
          const why = `the number ${number} of a new entity is not above ${batch.newestNumber}`;
          throw damaged(recordAt, why, { shard: batch.shard, position });
        }
      }
      if (isUnsettled) {
        if ((flags & partFlag.key) !== 0) batch.keyed.push(part);
        const count = view.getUint32(entryAt + entryOffset.count, true);
        if (count > 0)
          this.#link(batch, part, number, view.getFloat64(at + partOffset.firstSeq, true), count);
        const recordedAt = view.getFloat64(entryAt + entryOffset.recordedAt, true);
        batch.lastRecordedAt = Math.max(batch.lastRecordedAt, recordedAt);
      }
      at += length;
    }
    if (at !== end) throw damaged(recordAt, "its parts do not add up", { shard: batch.shard, position });
  }

  #takeErasure(batch: ShardBatch, record: EraseRecord): void {
    batch.erasures.push(record);
    batch.newestNumber = Math.max(batch.newestNumber, record.number);
    batch.lastRecordedAt = Math.max(batch.lastRecordedAt, record.erasedAt);
  }

  #addPart(at: number): number {
    const part = this.#parts++;
    if (part === this.#partAt.length) {
      this.#partAt = enlarged(this.#partAt, new Uint32Array(part * 2));
      this.#partNext = enlarged(this.#partNext, new Int32Array(part * 2));
    }
    this.#partAt[part] = at;
    this.#partNext[part] = none;
    return part;
  }

  /** Adds a part to the chain of its entity. */
  #link(batch: ShardBatch, part: number, number: number, firstSeq: number, count: number): void {
    const slot = this.#find(batch.shard, number);
    let chain = (this.#table[slot] ?? 0) - 1;
    const isNew = chain === none;
    const due = isNew ? this.#recent.dueFor(batch.shard, number) : (this.#chainNextSeq[chain] ?? 0);
    if (due !== firstSeq && due !== 0) {
      const { shard } = batch;
      const what = `shard ${shard}: seq ${firstSeq} of entity ${number} comes where ${due} is due`;
      throw new WarpError("CORRUPT", what, { shard, number, seq: firstSeq });
    }
    if (isNew) {
      chain = this.#addChain(batch.shard, number);
      this.#table[slot] = chain + 1;
      this.#chainHead[chain] = part;
      batch.chains.push(chain);
      if (this.#chains * 2 > this.#table.length) this.#rehash();
    } else {
      this.#partNext[this.#chainTail[chain] ?? 0] = part;
    }
    this.#chainTail[chain] = part;
    this.#chainNextSeq[chain] = firstSeq + count;
  }

  #addChain(shard: number, number: number): number {
    const chain = this.#chains++;
    if (chain === this.#chainNumber.length) {
      this.#chainNumber = enlarged(this.#chainNumber, new Float64Array(chain * 2));
      this.#chainShard = enlarged(this.#chainShard, new Uint16Array(chain * 2));
      this.#chainHead = enlarged(this.#chainHead, new Int32Array(chain * 2));
      this.#chainTail = enlarged(this.#chainTail, new Int32Array(chain * 2));
      this.#chainNextSeq = enlarged(this.#chainNextSeq, new Float64Array(chain * 2));
    }
    this.#chainNumber[chain] = number;
    this.#chainShard[chain] = shard;
    return chain;
  }

  /** The slot of the table that holds the chain of an entity, or the free one where it belongs. */
  #find(shard: number, number: number): number {
    const mask = this.#table.length - 1;
    let slot = (Math.imul(number | 0, 0x9e3779b1) ^ Math.imul(shard + 1, 0x85ebca6b)) >>> 0;
    for (slot = (slot ^ (slot >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const chain = (this.#table[slot] ?? 0) - 1;
      if (chain === none) return slot;
      if (this.#chainNumber[chain] === number && this.#chainShard[chain] === shard) return slot;
    }
  }

  #rehash(): void {
    this.#table = new Int32Array(this.#table.length * 2);
    for (let chain = 0; chain < this.#chains; chain++) {
      const slot = this.#find(this.#chainShard[chain] ?? 0, this.#chainNumber[chain] ?? 0);
      this.#table[slot] = chain + 1;
    }
  }

  /** Chains by number: neighbours in the index are inserted together. */
  #sorted(chains: number[]): number[] {
    if (chains.length < 2 || this.#chains > chainsMax) return chains;
    const order = Float64Array.from(
      chains,
      (chain) => (this.#chainNumber[chain] ?? 0) * chainsMax + chain,
    ).sort();
    return Array.from(order, (key) => key % chainsMax);
  }
}

function enlarged<Values extends Float64Array | Int32Array | Uint16Array | Uint32Array>(
  from: Values,
  to: Values,
): Values {
  to.set(from);
  return to;
}

function damaged(at: number, why: string, details: Readonly<Record<string, unknown>> = {}): WarpError {
  return new WarpError("CORRUPT", `a record at ${at} of a round is damaged: ${why}`, {
    ...details,
    offset: at,
  });
}
