/**
 * The groups of a context: joining them, what operators see of them and do with them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Folding } from "../../actor/folding.ts";
import type { Feed } from "../../actor/storage/feed.ts";
import { aboutDropped, gapEvent } from "../../core/dropped.ts";
import { bytesOf } from "../../core/entry.ts";
import type { ErasureFollowers } from "../../core/erasure.ts";
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { eventsOfFeedPart, type FeedPart, feedPartKind, readFeedPart } from "../../core/feed.ts";
import { limits } from "../../core/limits.ts";
import type { Hub } from "../hub.ts";
import type { From } from "../start.ts";
import { Group, requireWord } from "./group.ts";
import {
  type GroupQuery,
  GroupsFile,
  groupsFileName,
  type ParkedEntity,
  type ParkedRow,
} from "./groups-file.ts";
import type { Member, MemberSink } from "./member.ts";
import { readAgain } from "./read-again.ts";

/** Another process reads an older state: it is looked again after this time, twice as long each time. */
const againMs = 100;
const againMsMax = 5000;

export interface GroupStatus {
  readonly name: string;
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
  readonly members: number;
  /** Records, of whatever entity, between the checkpoint and the newest. */
  readonly lag: number;
  /** Deliveries that are not answered. */
  readonly underWay: number;
  /** Events that were read and wait for a member, or for their time. */
  readonly waiting: number;
  readonly parked: number;
  /** ms since 1970 when the oldest of them was parked. */
  readonly oldestParkedAt?: number | undefined;
}

export interface JoinQuery extends GroupQuery {
  /** Where a group that is new begins: `"start"` by default. */
  readonly from?: From | undefined;
}

export class Groups {
  readonly #hub: Hub;
  readonly #folding: Folding;
  readonly #dataDir: string;
  readonly #active = new Map<string, Group>();
  #file: GroupsFile | undefined;
  #isClosed = false;
  readonly #followers: ErasureFollowers;
  #isRegistered = false;
  /** Entities that were erased and are to be forgotten. */
  readonly #erased: ParkedEntity[] = [];
  /** Shards where something was erased that events may say of somebody else. */
  readonly #toReadAgain = new Set<number>();
  #nextForgetting: Promise<void> | undefined;
  /** Shared by all that wait: it looks once more after whatever was forgotten meanwhile. */
  #emptying: Promise<void> | undefined;

