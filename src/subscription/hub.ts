/**
 * All subscriptions of a context, and what those that are live share.
 *
 * - A *pump* per shard that somebody live is about walks each durable page once and gives every part to the channels
 *   that want it. A *channel* is all live followers of one filter: a page is decoded for it once.
 * - Every live follower is complete up to the pumps' positions, so it needs none of its own.
 * - Passes are paced by what they cost, so that followers never take more than a part of the main thread.
 */
import type { Folding } from "../actor/folding.ts";
import type { Feed } from "../actor/storage/feed.ts";
import { type Bytes, bytesOf } from "../core/entry.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import { type FeedPage, type FeedPart, feedPartKind, readFeedPart } from "../core/feed.ts";
import { limits } from "../core/limits.ts";
import { chunksOfParts, pageBytes } from "./chunk.ts";
import { Filter, type FilterQuery } from "./filter.ts";
import { Follower, type Sink } from "./follower.ts";
import { Pace } from "./pace.ts";
import { Pump } from "./pump.ts";
import { RecentChunks } from "./recent-chunks.ts";
import type { From } from "./start.ts";

export interface FollowQuery extends FilterQuery {
  /** A cursor, `"start"` (the default), `"end"`, or a time of recording. */
  readonly from?: From | undefined;
}

/** Live followers of one filter. */
export class Channel {
  readonly filter: Filter;
  readonly members = new Set<Follower>();
  /** Parts of the page under way that it wants. */
  parts: FeedPart[] = [];

  constructor(filter: Filter) {
    this.filter = filter;
  }
}

const nobody: ReadonlySet<number> = new Set();

export interface HubCounters {
  readonly followers: number;
  readonly live: number;
}

export class Hub {
  readonly feed: Feed;
  readonly #folding: Folding;
  readonly #followers = new Set<Follower>();
  readonly #channels = new Map<string, Channel>();
  readonly #pumps = new Map<number, Pump>();
  #unwatch: (() => void) | undefined;
  #live = 0;
  readonly pace: Pace;
  readonly recent = new RecentChunks();
  #isScheduled = false;
  #markedAt = 0;
  #refusal: WarpError | undefined;
  /** Pumps whose page has to be read from the disk. */
  #reading = new Set<Promise<void>>();

  constructor(feed: Feed, folding: Folding) {
    this.feed = feed;
    this.#folding = folding;
    this.pace = new Pace(
      () => feed.durableTurn,
      () => this.#followers.size,
    );
  }

