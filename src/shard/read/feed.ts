/**
 * The settled part of a shard's feed: rows in the order of arrival, their entries merged by position.
 *
 * - Rows of one batch are sorted by entity, and batches follow each other; so a batch is opened whole, and merged.
 * - Of what retention dropped a place is left for each type, where the newest of that type stood.
 * - Of what was erased the erasure is left, with the id until every follower that keeps something has passed it.
 * - Names are read beside the transaction on runs.db. One that is not there may have gone since that began: with an erasure that it
 *   does not show yet. Then the page is read once more.
 * - A page ends at a record's end. What is left of batches that were opened for it is kept for the page behind it, within
 *   `limits.feedCacheBytes`, and only as long as nothing was written to the file: something may have been erased.
 */
import {
  type Bytes,
  bytesOf,
  entryCount,
  entryLength,
  entryPosition,
  entryRecordedAt,
} from "../../core/entry.ts";
import { aboutDropped, type LastDropped } from "../../core/dropped.ts";
import { WarpError } from "../../core/errors.ts";
import { erasureTold, feedPartBytes, feedPartKind, writeFeedPart } from "../../core/feed.ts";
import { limits } from "../../core/limits.ts";
import type { ArrivedRow } from "../files/runs.ts";
import type { FeedResult, ReadRequest } from "../messages.ts";
import { shardOf } from "../placement.ts";
import { droppedOf } from "./retention.ts";
import { damaged, openRun, type ShardView } from "./view.ts";

type Request<Op extends ReadRequest["op"]> = Extract<ReadRequest, { op: Op }>;

/** Records that were opened, in the order of positions. */
interface Opened {
  readonly shard: number;
  /** The file's version that they were read at. */
  readonly version: number;
  /** Everything behind `after`, up to and including `upTo`, is here. */
  readonly after: number;
  readonly upTo: number;
  readonly bytes: Bytes;
  /** By place in the order: kind of the part, position, number, seq, and where in `bytes` its entry is, or what stands for it. */
  readonly kind: Uint8Array;
  readonly position: Float64Array;
  readonly number: Float64Array;
  readonly seq: Float64Array;
  readonly at: Float64Array;
  readonly length: Float64Array;
}

/** Ids are looked up again and again; this many are remembered per shard. */
const idsMax = 16_384;

export class SettledFeed {
  /** Oldest use first. */
  #opened: Opened[] = [];
  readonly #ids = new Map<number, Map<number, Uint8Array>>();
  /** Shards that there are. */
  readonly #shards: number;

  constructor(shards: number) {
    this.#shards = shards;
  }

  read(view: ShardView, request: Request<"feed">): FeedResult {
    for (;;) {
      const page = view.runs.view(() => this.#readNow(view, request));
      if (page.op === "feed") return page;
      const { number, seq } = page;
      // Whoever is erased by now has no events in the next transaction, so each of them is met here once at most.
      if (view.runs.erasures.find(number) === undefined) throw damaged(view, number, seq, "it has no name");
    }
  }

  /** The position behind which everything settled up to `to` was recorded at `time` or later. */
  positionAt(view: ShardView, { time, to }: Request<"positionAt">): number {
    return view.runs.view(() => behindDropped(view, positionAt(view, time, to), time, to));
  }

  /** The ids of numbers; an empty one where there is none. */
  idsOf(view: ShardView, numbers: Float64Array): string[] {
    return Array.from(numbers, (number) => Buffer.from(this.#idOf(view, number) ?? []).toString("utf8"));
  }

  /** Wipes what is kept of a shard. */
  forget(shard: number): void {
    for (const { shard: of, bytes } of this.#opened) if (of === shard) bytes.buffer.fill(0);
    this.#opened = this.#opened.filter((one) => one.shard !== shard);
    this.#ids.delete(shard);
  }

  #readNow(view: ShardView, { after, to, bytesMax }: Request<"feed">): FeedResult | Nameless {
    const opened = this.#find(view, after, to) ?? openBatches(view, after, to, bytesMax);
    const page = this.#page(view, opened, after, to, bytesMax);
    if (page.op === "feed") this.#keep(opened, page.upTo < Math.min(opened.upTo, to));
    return page;
  }

  #find(view: ShardView, after: number, to: number): Opened | undefined {
    const version = view.runs.version;
    this.#opened = this.#opened.filter((one) => one.shard !== view.shard || one.version === version);
    return this.#opened.find(
      (one) => one.shard === view.shard && one.after <= after && after < Math.min(one.upTo, to),
    );
  }

  /** Keeps what a later page needs, newest last. */
  #keep(opened: Opened, isNeeded: boolean): void {
    const others = this.#opened.filter((one) => one !== opened);
    if (isNeeded) others.push(opened);
    let bytes = 0;
    for (const one of others) bytes += one.bytes.buffer.length;
    while (others.length > 1 && bytes > limits.feedCacheBytes)
      bytes -= others.shift()?.bytes.buffer.length ?? 0;
    this.#opened = others;
  }