  constructor(parts: {
    readonly hub: Hub;
    readonly folding: Folding;
    readonly dataDir: string;
    readonly followers: ErasureFollowers;
  }) {
    this.#hub = parts.hub;
    this.#folding = parts.folding;
    this.#dataDir = parts.dataDir;
    this.#followers = parts.followers;
    // In every life: what the file has of records that were lost must not be taken for others that get their positions.
    if (!this.#exists) return;
    this.#register();
    try {
      this.#open();
    } catch {
      // Who asks for groups, or for an erasure, is told that it is damaged. Nobody else has to do with it.
    }
  }

  /** Joins a group, which is made if it is new. Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED. */
  join(name: string, query: JoinQuery, sink: MemberSink): Member {
    requireWord(name, "the name of a group", 1);
    requireWindow(sink.window);
    const { from, prefix, types } = query;
    const given: GroupQuery = {
      ...(prefix ? { prefix } : {}),
      ...(types === undefined ? {} : { types: types.toSorted() }),
    };
    // One that is being made is not in the file yet.
    const stored = this.#active.get(name)?.query ?? this.#open().query(name);
    const isSilent = prefix === undefined && types === undefined;
    if (stored !== undefined && !isSilent && JSON.stringify(stored) !== JSON.stringify(given)) {
      throw new WarpError("INVALID_ARGUMENT", `the group ${name} is about something else`, { query: stored });
    }
    let group = this.#active.get(name);
    if (group === undefined) {
      const onIdle = () => this.#active.delete(name);
      group = new Group({ name, hub: this.#hub, file: this.#open(), onIdle }, stored ?? given, from);
      this.#active.set(name, group);
    }
    return group.join(sink);
  }

  status(): GroupStatus[] {
    if (this.#isClosed || !this.#exists) return [];
    const file = this.#open();
    return file.names().map((name) => {
      const group = this.#active.get(name);
      const checkpoint = group?.checkpoint ?? file.checkpoint(name);
      let lag = 0;
      for (const [shard, position] of checkpoint.entries()) {
        if (position !== undefined) lag += this.#hub.feed.committed(shard) - position;
      }
      const { count: parked, oldestAt } = file.parkedCounts(name);
      const oldest = oldestAt === undefined ? {} : { oldestParkedAt: oldestAt };
      const counts = group?.counts ?? { underWay: 0, waiting: 0 };
      return {
        name,
        ...file.query(name),
        members: group?.members ?? 0,
        lag,
        ...counts,
        parked,
        ...oldest,
      };
    });
  }

  /** What a group parked, oldest first. */
  parked(name: string, limit = 100): ParkedRow[] {
    this.#require(name);
    return this.#open().parked(name, limit);
  }

  /** Delivers parked events again. Returns how many. Errors: INVALID_ARGUMENT when the group has no members. */
  async replay(name: string, limit = 1000): Promise<number> {
    this.#require(name);
    let replayed = 0;
    for (const row of this.#open().parked(name, limit)) {
      const event = await this.#eventOf(row);
      const group = this.#active.get(name);
      if (group === undefined) throw new WarpError("INVALID_ARGUMENT", `the group ${name} has no members`);
      if (event === undefined) this.#open().unpark(row.id);
      else if (group.replay(row, event)) replayed++;
    }
    return replayed;
  }

  /** Forgets a group without members: its checkpoint, and what it parked. */
  remove(name: string): void {
    this.#require(name);
    if (this.#active.has(name)) throw new WarpError("INVALID_ARGUMENT", `the group ${name} has members`);
    this.#open().remove(name);
  }

  /** Members are told why. */
  close(error: WarpError): void {
    this.#isClosed = true;
    for (const group of [...this.#active.values()]) group.end(error);
    this.#file?.close();
    this.#file = undefined;
  }

  /** A context without groups has no file of them. */
  get #exists(): boolean {
    return this.#file !== undefined || existsSync(join(this.#dataDir, groupsFileName));
  }

  #open(): GroupsFile {
    if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
    this.#file ??= openFile(this.#dataDir, this.#hub.feed);
    this.#register();
    return this.#file;
  }

  /** Where there are groups, an erasure is complete when they have forgotten the entity. */
  #register(): void {
    if (this.#isRegistered) return;
    this.#isRegistered = true;
    const passed = (shard: number, position: number) => this.#forgetErased(shard, position);
    this.#followers.register({ name: "groups", passed });
  }

  #require(name: string): void {
    if (this.#exists && this.#open().query(name) !== undefined) return;
    throw new WarpError("INVALID_ARGUMENT", `there is no group ${JSON.stringify(name)}`);
  }

  /** The event that a reference means, or the mark in its place when it was dropped; undefined when it was erased. */
  async #eventOf({ shard, number, seq, position }: ParkedRow): Promise<StoredEvent | undefined> {
    const parts = await this.#recordAt(shard, position);
    for (const { bytes, part } of parts) {
      if (part.kind !== feedPartKind.events || part.number !== number) continue;
      const event = eventsOfFeedPart(bytes, part).find((one) => one.seq === seq);
      if (event !== undefined) return this.#folding.upcast(event);
    }
    return await this.#droppedAt(shard, number, seq, position);
  }

  async #droppedAt(
    shard: number,
    number: number,
    seq: number,
    position: number,
  ): Promise<StoredEvent | undefined> {
    const reading = await this.#hub.feed.reading();
    const [entity = ""] = await reading.ids(shard, Float64Array.of(number));
    if (entity === "") return undefined;
    const dropped = (await reading.base(shard, number, []))?.dropped;
    if (dropped === undefined || dropped.seq < seq) return undefined;
    const { recordedAt } = aboutDropped(dropped);
    return gapEvent({ entity, droppedTo: dropped.seq, position, recordedAt });
  }

  async #recordAt(
    shard: number,
    position: number,
  ): Promise<{ bytes: ReturnType<typeof bytesOf>; part: FeedPart }[]> {
    const page = await this.#hub.feed.read(shard, position - 1, 1);
    const bytes = bytesOf(page.bytes.buffer as ArrayBuffer, page.bytes.byteOffset, page.bytes.length);
    const parts: { bytes: typeof bytes; part: FeedPart }[] = [];
    for (let at = 0; at < page.bytes.length; ) {
      const part = readFeedPart(bytes, at);
      if (part.position === position) parts.push({ bytes, part });
      at += part.length;
    }
    return parts;
  }

  async #forgetErased(shard: number, position: number): Promise<void> {
    if (!this.#exists) return;
    await this.#quiet();
    for (const { part } of await this.#recordAt(shard, position)) {
      if (part.kind === feedPartKind.events) continue;
      this.#toReadAgain.add(shard);
      // In other shards than its own it was spoken of, and no more.
      if (part.kind !== feedPartKind.erased) continue;
      for (const group of this.#active.values()) group.drop(shard, part.number);
      this.#erased.push({ shard, number: part.number });
    }
    await this.#forgetting();
  }

  /** Those that come together are forgotten together. */
  #forgetting(): Promise<void> {
    this.#nextForgetting ??= new Promise(setImmediate).then(async () => {
      this.#nextForgetting = undefined;
      this.#open().forget(this.#erased.splice(0));
      const shards = [...this.#toReadAgain];
      this.#toReadAgain.clear();
      // Also of a key that the reader had: what is read from now on is without it.
      for (const shard of shards) this.#hub.feed.forget(shard, []);
      await this.#quiet();
      await this.#forgetPersonal(shards);
      this.#emptying ??= this.#emptyWal().finally(() => {
        this.#emptying = undefined;
      });
      await this.#emptying;
    });
    return this.#nextForgetting;
  }

  /** Resolves when everything that was being read by now is here. */
  async #quiet(): Promise<void> {
    await Promise.all([...this.#active.values()].map((group) => group.quiet()));
  }

  /** Nothing that was erased of what events say of others is delivered any more. */
  async #forgetPersonal(shards: readonly number[]): Promise<void> {
    const { feed } = this.#hub;
    for (const group of this.#active.values()) {
      for (const shard of shards) {
        await readAgain(feed, shard, group.withPersonal(shard));
        group.deliverAnew();
      }
    }
  }

  async #emptyWal(): Promise<void> {
    for (let ms = againMs; !this.#open().emptyWal(); ms = Math.min(2 * ms, againMsMax)) await idle(ms);
  }
}

function openFile(dataDir: string, feed: Feed): GroupsFile {
  const recovered = Array.from({ length: feed.shards }, (_, shard) => feed.recovered(shard));
  return new GroupsFile(dataDir, feed.incarnation, recovered);
}

/** Keeps no process from ending. */
function idle(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

/** Members' windows. Errors: INVALID_ARGUMENT. */
function requireWindow(window: number): void {
  if (Number.isSafeInteger(window) && window >= 1 && window <= limits.groupWindowMax) return;
  throw new WarpError("INVALID_ARGUMENT", `window is 1 to ${limits.groupWindowMax}, not ${String(window)}`);
}
