/**
 * The context's feed (core/feed.ts): settled records from the shard's file, the newest from the tail.
 *
 * - Which of both a page comes from is decided by the settled position when the page is read; a page never spans it.
 * - Whoever is at the tip reads memory, at once. Settled pages come from a reader of their own, started when first
 *   needed, so that a replay does not keep loads waiting.
 * - Without followers a turn costs one assignment and one comparison.
 */
import { bytesOf, entryCount, entryLength, entryRecordedAt } from "../../core/entry.ts";
import { idHash } from "../../core/erasure.ts";
import { WarpError } from "../../core/errors.ts";
import {
  erasureTold,
  type FeedPage,
  type FeedSource,
  feedPartBytes,
  feedPartKind,
  type KnownErased,
  readFeedPart,
  writeFeedPart,
} from "../../core/feed.ts";
import {
  partFlag,
  partHeaderBytes,
  partOffset,
  recordHeaderBytes,
  recordKind,
  recordOffset,
} from "../../core/record.ts";
import type { Turn } from "../../journal/journal.ts";
import type { Tail } from "../../journal/tail.ts";
import { shardOf } from "../../shard/placement.ts";
import type { Write } from "../write.ts";
import type { Reading } from "./reading.ts";
import type { ShardState } from "./shard-state.ts";
import { TailRecords } from "./tail-records.ts";

export interface FeedParts {
  readonly incarnation: string;
  readonly idHashKey: Uint8Array;
  readonly shards: readonly ShardState[];
  readonly tails: readonly Tail[];
  /** The newest turn of recovery. */
  readonly lastTurn: number;
  /** Starts a reader. */
  readonly openReading: () => Promise<Reading>;
}

/** Ids of entities that the feed met, over all shards, before the older half of them is forgotten. */
const idsMax = 131_072;

/** A page is tried this often before its entities count as nameless. */
const asksMax = 5;

/** The numbers of a page up to `upTo` whose ids are not known. */
interface Unknown {
  readonly unknown: number[];
  readonly upTo: number;
}

type OnTurn = (turn: Turn<Write>) => void;

