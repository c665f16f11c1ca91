/**
 * One subscription's place in the feed: a position per shard, behind or live.
 *
 * - Behind, it reads pages of its own, one at a time, while its sink has room. Live, the hub hands it chunks.
 * - A chunk that the sink has no room for is not kept: the follower falls behind, and reads it again when there is room.
 * - What the sink has been handed and what the positions say never differ.
 */
import { encodeCursor, type Positions } from "../core/cursor.ts";
import { toWarpError, type WarpError } from "../core/errors.ts";
import type { FeedPage } from "../core/feed.ts";
import { limits } from "../core/limits.ts";
import { type Chunk, chunksOf } from "./chunk.ts";
import { EntityReplay } from "./entity-replay.ts";
import type { Filter } from "./filter.ts";
import type { Hub } from "./hub.ts";
import type { ReadChunks } from "./recent-chunks.ts";
import { type From, positionsFrom } from "./start.ts";

/** Who reads a subscription. Its methods neither throw nor wait. */
export interface Sink {
  /** Room for another chunk. */
  readonly hasRoom: boolean;
  /** Room for the little that is missing before it is live, which comes at once; that for a chunk when absent. */
  readonly hasRoomToGoLive?: boolean;
  /** It is known where to begin; everything else comes after this. */
  started?(cursor: string): void;
  chunk(chunk: Chunk, cursor: string): void;
  /** Everything that is durable by now has been handed over. Said whenever the follower goes live. */
  caughtUp(cursor: string): void;
  /** Much was read that the filter does not let through: the cursor has moved. */
  moved(cursor: string): void;
  /** Nothing that waits of these numbers of a shard, or is said of them, may be handed on: they are erased. */
  withdraw?(shard: number, numbers: ReadonlySet<number>): void;
  /** Nothing follows; without an error when the subscription was closed. */
  ended(error: WarpError | undefined): void;
}

/** A follower of several shards that is behind by no more than this takes what is missing at once. */
const gapRecordsMax = 4096;

const nobody: ReadonlySet<number> = new Set();

type Phase = "starting" | "behind" | "reading" | "live" | "ended";

export class Follower {
  readonly filter: Filter;
  readonly #hub: Hub;
  readonly #sink: Sink;
  /** By shard; undefined for shards that the filter is not about. While live, those of the hub count. */
  #positions: (number | undefined)[] = [];
  #phase: Phase = "starting";
  /** How often it began to read: of two it is the later one that goes on. */
  #reads = 0;
  #replay: EntityReplay | undefined;
  /** That of the one entity that it follows, as far as it has met it or the ledger knows it. */
  #number = 0;
  /** True while it may have been handed events of that entity in an earlier life, and has met none in this one. */
  #isResumed = false;
  /** The erasure whose entry in the ledger told the number, by its time. */
  #erasedAt = 0;
  /** The page that is being read, or was last. */
  #page: Promise<void> = Promise.resolve();
  /** Who was erased in its shard meanwhile: it may have been read before. */
  #erased: { readonly shard: number; readonly numbers: Set<number> } | undefined;
  /** Pages that were read while little was missing. */
  #nearPages = 0;
  /** Where to look first for something to read. */
  #turn = 0;
  #toldAt = 0;

  /** Use `Hub.follow`. */
  constructor(hub: Hub, filter: Filter, from: From, sink: Sink) {
    this.#hub = hub;
    this.filter = filter;
    this.#sink = sink;
    positionsFrom(hub.feed, filter, from).then(
      (positions) => this.#begin(positions),
      (thrown) => this.end(toWarpError(thrown, "IO_ERROR")),
    );
  }

  get isLive(): boolean {
    return this.#phase === "live";
  }

