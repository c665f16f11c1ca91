/**
 * The subscriptions of one connection: what is granted to each, and whether the connection has room.
 *
 * - A push is sent when something is granted and the connection's output has room; otherwise the engine keeps its place.
 *   So what waits for a peer that does not read is bounded by the connection's output and one push.
 * - A subscription that ends by itself says why, in its last push.
 */
import { decodeCursor, encodeCursor } from "../../core/cursor.ts";
import { toWarpError, WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import type { EnginePort, PushedChunk, SubscriptionHandle, SubscriptionSink } from "../engine-port.ts";
import { writeNothing } from "../protocol/replies.ts";
import { type AnswerRequest, type JoinRequest, requireDeliveries } from "../protocol/subscription/groups.ts";
import {
  encodeDroppedPush,
  encodeEndedPush,
  encodeErasedPush,
  encodeEventsPushes,
  encodeMarkPush,
  type PushContent,
  writePush,
} from "../protocol/subscription/pushes.ts";
import { requireFrom, type SubscribeRequest } from "../protocol/subscription/requests.ts";
import type { Connection } from "./connection.ts";
import { GroupMember } from "./group-member.ts";

/** A subscription, or a membership of a group. */
interface Open {
  wake(): void;
  grant(bytes: number): void;
  endWith(error: WarpError): void;
  /** Without a word. */
  close(): void;
}

export class Subscriptions {
  readonly #connection: Connection;
  readonly #open = new Map<number, Open>();
  /** True when one of them found no room in the output. */
  #isStarved = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Begins a subscription and answers the request. */
  subscribe(id: number, request: SubscribeRequest): void {
    this.#begin(id, request, () => new Subscriber(this, this.#connection, id, request));
  }

  /** Joins a group and answers the request. */
  join(id: number, request: JoinRequest): void {
    this.#begin(id, request, () => new GroupMember(this, this.#connection, id, request));
  }

  /** Answers deliveries of a group. */
  answer(id: number, { subscription, deliveries, answer }: AnswerRequest): void {
    const connection = this.#connection;
    try {
      requireDeliveries(deliveries);
      const member = this.#open.get(subscription);
      if (member instanceof GroupMember) member.answer(deliveries, answer);
      const writer = connection.reply();
      if (writer !== undefined) writeNothing(writer, id);
    } catch (thrown) {
      connection.replyError(id, thrown);
    }
  }

  #begin(
    id: number,
    { subscription: number, query }: SubscribeRequest | JoinRequest,
    make: () => Open & { begin(): void },
  ): void {
    const connection = this.#connection;
    if (this.#open.has(number)) {
      const why = "the connection has a subscription of that number";
      connection.replyError(id, new WarpError("INVALID_ARGUMENT", why));
      return;
    }
    if (this.#open.size >= limits.connectionSubscriptionsMax) {
      const why = "the connection has too many subscriptions";
      const limit = "connectionSubscriptionsMax";
      connection.replyError(id, new WarpError("OVERLOADED", why, { limit }));
      return;
    }
    connection.shared.counters.subscriptions++;
    const made = make();
    this.#open.set(number, made);
    try {
      requireFrom(query.from);
      made.begin();
    } catch (thrown) {
      this.forget(number, made);
      connection.replyError(id, thrown);
    }
  }

  unsubscribe(id: number, number: number): void {
    this.#open.get(number)?.close();
    const writer = this.#connection.reply();
    if (writer !== undefined) writeNothing(writer, id);
  }

  /** One that has ended meanwhile is of no interest. */
  grant(number: number, bytes: number): void {
    this.#open.get(number)?.grant(bytes);
  }

  get hasRoom(): boolean {
    const { unsentBytes, shared } = this.#connection;
    const hasRoom = unsentBytes <= shared.limits.outputBytes;
    if (!hasRoom) this.#isStarved = true;
    return hasRoom;
  }

  /** The output may have room again. */
  wake(): void {
    if (!this.#isStarved || !this.hasRoom) return;
    this.#isStarved = false;
    for (const subscriber of this.#open.values()) subscriber.wake();
  }

  /** Its number may be that of another by now. */
  forget(number: number, ended: Open): void {
    if (this.#open.get(number) === ended) this.#open.delete(number);
  }

  /** Ends all of them, each with a last push that says why. */
  end(error: WarpError): void {
    for (const subscriber of [...this.#open.values()]) subscriber.endWith(error);
  }

  /** Nobody is there to be pushed to. */
  close(): void {
    for (const subscriber of [...this.#open.values()]) subscriber.close();
  }
}

function contentsOf(port: EnginePort, chunk: PushedChunk, cursor: string): readonly PushContent[] {
  const { events, erased, gap, shard } = chunk;
  if (erased !== undefined) return [encodeErasedPush(erased, cursor)];
  if (gap !== undefined) return [encodeDroppedPush(gap.entity, gap.droppedTo, cursor)];
  return encodeEventsPushes(events, cursor, (position) =>
    encodeCursor(port.incarnation, decodeCursor(cursor, port).with(shard, position)),
  );
}

class Subscriber implements SubscriptionSink, Open {
  readonly #all: Subscriptions;
  readonly #connection: Connection;
  readonly #request: SubscribeRequest;
  /** The request that is to be answered; 0 once it is. */
  #id: number;
  #credit: number;
  #handle: SubscriptionHandle | undefined;
  #isClosed = false;

  constructor(all: Subscriptions, connection: Connection, id: number, request: SubscribeRequest) {
    this.#all = all;
    this.#connection = connection;
    this.#request = request;
    this.#id = id;
    this.#credit = request.credit;
  }

  /** Errors: those of the query. */
  begin(): void {
    this.#handle = this.#connection.shared.port.subscribe(this.#request.query, this);
  }

  get hasRoom(): boolean {
    return this.#credit > 0 && this.#all.hasRoom;
  }

  grant(bytes: number): void {
    const wasEmpty = this.#credit <= 0;
    this.#credit += bytes;
    if (wasEmpty) this.wake();
  }

  wake(): void {
    if (this.hasRoom) this.#handle?.wake();
  }

  started(): void {
    if (this.#id === 0) return;
    const writer = this.#connection.reply();
    if (writer !== undefined) writeNothing(writer, this.#id);
    this.#id = 0;
  }

  chunk(chunk: PushedChunk, cursor: string): void {
    // Whoever did not ask to be told of dropped events hears that its cursor has moved.
    if (chunk.gap !== undefined && this.#request.gaps !== true) this.moved(cursor);
    else this.#push(() => chunk.shared(() => contentsOf(this.#connection.shared.port, chunk, cursor)));
    this.#connection.shared.counters.pushedEvents += chunk.events.length;
  }

  caughtUp(cursor: string): void {
    this.#push(() => [encodeMarkPush("caughtUp", cursor)]);
  }

  /** Only a mark: where nothing was granted it is left out, and the next event or mark says more. */
  moved(cursor: string): void {
    if (!this.hasRoom) return;
    this.#push(() => [encodeMarkPush("moved", cursor)]);
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

  /** Without a word. */
  close(): void {
    // Its request gets its answer all the same.
    this.started();
    this.#isClosed = true;
    this.#handle?.end();
  }

  #push(contents: () => readonly PushContent[]): void {
    if (this.#isClosed) return;
    try {
      for (const content of contents()) this.#credit -= this.#send(content);
    } catch (thrown) {
      this.endWith(toWarpError(thrown, "INVALID_EVENT"));
    }
  }

  #send(content: PushContent): number {
    const writer = this.#connection.reply();
    if (writer === undefined) return 0;
    this.#connection.shared.counters.pushes++;
    return writePush(writer, this.#request.subscription, content);
  }
}