export class Feed implements FeedSource {
  readonly shards: number;
  readonly incarnation: string;
  readonly #parts: FeedParts;
  readonly #records: readonly TailRecords[];
  readonly #recovered: readonly number[];
  #reading: Promise<Reading> | undefined;
  #isClosed = false;
  #watchers: readonly OnTurn[] = [];
  #durableTurn = 0;
  /** By shard and number, in two generations. */
  #ids: Map<number, Buffer>[] = [];
  #olderIds: Map<number, Buffer>[] = [];
  #idCount = 0;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.shards = parts.shards.length;
    this.incarnation = parts.incarnation;
    this.#durableTurn = parts.lastTurn;
    this.#recovered = parts.shards.map(({ committedPosition }) => committedPosition);
    this.#records = parts.tails.map(
      (tail, writer) =>
        new TailRecords(
          tail,
          parts.shards.filter((shard) => shard.writer === writer),
        ),
    );
    this.#forgetOlderIds();
  }

  /** Hears of every durable turn, after its callers. */
  turned(turn: Turn<Write>): void {
    this.#durableTurn = turn.id;
    if (this.#watchers.length > 0) for (const watcher of this.#watchers) watcher(turn);
  }

  committed(shard: number): number {
    return this.#shard(shard).committedPosition;
  }

  recovered(shard: number): number {
    return this.#recovered[shard] ?? 0;
  }

  erasedIds(): KnownErased {
    const entries = this.#parts.shards.flatMap(({ erased }) => erased.entries);
    return {
      idHashKey: this.#parts.idHashKey,
      hashes: Float64Array.from(entries, ([hash]) => hash),
      times: Float64Array.from(entries, ([, time]) => time),
    };
  }

  erasedAt(shard: number, entity: string): number | undefined {
    const { erased } = this.#shard(shard);
    return erased.any ? erased.find(entity) : undefined;
  }

  /** The number that an id had which was erased at a time, as its shard's ledger knows it; 0 when that does not. */
  async erasedNumber(shard: number, entity: string, erasedAt: number): Promise<number> {
    const reading = await this.reading();
    const found = await reading.erasure(shard, erasedAt, idHash(this.#parts.idHashKey, entity));
    return found?.number ?? 0;
  }

  /** Rises with every turn that makes something durable. */
  get durableTurn(): number {
    return this.#durableTurn;
  }

  /** Up to here the shard's file has everything. */
  settled(shard: number): number {
    return this.#shard(shard).settledPosition;
  }

  /** The reader that replays use. */
  reading(): Promise<Reading> {
    if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
    this.#reading ??= this.#parts.openReading();
    return this.#reading;
  }

  async read(shard: number, after: number, bytesMax: number): Promise<FeedPage> {
    // What has to be asked for may be settled, or forgotten again, before the page is looked at once more.
    let to = Number.POSITIVE_INFINITY;
    for (let asked = 0; asked < asksMax; asked++) {
      const now = this.readNow(shard, after, bytesMax, to);
      if (now === undefined) return await this.#readSettled(shard, after, bytesMax);
      if (!("unknown" in now)) return now;
      // What comes meanwhile may have unknown ids too: the page stays what it was.
      to = now.upTo;
      await this.#learnIds(shard, now.unknown);
    }
    throw new WarpError("CORRUPT", `shard ${shard}: an entity behind position ${after} has no name`, {
      shard,
    });
  }

  /**
   * The page behind `after` if it is in memory; undefined when it is settled. Numbers whose ids have to be asked for
   * first come back instead.
   */
  readNow(
    shard: number,
    after: number,
    bytesMax: number,
    to = Number.POSITIVE_INFINITY,
  ): FeedPage | Unknown | undefined {
    const state = this.#shard(shard);
    const { committedPosition, settledPosition } = state;
    if (!Number.isSafeInteger(after) || after < 0 || after > committedPosition) {
      const why = `shard ${shard} has no position ${after}: its newest is ${committedPosition}`;
      throw new WarpError("INVALID_ARGUMENT", why, { shard, position: after });
    }
    if (after === committedPosition) return { shard, after, upTo: after, bytes: new Uint8Array(0) };
    if (after < settledPosition) return undefined;
    const records = this.#records[state.writer];
    if (records === undefined) return undefined;
    records.takeIn(this.#durableTurn);
    return this.#tailPage(records, state, after, bytesMax, Math.min(to, committedPosition));
  }

  async positionAt(shard: number, recordedAt: number): Promise<number> {
    const state = this.#shard(shard);
    // Fixed before the reader is asked: what settles meanwhile is looked at here, if it is still in the tail.
    const { settledPosition } = state;
    const reading = await this.reading();
    const settled = await reading.positionAt(shard, recordedAt, settledPosition);
    if (settled < settledPosition) return settled;
    let after = settledPosition;
    for (;;) {
      const page = await this.read(shard, after, 1 << 20);
      const found = positionBehind(page, recordedAt);
      if (found !== undefined) return found;
      if (page.upTo === after) return after;
      after = page.upTo;
    }
  }

  watch(onDurable: () => void): () => void {
    return this.watchTurns(() => onDurable());
  }

  /** As {@link watch}, with the turn. */
  watchTurns(onTurn: OnTurn): () => void {
    this.#watchers = [...this.#watchers, onTurn];
    return () => {
      this.#watchers = this.#watchers.filter((one) => one !== onTurn);
    };
  }

  /** Wipes what is kept of entities that are erased, here and in the reader of replays. */
  forget(shard: number, numbers: readonly number[]): void {
    for (const ids of [this.#ids, this.#olderIds]) for (const number of numbers) ids[shard]?.delete(number);
    void this.#reading?.then((reading) => reading.forget(shard, numbers));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await (await this.#reading)?.close();
  }

  #shard(shard: number): ShardState {
    const state = this.#parts.shards[shard];
    if (state !== undefined) return state;
    throw new WarpError("INVALID_ARGUMENT", `there is no shard ${shard}`, { shard });
  }

  async #readSettled(shard: number, after: number, bytesMax: number): Promise<FeedPage> {
    const to = this.#shard(shard).settledPosition;
    const reading = await this.reading();
    const { upTo, bytes } = await reading.feed({ shard, after, to, bytesMax });
    return { shard, after, upTo, bytes };
  }

  /** Asks for the ids of numbers. One that is not in names.db yet stands in the tail, in the part that made it. */
  async #learnIds(shard: number, numbers: number[]): Promise<void> {
    const reading = await this.reading();
    const ids = await reading.ids(shard, Float64Array.from(numbers));
    for (const [i, number] of numbers.entries()) {
      const id = ids[i];
      if (id !== undefined && id !== "") this.#rememberId(shard, number, Buffer.from(id, "utf8"));
    }
    if (ids.includes("")) this.#learnFromTail(this.#shard(shard));
  }

  #learnFromTail(shard: ShardState): void {
    const records = this.#records[shard.writer];
    if (records === undefined) return;
    records.takeIn(this.#durableTurn);
    const { bytes } = records.tail;
    for (let position = shard.settledPosition + 1; position <= shard.committedPosition; position++) {
      for (const part of partsOf(bytes, records.offsetOf(shard.index, position))) {
        this.#learnFromPart(bytes, shard.index, part);
      }
    }
  }

  #idOf(shard: number, number: number): Buffer | undefined {
    const known = this.#ids[shard]?.get(number);
    if (known !== undefined) return known;
    const older = this.#olderIds[shard]?.get(number);
    if (older !== undefined) this.#rememberId(shard, number, older);
    return older;
  }

  #rememberId(shard: number, number: number, id: Buffer): void {
    this.#ids[shard]?.set(number, id);
    if (++this.#idCount > idsMax / 2) this.#forgetOlderIds();
  }

  #forgetOlderIds(): void {
    this.#olderIds = this.#ids;
    this.#ids = this.#parts.shards.map(() => new Map());
    this.#idCount = 0;
  }

  /** Records from the tail: measured first, then copied. */
  #tailPage(
    records: TailRecords,
    shard: ShardState,
    after: number,
    bytesMax: number,
    last: number,
  ): FeedPage | Unknown {
    const { bytes: tail } = records.tail;
    const { index } = shard;
    const unknown: number[] = [];
    const ids: Buffer[] = [];
    let upTo = after;
    let bytes = 0;
    while (upTo < last && (bytes < bytesMax || upTo === after)) {
      upTo++;
      for (const part of partsOf(tail, records.offsetOf(index, upTo))) {
        const id = this.#idOf(index, part.number) ?? this.#learnFromPart(tail, index, part);
        if (part.entryBytes < 0) continue;
        if (id === undefined) unknown.push(part.number);
        ids.push(id ?? nothing);
        const isErasure = part.kind === feedPartKind.erased;
        const told = isErasure ? erasureTold(id ?? nothing, this.#isHome(index)).id : id;
        bytes += feedPartBytes(told?.length ?? 0, part.entryBytes);
      }
    }
    if (unknown.length > 0) return { unknown, upTo };
    const memory = new ArrayBuffer(bytes);
    const out = bytesOf(memory);
    let to = 0;
    let next = 0;
    for (let position = after + 1; position <= upTo; position++) {
      for (const { at, number, kind, entryAt, entryBytes } of partsOf(
        tail,
        records.offsetOf(index, position),
      )) {
        if (entryBytes < 0) continue;
        const isErasure = kind === feedPartKind.erased;
        const firstSeq = isErasure ? 0 : tail.view.getFloat64(at + partOffset.firstSeq, true);
        const name = ids[next++] ?? nothing;
        const told = isErasure ? erasureTold(name, this.#isHome(index)) : { kind, id: name };
        to = writeFeedPart(out, to, { kind: told.kind, number, firstSeq, position }, told.id, entryBytes);
        tail.buffer.copy(out.buffer, to, entryAt, entryAt + entryBytes);
        to += entryBytes;
      }
    }
    return { shard: index, after, upTo, bytes: new Uint8Array(memory) };
  }

  #isHome(shard: number): (id: string) => boolean {
    return (id) => shardOf(id, this.shards) === shard;
  }

  /** The part that makes an entity, or erases it, carries its id. */
  #learnFromPart({ buffer, view }: Tail["bytes"], shard: number, part: TailPart): Buffer | undefined {
    if ((view.getUint32(part.at + partOffset.flags, true) & partFlag.id) === 0) return undefined;
    const from = part.at + partHeaderBytes + 2;
    const id = Buffer.from(buffer.subarray(from, from + view.getUint16(from - 2, true)));
    if (part.kind === feedPartKind.events) this.#rememberId(shard, part.number, id);
    return id;
  }
}