  #page(view: ShardView, opened: Opened, after: number, to: number, bytesMax: number): FeedResult | Nameless {
    const { position, number } = opened;
    const first = firstAbove(position, after);
    const ids: Told[] = [];
    let bytes = 0;
    let end = first;
    for (; end < position.length && (position[end] ?? 0) <= to; end++) {
      const isNewRecord = end > first && position[end] !== position[end - 1];
      if (isNewRecord && bytes >= bytesMax) break;
      const name = this.#idOf(view, number[end] ?? 0);
      if (name === undefined) return { op: "nameless", number: number[end] ?? 0, seq: opened.seq[end] ?? 0 };
      const kind = opened.kind[end] ?? 0;
      const told =
        kind === feedPartKind.erased
          ? erasureTold(Buffer.from(name), (id) => shardOf(id, this.#shards) === view.shard)
          : { kind, id: name };
      ids.push(told);
      bytes += feedPartBytes(told.id.length, opened.length[end] ?? 0);
    }
    const isCut = end < position.length && (position[end] ?? 0) <= to;
    const upTo = isCut ? (position[end] ?? 0) - 1 : Math.min(opened.upTo, to);
    return { op: "feed", upTo, bytes: writeParts(opened, first, ids, bytes) };
  }

  #idOf(view: ShardView, number: number): Uint8Array | undefined {
    let ids = this.#ids.get(view.shard);
    if (ids === undefined || ids.size >= idsMax) {
      ids = new Map();
      this.#ids.set(view.shard, ids);
    }
    const known = ids.get(number);
    if (known !== undefined) return known;
    const id = view.names.idOf(number);
    if (id !== undefined) {
      ids.set(number, id);
      return id;
    }
    const erasing = view.names.erasing(number);
    if (erasing !== undefined) return erasing;
    return view.runs.erasures.find(number) === undefined ? undefined : nothing;
  }
}

/** In the place of a page: an entity in it has no name, and its transaction shows no erasure of it. */
type Nameless = { readonly op: "nameless" } & Pick<Entry, "number" | "seq">;

/** As what, and under which id, a part comes. */
interface Told {
  readonly kind: number;
  readonly id: Uint8Array;
}

function writeParts(opened: Opened, first: number, ids: readonly Told[], length: number): Uint8Array {
  const memory = new ArrayBuffer(length);
  const out = bytesOf(memory);
  let to = 0;
  for (const [i, { kind, id }] of ids.entries()) {
    const from = opened.at[first + i] ?? 0;
    const entryBytes = opened.length[first + i] ?? 0;
    const head = {
      kind,
      number: opened.number[first + i] ?? 0,
      firstSeq: opened.seq[first + i] ?? 0,
      position: opened.position[first + i] ?? 0,
    };
    to = writeFeedPart(out, to, head, id, entryBytes);
    opened.bytes.buffer.copy(out.buffer, to, from, from + entryBytes);
    to += entryBytes;
  }
  return new Uint8Array(memory);
}

