/**
 * One group at work: reads the feed from its checkpoint, shares what it read among its members, keeps the checkpoint.
 *
 * - It reads while it has members. What is outstanding is bounded; beyond that it does not read on.
 * - A delivery belongs to a member until it is answered, the member leaves, or its time is over; then the event is delivered
 *   again, to whoever has room. What no program has read meanwhile was not tried.
 * - The checkpoint is written a little later than it moves: after a crash what was done last is delivered again.
 */

import { encodeCursor } from "../../core/cursor.ts";
import { droppedType, gapEvent } from "../../core/dropped.ts";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import type { Chunk } from "../chunk.ts";
import type { Follower, Sink } from "../follower.ts";
import type { Hub } from "../hub.ts";
import type { From } from "../start.ts";
import type { GroupQuery, GroupsFile, ParkedRow } from "./groups-file.ts";
import { type GroupAnswer, type GroupDelivery, Member, type MemberSink, type UnderWay } from "./member.ts";
import { type Item, Outstanding, placeOf } from "./outstanding.ts";

export interface GroupParts {
  readonly name: string;
  readonly hub: Hub;
  readonly file: GroupsFile;
  readonly onIdle: () => void;
}

export class Group {
  readonly query: GroupQuery;
  readonly #parts: GroupParts;
  readonly #outstanding: Outstanding;
  readonly #members = new Set<Member>();
  readonly #follower: Follower;
  readonly #sweeper: NodeJS.Timeout;
  #nextDelivery = 1;
  #saving: NodeJS.Timeout | undefined;
  #isStarted = false;
  #hasEnded = false;
  #isParking = false;

  /** A group that is new begins at `from`. Errors: those of `Hub.follow`. */
  constructor(parts: GroupParts, query: GroupQuery, from: From | undefined) {
    this.#parts = parts;
    this.query = query;
    const { hub, file, name } = parts;
    const { shards, incarnation } = hub.feed;
    this.#outstanding = new Outstanding(shards);
    const isNew = file.query(name) === undefined;
    const checkpoint = isNew ? undefined : encodeCursor(incarnation, file.checkpoint(name));
    this.#follower = hub.follow({ ...query, from: checkpoint ?? from ?? "start" }, this.#sink(isNew, query));
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
  }

  get members(): number {
    return this.#members.size;
  }

