/**
 * A connection's membership of a group: deliveries go out, answers come in. What is not answered when the connection
 * ends goes to other members.
 */
import { toWarpError, type WarpError } from "../../core/errors.ts";
import type { MemberHandle, MemberSink } from "../engine-port.ts";
import type { GroupAnswer, GroupDelivery } from "../protocol/outcomes.ts";
import { writeNothing } from "../protocol/replies.ts";
import {
  encodeDeliveriesPush,
  encodeWithdrawnPush,
  type JoinRequest,
} from "../protocol/subscription/groups.ts";
import { encodeEndedPush, type PushContent, writePush } from "../protocol/subscription/pushes.ts";
import type { Connection } from "./connection.ts";
import type { Subscriptions } from "./subscriptions.ts";

export class GroupMember implements MemberSink {
  readonly window: number;
  readonly wantsGaps: boolean;
  readonly tellsReads: boolean;
  readonly #all: Subscriptions;
  readonly #connection: Connection;
  readonly #request: JoinRequest;
  /** The request that is to be answered; 0 once it is. */
  #id: number;
  #handle: MemberHandle | undefined;
  #isClosed = false;

  constructor(all: Subscriptions, connection: Connection, id: number, request: JoinRequest) {
    this.#all = all;
    this.#connection = connection;
    this.#request = request;
    this.#id = id;
    this.window = request.window;
    this.wantsGaps = request.gaps === true;
    this.tellsReads = request.reads === true;
  }

  /** Errors: those of joining. */
  begin(): void {
    const { group, query } = this.#request;
    this.#handle = this.#connection.shared.port.groups.join(group, query, this);
  }

  get hasRoom(): boolean {
    return this.#all.hasRoom;
  }

  wake(): void {
    this.#handle?.wake();
  }

  /** A member is granted deliveries by its window, and its credit says which of them was read. */
  grant(delivery: number): void {
    this.#handle?.read(delivery);
  }

  answer(deliveries: readonly number[], answer: GroupAnswer): void {
    this.#handle?.answer(deliveries, answer);
  }

  joined(): void {
    if (this.#id === 0) return;
    const writer = this.#connection.reply();
    if (writer !== undefined) writeNothing(writer, this.#id);
    this.#id = 0;
  }

  deliver(deliveries: readonly GroupDelivery[]): void {
    if (this.#isClosed) return;
    try {
      this.#send(encodeDeliveriesPush(deliveries));
      this.#connection.shared.counters.pushedEvents += deliveries.length;
    } catch (thrown) {
      const half = Math.ceil(deliveries.length / 2);
      if (half === deliveries.length) {
        this.endWith(toWarpError(thrown, "INVALID_EVENT"));
        return;
      }
      // Together they may be too large for a frame.
      this.deliver(deliveries.slice(0, half));
      this.deliver(deliveries.slice(half));
    }
  }

  withdraw(deliveries: readonly number[]): void {
    if (!this.#isClosed && this.tellsReads) this.#send(encodeWithdrawnPush(deliveries));
  }

  ended(error: WarpError | undefined): void {
    this.#all.forget(this.#request.subscription, this);
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#id !== 0) this.#connection.replyError(this.#id, error);
    else if (error !== undefined) this.#send(encodeEndedPush(error));
  }

  endWith(error: WarpError): void {
    this.#handle?.end(error);
  }

  close(): void {
    // Its request gets its answer all the same.
    this.joined();
    this.#isClosed = true;
    this.#handle?.end();
  }

  #send(content: PushContent): void {
    const writer = this.#connection.reply();
    if (writer === undefined) return;
    this.#connection.shared.counters.pushes++;
    writePush(writer, this.#request.subscription, content);
  }
}