const nothing = new Uint8Array(0);

/** A part of the feed to be, its content at a place of the opened bytes. */
interface Entry {
  readonly kind: number;
  readonly number: number;
  readonly seq: number;
  readonly at: number;
  readonly length: number;
  readonly position: number;
}

/** Places of dropped events that are opened at once, at least. */
const placesAtOnce = 4096;

/** Opens whole batches behind `after` and up to `to`, until they hold `bytesMax` bytes. What was dropped may cut it short. */
function openBatches(view: ShardView, after: number, to: number, bytesMax: number): Opened {
  return openWith(view, after, to, bytesMax, droppedBetween);
}

function openWith(
  view: ShardView,
  after: number,
  to: number,
  bytesMax: number,
  dropped: typeof droppedBetween,
): Opened {
  const rows: (ArrivedRow & { readonly body: Uint8Array })[] = [];
  let bytes = 0;
  let upTo = to;
  let batch = 0;
  const erased = new Set(view.runs.erasures.withRows);
  for (const row of view.runs.arrivedBehind(after)) {
    if (row.batch > to) break;
    if (row.batch !== batch && bytes >= bytesMax) {
      upTo = batch;
      break;
    }
    batch = row.batch;
    // The rows of an erased entity are about to go; whether this reader still has its key or not.
    const body = erased.has(row.number) ? undefined : openedUnlessErased(view, row);
    if (body === undefined) continue;
    bytes += body.length;
    rows.push({ ...row, body });
  }
  const gaps = dropped(view, after, upTo, erased);
  upTo = gaps.upTo;
  for (const { content } of gaps.found) bytes += content.length;
  const joined = Buffer.allocUnsafeSlow(bytes);
  const entries: Entry[] = [];
  const all = bytesOf(joined.buffer, joined.byteOffset, bytes);
  let end = 0;
  for (const { number, seq: firstSeq, body } of rows) {
    joined.set(body, end);
    let seq = firstSeq;
    for (const runEnd = end + body.length; end < runEnd; ) {
      const position = entryPosition(all, end);
      const length = entryLength(all, end);
      const isBetween = position > after && position <= upTo;
      if (isBetween) entries.push({ kind: feedPartKind.events, number, seq, at: end, length, position });
      seq += entryCount(all, end);
      end += length;
    }
  }
  for (const { number, seq, position, content } of gaps.found) {
    entries.push({ kind: feedPartKind.dropped, number, seq, at: end, length: content.length, position });
    joined.set(content, end);
    end += content.length;
  }
  for (const { number, position } of view.runs.erasures.between(after, upTo)) {
    entries.push({ kind: feedPartKind.erased, number, seq: 0, at: 0, length: 0, position });
  }
  // What was dropped of a record comes before what is left of it.
  entries.sort((a, b) => a.position - b.position || b.kind - a.kind || a.number - b.number);
  return {
    shard: view.shard,
    version: view.runs.version,
    after,
    upTo,
    bytes: all,
    kind: Uint8Array.from(entries, (entry) => entry.kind),
    position: Float64Array.from(entries, (entry) => entry.position),
    number: Float64Array.from(entries, (entry) => entry.number),
    seq: Float64Array.from(entries, (entry) => entry.seq),
    at: Float64Array.from(entries, (entry) => entry.at),
    length: Float64Array.from(entries, (entry) => entry.length),
  };
}

interface DroppedPlace {
  readonly number: number;
  /** Of the last event that is gone. */
  readonly seq: number;
  readonly position: number;
  /** JSON of each type's newest. */
  readonly content: Buffer;
}

const noneDropped: typeof droppedBetween = (_view, _after, to) => ({ found: [], upTo: to });

