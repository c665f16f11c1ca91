/**
 * A member of a group, and the deliveries that are its own at the time.
 *
 * - The time of a delivery begins anew when the member's program reads it. One that is over by then counts as tried; one
 *   that was only waiting to be read does not.
 * - What a member cannot tell of counts as read when it is delivered.
 */
import { droppedType } from "../../core/dropped.ts";
import type { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import type { Item } from "./outstanding.ts";

/** An event that a member is to work off and answer. */
export interface GroupDelivery {
  /** Names it in answers; never given twice by a group in one life of the context. */
  readonly delivery: number;
  /** 1 for the first time. */
  readonly attempt: number;
  readonly event: StoredEvent;
}

/** What became of a delivery. */
export type GroupAnswer =
  | { readonly action: "ack" | "skip" }
  /** Again, after `delayMs` or a back-off; parked after `limits.groupAttemptsMax`. */
  | { readonly action: "retry"; readonly delayMs?: number | undefined }
  /** Kept aside, as a reference. */
  | { readonly action: "park"; readonly reason?: string | undefined };

/** Who works in a group. Its methods neither throw nor wait. */
export interface MemberSink {
  /** Deliveries that may be unanswered at once. */
  readonly window: number;
  readonly hasRoom: boolean;
  /** Takes marks in the place of dropped events too (core/dropped.ts), as deliveries like others. */
  readonly wantsGaps: boolean;
  /** Says of each delivery when its program reads it ({@link Member.read}). */
  readonly tellsReads: boolean;
  joined(): void;
  deliver(deliveries: readonly GroupDelivery[]): void;
  /** These are not the member's any more. Said of what it has not read, and of what was erased. */
  withdraw(deliveries: readonly number[]): void;
  ended(error: WarpError | undefined): void;
}

export interface UnderWay {
  readonly item: Item;
  /** As it was delivered: it may have lost what it said of somebody who was erased since. */
  readonly event: StoredEvent;
  deadline: number;
  isRead: boolean;
}

/** The group of a member. */
export interface MemberHome {
  answer(member: Member, deliveries: readonly number[], answer: GroupAnswer): void;
  share(): void;
  leave(member: Member, error: WarpError | undefined): void;
}

export class Member {
  readonly sink: MemberSink;
  readonly underWay = new Map<number, UnderWay>();
  readonly #group: MemberHome;

  constructor(group: MemberHome, sink: MemberSink) {
    this.#group = group;
    this.sink = sink;
  }

  get hasRoom(): boolean {
    return this.underWay.size < this.sink.window && this.sink.hasRoom;
  }

  give(delivery: number, item: Item, deadline: number): void {
    // Marks do not wait to be read.
    const isRead = !this.sink.tellsReads || item.event.type === droppedType;
    this.underWay.set(delivery, { item, event: item.event, deadline, isRead });
  }

  /** Its program has this delivery from now on; one that is not the member's any more is of no interest. */
  read(delivery: number): void {
    const underWay = this.underWay.get(delivery);
    if (underWay === undefined || underWay.isRead) return;
    underWay.isRead = true;
    underWay.deadline = performance.now() + limits.groupAnswerMs;
  }

  /** Takes away what is to go; returns it, oldest first. */
  remove(isToGo: (underWay: UnderWay) => boolean): Map<number, UnderWay> {
    const removed = new Map<number, UnderWay>();
    for (const [delivery, underWay] of this.underWay) {
      if (!isToGo(underWay)) continue;
      this.underWay.delete(delivery);
      removed.set(delivery, underWay);
    }
    return removed;
  }

  /** Answers deliveries; ones that are not the member's any more are of no interest. */
  answer(deliveries: readonly number[], answer: GroupAnswer): void {
    this.#group.answer(this, deliveries, answer);
  }

  /** It has room again. */
  wake(): void {
    this.#group.share();
  }

  /** What it has not answered goes to others. */
  end(error?: WarpError): void {
    this.#group.leave(this, error);
  }
}