  /** Deliveries that are not answered, and events that were read and wait. */
  get counts(): { readonly underWay: number; readonly waiting: number } {
    let underWay = 0;
    for (const member of this.#members) underWay += member.underWay.size;
    return { underWay, waiting: this.#outstanding.count - underWay };
  }

  /** By shard: everything up to here is done. */
  get checkpoint(): readonly (number | undefined)[] {
    return this.#follower.positions.map((position, shard) =>
      position === undefined ? undefined : this.#outstanding.checkpoint(shard, position),
    );
  }

  join(sink: MemberSink): Member {
    const member = new Member(this, sink);
    this.#members.add(member);
    if (this.#isStarted) {
      sink.joined();
      this.share();
    }
    return member;
  }

  leave(member: Member, error: WarpError | undefined): void {
    if (!this.#members.delete(member)) return;
    // All of it counts as tried: a member that died may have read what it could not tell of any more.
    const left = [...member.remove(() => true).values()];
    for (const { item } of left.reverse()) this.#outstanding.giveBack(item, false);
    member.sink.ended(error);
    if (this.#members.size === 0) this.end();
    else this.share();
  }

  /** Errors: INVALID_ARGUMENT for a reason that could be more than a code. */
  answer(member: Member, deliveries: readonly number[], answer: GroupAnswer): void {
    if (answer.action === "park") requireWord(answer.reason ?? "", "the reason for parking", 0);
    this.#guard(() => {
      for (const delivery of deliveries) {
        const item = member.underWay.get(delivery)?.item;
        if (item === undefined || !member.underWay.delete(delivery)) continue;
        if (answer.action === "retry") this.#retry(item, answer.delayMs);
        else if (answer.action === "park") this.#park(item, answer.reason ?? "");
        else this.#finish(item);
      }
    });
    this.share();
  }

  /** Tries a parked event again; its row goes when it is done. */
  replay(row: ParkedRow, event: StoredEvent): boolean {
    if (this.#outstanding.hasParked(row)) return false;
    const { shard, number, attempts, id } = row;
    const bytes = 0;
    this.#outstanding.add({ shard, number, event, place: placeOf(event), bytes, attempts, parkedId: id });
    this.share();
    return true;
  }

  /** Nothing of an erased entity is delivered any more. */
  drop(shard: number, number: number): void {
    this.#outstanding.drop(shard, number);
    for (const member of this.#members) {
      const erased = member.remove(({ item }) => item.place.isDone);
      if (erased.size > 0) member.sink.withdraw([...erased.keys()]);
    }
    this.#changed();
    this.share();
  }

  /** Of a shard, what says something of somebody else. */
  withPersonal(shard: number): Item[] {
    return this.#outstanding.withPersonal(shard);
  }

  /** Nobody is to read any more what was delivered of events that were read again and are other ones now. */
  deliverAnew(): void {
    this.#withdraw(({ item, event }) => item.event !== event);
  }

  /** Resolves when everything that was being read by now is here. */
  async quiet(): Promise<void> {
    await this.#parts.hub.quiet();
    await this.#follower.quiet();
  }

  /** Gives what is ready to members that have room, in turn. */
  share(): void {
    if (this.#hasEnded || !this.#isStarted) return;
    // A little at a time: what was delivered takes room, which is looked at again.
    while (this.#shareSome());
    if (this.#hasRoom) this.#follower.wake();
  }

  /** Gives members some of what is ready, in turn; false when nothing is left or nobody has room. */
  #shareSome(): boolean {
    const given = new Map<Member, GroupDelivery[]>();
    const deadline = performance.now() + limits.groupAnswerMs;
    let members = [...this.#members].filter((member) => member.hasRoom);
    let count = 0;
    let bytes = 0;
    while (members.length > 0 && count < sharedMax && bytes < limits.followPageBytes) {
      for (const member of members) {
        const item = this.#outstanding.take();
        if (item === undefined) {
          members = [];
          break;
        }
        const taker = this.#takerOf(item, member);
        if (taker === undefined) {
          this.#guard(() => this.#finish(item));
          if (this.#hasEnded) return false;
          continue;
        }
        const delivery = this.#nextDelivery++;
        taker.give(delivery, item, deadline);
        const own = given.get(taker) ?? [];
        given.set(taker, own);
        own.push({ delivery, attempt: item.attempts, event: item.event });
        count++;
        bytes += item.bytes;
      }
      members = members.filter((member) => member.hasRoom);
    }
    for (const [member, deliveries] of given) member.sink.deliver(deliveries);
    return count > 0 && !this.#hasEnded;
  }

  /**
   * The member whose turn it is, or for a mark one that wants marks, be it beyond its window; undefined for a mark that nobody
   * wants, which is passed over.
   */
  #takerOf({ event }: Item, next: Member): Member | undefined {
    if (event.type !== droppedType || next.sink.wantsGaps) return next;
    const wanting = [...this.#members].filter(({ sink }) => sink.wantsGaps);
    return wanting.find(({ hasRoom }) => hasRoom) ?? wanting[0];
  }

  /** Stops working; what is under way will be delivered again. */
  end(error?: WarpError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearInterval(this.#sweeper);
    clearTimeout(this.#saving);
    let reason = error;
    try {
      if (this.#isStarted && !this.#isParking) this.#parts.file.save(this.#parts.name, this.checkpoint);
    } catch (thrown) {
      // What was done since the last time will be delivered again.
      reason ??= toWarpError(thrown, "IO_ERROR");
    }
    this.#follower.end();
    for (const member of [...this.#members]) this.leave(member, reason);
    this.#parts.onIdle();
  }

  get #hasRoom(): boolean {
    const { places, bytes } = this.#outstanding;
    return places < limits.groupOutstandingMax && bytes < limits.groupOutstandingBytes;
  }

  #sink(isNew: boolean, query: GroupQuery): Sink {
    const hasRoom = () => this.#hasRoom;
    return {
      get hasRoom() {
        return hasRoom();
      },
      started: () => {
        this.#isStarted = true;
        const { file, name } = this.#parts;
        this.#guard(() => {
          if (isNew) file.create(name, query, this.#follower.positions);
          for (const { sink } of this.#members) sink.joined();
        });
      },
      chunk: (chunk) => this.#take(chunk),
      caughtUp: () => this.#changed(),
      moved: () => this.#changed(),
      ended: (error) => {
        if (!this.#hasEnded) this.end(error);
      },
    };
  }

  #take(chunk: Chunk): void {
    const { shard, numbers, gap } = chunk;
    if (chunk.erased !== undefined) this.drop(shard, numbers[0] ?? 0);
    const events = gap === undefined ? chunk.events : [gapEvent(gap)];
    const bytes = chunk.bytes / events.length;
    for (const [i, event] of events.entries()) {
      const number = numbers[i] ?? 0;
      const place = placeOf(event);
      this.#outstanding.add({ shard, number, event, place, bytes, attempts: 0, parkedId: undefined });
    }
    this.#changed();
    this.share();
  }

  #finish(item: Item): void {
    if (item.parkedId !== undefined && !item.place.isDone) this.#parts.file.unpark(item.parkedId);
    this.#outstanding.finish(item);
    this.#changed();
  }

  #retry(item: Item, delayMs: number | undefined): void {
    if (item.attempts >= limits.groupAttemptsMax) {
      this.#park(item, "attempts");
      return;
    }
    const backOff = Math.min(limits.groupRetryMsMax, limits.groupRetryMs * 2 ** (item.attempts - 1));
    const waitMs = Math.min(delayMs ?? backOff, limits.groupRetryMsMax);
    this.#outstanding.giveBack(item, true);
    setTimeout(() => {
      this.#outstanding.resume(item);
      this.share();
    }, waitMs).unref();
  }

  #park(item: Item, reason: string): void {
    if (item.place.isDone) return;
    const { shard, number, event, attempts } = item;
    const { seq, position } = event;
    this.#outstanding.finish(item);
    const row = { shard, number, seq, position, attempts, reason, parkedAt: Date.now() };
    // Until it is parked no checkpoint may be behind it.
    this.#isParking = true;
    this.#parts.file.park(this.#parts.name, row, this.checkpoint, item.parkedId);
    this.#isParking = false;
  }

  /** Deliveries whose time is over: what was read counts as tried. */
  #sweep(): void {
    const now = performance.now();
    this.#guard(() => {
      for (const member of this.#members) {
        const tried = member.remove(({ deadline, isRead }) => isRead && deadline <= now);
        for (const { item } of tried.values()) this.#retry(item, 0);
      }
    });
    this.#withdraw(({ deadline }) => deadline <= now);
  }

  /**
   * Takes back what nobody has read, and delivers it again: to whoever has room. What its member gets again takes the place of what
   * it had, which is withdrawn after that.
   */
  #withdraw(isDue: (underWay: UnderWay) => boolean): void {
    const withdrawn = new Map<Member, Map<number, UnderWay>>();
    for (const member of this.#members) {
      const due = member.remove((underWay) => !underWay.isRead && isDue(underWay));
      if (due.size === 0) continue;
      withdrawn.set(member, due);
      for (const { item } of [...due.values()].reverse()) this.#outstanding.takeBack(item);
    }
    this.share();
    for (const [{ sink }, due] of withdrawn) sink.withdraw([...due.keys()]);
  }

  #changed(): void {
    if (this.#hasEnded) return;
    this.#saving ??= setTimeout(() => {
      this.#saving = undefined;
      this.#guard(() => this.#parts.file.save(this.#parts.name, this.checkpoint));
    }, limits.groupSaveMs);
  }

  /** A file that cannot be written ends the group for its members, and nothing else. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.end(toWarpError(thrown, "IO_ERROR"));
    }
  }
}

const sweepMs = 500;
/** Deliveries that are given out before the members' room is looked at again. */
const sharedMax = 64;

/** Errors: INVALID_ARGUMENT for what could hold more than a name or a code. */
export function requireWord(word: string, what: string, min: number): void {
  if (typeof word === "string" && word.length >= min && /^[\w.:-]{0,64}$/.test(word)) return;
  throw new WarpError("INVALID_ARGUMENT", `${what} is at most 64 letters, digits, _ . : or -`);
}