/** Where events were dropped behind `after`, and what is said of it, up to where that is all. */
function droppedBetween(
  view: ShardView,
  after: number,
  to: number,
  erased: ReadonlySet<number>,
): { readonly found: readonly DroppedPlace[]; readonly upTo: number } {
  const places = view.runs.bases.placesBetween(after, to, placesAtOnce);
  const found: DroppedPlace[] = [];
  for (const { number, position } of places) {
    const dropped = erased.has(number) ? undefined : unlessErased(() => droppedOf(view, number));
    if (dropped === undefined) continue;
    const content = Buffer.from(JSON.stringify(aboutDropped(dropped).last ?? []));
    found.push({ number, seq: dropped.seq, position, content });
  }
  const isAll = places.length < placesAtOnce;
  return { found, upTo: isAll ? to : (places.at(-1)?.position ?? to) };
}

function openedUnlessErased(view: ShardView, row: ArrivedRow): Uint8Array | undefined {
  return unlessErased(() => openRun(view, row.number, row));
}

/** Undefined when an entity's key has just been destroyed, before its rows were marked: the erasure follows. */
function unlessErased<Result>(open: () => Result): Result | undefined {
  try {
    return open();
  } catch (thrown) {
    if (thrown instanceof WarpError && thrown.code === "ERASED") return undefined;
    throw thrown;
  }
}

/** The first place whose value is above `value`; values rise. */
function firstAbove(values: Float64Array, value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Times rise with positions, and so from batch to batch. A row says in which direction to look from its batch; where that
 * changes between two neighbours, the place is in one of their batches.
 */
function positionAt(view: ShardView, time: number, to: number): number {
  let low: ArrivedRow | undefined;
  let high: ArrivedRow | undefined;
  const ids = view.runs.arrivals();
  while (ids.first < ids.end) {
    const middle = Math.floor((ids.first + ids.end) / 2);
    let row = view.runs.arrivedFrom(middle);
    let recordedAt = row === undefined ? undefined : firstRecordedAt(view, row);
    while (row !== undefined && recordedAt === undefined) {
      row = view.runs.arrivedFrom(row.id + 1);
      recordedAt = row === undefined ? undefined : firstRecordedAt(view, row);
    }
    if (row === undefined || recordedAt === undefined || row.id >= ids.end) {
      ids.end = middle;
    } else if (row.batch > to || recordedAt >= time) {
      high = row;
      ids.end = middle;
    } else {
      low = row;
      ids.first = row.id + 1;
    }
  }
  let position = 0;
  for (const batch of new Set([low?.batch, high?.batch])) {
    if (batch === undefined || batch > to) continue;
    const before = view.runs.batchBefore(batch);
    const opened = openWith(view, before, batch, Number.POSITIVE_INFINITY, noneDropped);
    for (const [i, at] of opened.at.entries()) {
      const isEvents = opened.kind[i] === feedPartKind.events;
      if (isEvents && entryRecordedAt(opened.bytes, at) >= time) return position;
      position = opened.position[i] ?? position;
    }
    position = batch;
  }
  return to;
}

/** Moves a position on over events that were dropped, as far as they were recorded before `time`. */
function behindDropped(view: ShardView, from: number, time: number, to: number): number {
  const erased = new Set(view.runs.erasures.withRows);
  let position = from;
  for (let after = from; ; ) {
    const { found, upTo } = droppedBetween(view, after, to, erased);
    for (const gap of found) {
      const last = JSON.parse(gap.content.toString("utf8")) as LastDropped[];
      const recordedAt = last.find(([, at]) => at === gap.position)?.[2] ?? time;
      if (recordedAt >= time) return position;
      position = gap.position;
    }
    if (upTo >= to) return position;
    after = upTo;
  }
}

/** Undefined for a run of an erased entity. */
function firstRecordedAt(view: ShardView, row: ArrivedRow): number | undefined {
  const body = openedUnlessErased(view, row);
  if (body === undefined) return undefined;
  const { buffer, byteOffset, length } = body;
  return entryRecordedAt(bytesOf(buffer, byteOffset, length), 0);
}