const nothing = Buffer.alloc(0);

/** A part of a record in the tail. */
interface TailPart {
  readonly at: number;
  readonly kind: number;
  readonly number: number;
  readonly entryAt: number;
  /** 0 for an erasure, -1 when the part is none of the feed's: a rejection that is remembered has no events. */
  readonly entryBytes: number;
}

function partsOf(bytes: Tail["bytes"], recordAt: number): TailPart[] {
  const { view } = bytes;
  const parts: TailPart[] = [];
  const recordedAs = view.getUint8(recordAt + recordOffset.kind);
  const isErasure = recordedAs === recordKind.erase;
  if (recordedAs !== recordKind.append && !isErasure) return parts;
  const kind = isErasure ? feedPartKind.erased : feedPartKind.events;
  let at = recordAt + recordHeaderBytes;
  for (let left = view.getUint32(recordAt + recordOffset.parts, true); left > 0; left--) {
    const number = view.getFloat64(at + partOffset.number, true);
    const entryAt = at + view.getUint32(at + partOffset.entry, true);
    const hasEvents = !isErasure && entryCount(bytes, entryAt) > 0;
    const entryBytes = isErasure ? 0 : hasEvents ? entryLength(bytes, entryAt) : -1;
    parts.push({ at, kind, number, entryAt, entryBytes });
    at += view.getUint32(at + partOffset.length, true);
  }
  return parts;
}

/** The position before the first part of a page that was recorded at a time or later, if there is one. */
function positionBehind({ bytes, after }: FeedPage, time: number): number | undefined {
  const page = bytesOf(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  let before = after;
  for (let at = 0; at < bytes.length; ) {
    const part = readFeedPart(page, at);
    if (part.kind === feedPartKind.events && entryRecordedAt(page, part.entryAt) >= time) return before;
    before = part.position;
    at += part.length;
  }
  return undefined;
}