  get counters(): HubCounters {
    return { followers: this.#followers.size, live: this.#live };
  }

  /**
   * Follows what the query is about; the sink hears of everything that is wrong later on. Errors: INVALID_ARGUMENT,
   * OVERLOADED, CLOSED, ENGINE_FAILED.
   */
  follow(query: FollowQuery, sink: Sink): Follower {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#followers.size >= limits.subscriptionsMax) {
      throw new WarpError("OVERLOADED", "too many subscriptions", { limit: "subscriptionsMax" });
    }
    const filter = new Filter(query, { shards: this.feed.shards, folding: this.#folding });
    const follower = new Follower(this, filter, query.from ?? "start", sink);
    this.#followers.add(follower);
    return follower;
  }

  forget(follower: Follower): void {
    this.#followers.delete(follower);
  }

  /** Nothing is handed over any more of what was read of these numbers of a shard, or is said of them, before they were erased. */
  withdraw(shard: number, numbers: ReadonlySet<number>): void {
    const pump = this.#pumps.get(shard);
    if (pump?.isReading === true) for (const number of numbers) pump.erased.add(number);
    for (const follower of this.#followers) follower.withdraw(shard, numbers);
  }

  /** Ends every subscription, and those to come. */
  end(error: WarpError): void {
    this.#refusal = error;
    for (const follower of [...this.#followers]) follower.end(error);
  }

  /** Up to where every live follower is complete. */
  positionOf(shard: number): number {
    return this.#pumps.get(shard)?.position ?? 0;
  }

  /** Up to where a follower has to read before it can be live. */
  targetOf(shard: number): number {
    return this.#pumps.get(shard)?.position ?? this.feed.committed(shard);
  }

  /** Takes a follower among the live if it is where they are; otherwise it has something to read first. */
  join(follower: Follower): boolean {
    const { filter, positions } = follower;
    for (const shard of filter.shards) {
      const pump = this.#pumps.get(shard);
      // One that comes from the very end is ahead of those who are live, by what has not been handed over yet.
      if (pump !== undefined && (positions[shard] ?? 0) > pump.position) this.#advance(pump);
      if ((pump?.position ?? this.feed.committed(shard)) !== positions[shard]) return false;
    }
    let channel = this.#channels.get(filter.key);
    if (channel === undefined) {
      channel = new Channel(filter);
      this.#channels.set(filter.key, channel);
    }
    for (const shard of filter.shards) {
      const pump = this.#pumps.get(shard) ?? new Pump(shard, positions[shard] ?? 0);
      this.#pumps.set(shard, pump);
      pump.add(channel);
    }
    channel.members.add(follower);
    this.#live++;
    this.#unwatch ??= this.feed.watch(() => this.#schedule());
    return true;
  }

  leave(follower: Follower): void {
    const channel = this.#channels.get(follower.filter.key);
    if (channel?.members.delete(follower) !== true) return;
    this.#live--;
    if (channel.members.size > 0) return;
    this.#channels.delete(channel.filter.key);
    for (const shard of channel.filter.shards) {
      const pump = this.#pumps.get(shard);
      pump?.remove(channel);
      if (pump?.isIdle === true) this.#pumps.delete(shard);
    }
    if (this.#live > 0) return;
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** Resolves when no pump waits for the disk. */
  async quiet(): Promise<void> {
    await Promise.all(this.#reading);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const { waitMs } = this.pace;
    if (waitMs <= 0) setImmediate(this.#pass);
    else setTimeout(this.#pass, waitMs);
  }

  /** Hands everything that is durable to those who are live. */
  readonly #pass = (): void => {
    this.#isScheduled = false;
    const startedAt = performance.now();
    let isBehind = false;
    for (const pump of [...this.#pumps.values()]) if (this.#advance(pump)) isBehind = true;
    void this.pace.spent(startedAt);
    const endedAt = performance.now();
    // What is left comes in a pass of its own, when everybody has had the time to ask for more.
    if (isBehind) setImmediate(() => this.#schedule());
    if (endedAt - this.#markedAt < limits.followMarkMs) return;
    this.#markedAt = endedAt;
    for (const { members } of this.#channels.values()) {
      for (const follower of members) follower.tellMoved(endedAt);
    }
  };

  /** Hands over one page; true when there is more in memory. */
  #advance(pump: Pump): boolean {
    if (pump.isReading) return false;
    try {
      const page = this.feed.readNow(pump.shard, pump.position, limits.followPageBytes);
      if (page === undefined || "unknown" in page) {
        this.#advanceFromDisk(pump);
        return false;
      }
      if (page.upTo > pump.position) this.#dispatch(pump, page);
      return pump.position < this.feed.committed(pump.shard);
    } catch (thrown) {
      this.#fail(pump, thrown);
      return false;
    }
  }

  #advanceFromDisk(pump: Pump): void {
    pump.isReading = true;
    const erased = new Set<number>();
    pump.erased = erased;
    const { forgotten } = this.recent;
    const reading = this.feed.read(pump.shard, pump.position, limits.followPageBytes).then(
      (page) => {
        pump.isReading = false;
        const others = hasNamelessErasure(page) ? this.#partFromErased(pump, page.after) : [];
        this.#dispatch(pump, page, forgotten, erased);
        for (const follower of others) follower.wake();
        this.#schedule();
      },
      (thrown) => {
        pump.isReading = false;
        this.#fail(pump, thrown);
      },
    );
    this.#reading.add(reading);
    void reading.finally(() => this.#reading.delete(reading));
  }

  /** An erasure that is complete has no id. Who follows that entity alone knows it by its number, and reads on by itself. */
  #partFromErased({ shard, channels }: Pump, after: number): Follower[] {
    const isErased = ({ filter: { entity } }: Channel) =>
      entity !== undefined && this.feed.erasedAt(shard, entity) !== undefined;
    const followers = channels.filter(isErased).flatMap(({ members }) => [...members]);
    for (const follower of followers) follower.fallBehind(shard, after);
    return followers;
  }

  /**
   * Gives the parts of a page to the channels that want them. `forgotten`: of `recent`, before it was read; `erased`: who was
   * erased since.
   */
  #dispatch(
    pump: Pump,
    page: FeedPage,
    forgotten = this.recent.forgotten,
    erased: ReadonlySet<number> = nobody,
  ): void {
    const { buffer, byteOffset, length } = page.bytes;
    const bytes = bytesOf(buffer as ArrayBuffer, byteOffset, length);
    const touched = new Set<Channel>();
    for (let at = 0; at < length; at += pump.lengthOf(bytes, at)) {
      const channels = pump.channelsOf(bytes, at);
      if (channels.length === 0) continue;
      const part = readFeedPart(bytes, at);
      for (const channel of channels) {
        channel.parts.push(part);
        touched.add(channel);
      }
    }
    for (const channel of touched) this.#give(channel, page, bytes, forgotten, erased);
    pump.position = page.upTo;
  }

  #give(
    channel: Channel,
    page: FeedPage,
    bytes: Bytes,
    forgotten: number,
    erased: ReadonlySet<number>,
  ): void {
    const { parts, filter, members } = channel;
    channel.parts = [];
    try {
      const chunks = chunksOfParts(page, bytes, parts, filter);
      this.recent.add(filter, 0, { ...page, chunks }, forgotten);
      for (const read of chunks) {
        const chunk = read.without(erased);
        if (chunk !== undefined) for (const follower of members) follower.deliver(chunk);
      }
    } catch (thrown) {
      const error = toWarpError(thrown, "CORRUPT");
      for (const follower of [...members]) follower.end(error);
    }
  }

  /** What a pump cannot read, its followers cannot either. */
  #fail(pump: Pump, thrown: unknown): void {
    const error = toWarpError(thrown, "IO_ERROR");
    for (const channel of pump.channels) for (const follower of [...channel.members]) follower.end(error);
  }
}

function hasNamelessErasure(page: FeedPage): boolean {
  const bytes = pageBytes(page);
  for (let at = 0; at < page.bytes.length; ) {
    const part = readFeedPart(bytes, at);
    if (part.kind === feedPartKind.erased && part.entity === "") return true;
    at += part.length;
  }
  return false;
}