  get cursor(): string {
    return encodeCursor(this.#hub.feed.incarnation, this.positions);
  }

  get positions(): Positions {
    if (this.#phase !== "live") return this.#positions;
    return this.#positions.map((own, shard) => (own === undefined ? undefined : this.#hub.positionOf(shard)));
  }

  /** Its sink has room again. */
  wake(): void {
    if (this.#phase !== "behind") return;
    this.#phase = "reading";
    const read = ++this.#reads;
    this.#read(read).then(
      () => {
        if (read !== this.#reads) return;
        if (this.#phase === "reading") this.#phase = "behind";
        // Room that came while the last page was read was not heard of.
        if (this.#phase === "behind" && this.#sink.hasRoom) this.wake();
      },
      (thrown) => this.end(toWarpError(thrown, "IO_ERROR")),
    );
  }

  /** Nothing is handed over any more. */
  end(error?: WarpError): void {
    if (this.#phase === "ended") return;
    if (this.#phase === "live") {
      this.#positions = [...this.positions];
      this.#hub.leave(this);
    }
    this.#phase = "ended";
    this.#hub.forget(this);
    this.#sink.ended(error);
  }

  /** Resolves when the page that is being read by now has been handed over. */
  async quiet(): Promise<void> {
    // A failure is that of who reads.
    await this.#page.catch(() => {});
  }

  /** From the hub: nothing that was read of these before they were erased is handed over any more. */
  withdraw(shard: number, numbers: ReadonlySet<number>): void {
    if (this.#erased?.shard === shard) for (const number of numbers) this.#erased.numbers.add(number);
    this.#sink.withdraw?.(shard, numbers);
  }

  /** From the hub, while live. Before it the follower is complete up to `chunk.after` in that shard. */
  deliver(chunk: Chunk): void {
    if (this.#phase !== "live") return;
    if (this.#sink.hasRoom) this.#hand(chunk);
    else this.fallBehind(chunk.shard, chunk.after);
  }

  /** What is behind this position it reads by itself, when it is woken. */
  fallBehind(shard: number, after: number): void {
    if (this.#phase !== "live") return;
    this.#positions = [...this.positions];
    this.#positions[shard] = after;
    this.#hub.leave(this);
    this.#phase = "behind";
  }

  /** From the hub, while live: the positions have moved for a while and nothing was handed over. */
  tellMoved(now: number): void {
    if (now - this.#toldAt < limits.followMarkMs) return;
    this.#toldAt = now;
    this.#sink.moved(this.cursor);
  }

  #hand(chunk: Chunk): void {
    if (this.filter.entity !== undefined) {
      this.#number = chunk.numbers[0] ?? 0;
      this.#isResumed = false;
    }
    this.#toldAt = performance.now();
    this.#sink.chunk(chunk, chunk.cursor(this.#hub.feed.incarnation, this.positions));
  }

  #begin(positions: Positions): void {
    if (this.#phase !== "starting") return;
    this.#positions = [...positions];
    this.#isResumed = this.filter.entity !== undefined && positions.some((position) => (position ?? 0) > 0);
    this.#phase = "behind";
    this.#sink.started?.(this.cursor);
    if (this.#sink.hasRoom) this.wake();
  }

  async #read(read: number): Promise<void> {
    while (this.#phase === "reading" && read === this.#reads && this.#sink.hasRoom) {
      const shard = this.#nextShard();
      const hasAll = shard === undefined || this.#closeGap();
      if (hasAll) {
        if (await this.#goLive()) return;
        continue;
      }
      const erased = new Set<number>();
      this.#erased = { shard, numbers: erased };
      this.#page = this.#readPage(shard, erased);
      await this.#page;
      this.#erased = undefined;
    }
  }

  /**
   * Hands over the little that is missing of all shards at once, so that nothing becomes durable meanwhile, when every shard
   * has been read and the first has more again by the time of the last. False before that, when it is not little, not in memory,
   * or there is no room for it.
   */
  #closeGap(): boolean {
    const { shards } = this.filter;
    const hub = this.#hub;
    let records = 0;
    for (const shard of shards) records += hub.targetOf(shard) - (this.#positions[shard] ?? 0);
    this.#nearPages = records > gapRecordsMax ? 0 : this.#nearPages + 1;
    if (this.#nearPages <= shards.length) return false;
    const startedAt = performance.now();
    let bytes = 0;
    for (const shard of shards) {
      for (let after = this.#positions[shard] ?? 0; after < hub.targetOf(shard); ) {
        if (bytes >= limits.followPageBytes || !(this.#sink.hasRoomToGoLive ?? this.#sink.hasRoom))
          return false;
        const page = hub.feed.readNow(shard, after, limits.followPageBytes - bytes);
        if (page === undefined || "unknown" in page) return false;
        this.#take(shard, page.upTo, chunksOf(page, this.filter, this.#number));
        after = page.upTo;
        bytes += page.bytes.length;
      }
    }
    void hub.pace.spent(startedAt);
    return true;
  }

  /** A shard of which those who are live have more; they take turns. */
  #nextShard(): number | undefined {
    const { shards } = this.filter;
    for (let i = 0; i < shards.length; i++) {
      const at = (this.#turn + i) % shards.length;
      const shard = shards[at] ?? 0;
      if (this.#hub.targetOf(shard) <= (this.#positions[shard] ?? 0)) continue;
      this.#turn = at + 1;
      return shard;
    }
    return undefined;
  }

  async #goLive(): Promise<boolean> {
    // It was ended by what it was handed last.
    if (this.#phase !== "reading") return true;
    if (!this.#hub.join(this)) {
      await this.#hub.quiet();
      return false;
    }
    this.#phase = "live";
    this.#nearPages = 0;
    this.#toldAt = performance.now();
    this.#sink.caughtUp(this.cursor);
    return true;
  }

  async #readPage(shard: number, erased: ReadonlySet<number>): Promise<void> {
    const after = this.#positions[shard] ?? 0;
    const replay = await this.#entityReplay(shard, after);
    if (replay !== undefined) {
      const { chunks, upTo } = await replay.next(after);
      this.#take(shard, upTo, chunks, erased);
      return;
    }
    const { feed, recent, pace } = this.#hub;
    await this.#learnNumber(shard);
    const { forgotten } = recent;
    let page: FeedPage | ReadChunks | undefined = recent.find(this.filter, this.#number, shard, after);
    if (page === undefined) {
      page = await feed.read(shard, after, limits.followPageBytes);
      // An erasure that had lost its id by then is in the ledger by now.
      await this.#learnNumber(shard);
    }
    const own = page;
    await pace.run(() => {
      // Meanwhile others may have filled the room that there was.
      if (this.#phase !== "reading" || !this.#sink.hasRoom) return;
      const shared = "chunks" in own ? own : recent.find(this.filter, this.#number, shard, after);
      const read = shared ?? { ...own, chunks: chunksOf(own as FeedPage, this.filter, this.#number) };
      if (shared === undefined) recent.add(this.filter, this.#number, read, forgotten);
      this.#take(shard, read.upTo, read.chunks, erased);
    });
  }

  /** An erasure that is complete has a number and no id: of an entity that was not met in this life the ledger knows it. */
  async #learnNumber(shard: number): Promise<void> {
    const { entity } = this.filter;
    if (entity === undefined || !this.#isResumed) return;
    const { feed } = this.#hub;
    const erasedAt = feed.erasedAt(shard, entity);
    if (erasedAt === undefined || erasedAt === this.#erasedAt) return;
    const number = await feed.erasedNumber(shard, entity, erasedAt);
    if (number === 0) return;
    this.#number = number;
    this.#erasedAt = erasedAt;
  }

  /** Far behind with a single entity, its own history is read. */
  async #entityReplay(shard: number, after: number): Promise<EntityReplay | undefined> {
    const { entity } = this.filter;
    if (entity === undefined) return undefined;
    const to = this.#hub.feed.settled(shard);
    if (this.#replay !== undefined && after < this.#replay.to) return this.#replay;
    this.#replay = undefined;
    if (to - after < limits.followHistoryFrom) return undefined;
    // A history does not tell of an erasure that the reader has to hear of.
    if (after > 0 && this.#hub.feed.erasedAt(shard, entity) !== undefined) return undefined;
    this.#replay = new EntityReplay(await this.#hub.feed.reading(), this.filter, entity, shard, to);
    return this.#replay;
  }

  #take(shard: number, upTo: number, chunks: readonly Chunk[], erased: ReadonlySet<number> = nobody): void {
    if (this.#phase !== "reading") return;
    for (const read of chunks) {
      const chunk = read.without(erased);
      if (chunk === undefined) continue;
      this.#positions[shard] = chunk.upTo;
      this.#hand(chunk);
      if (this.#phase !== "reading") return;
    }
    this.#positions[shard] = upTo;
    if (chunks.length === 0) this.tellMoved(performance.now());
  }
}
