/**
 * The requests of a client that are not answered yet, in the order in which they were made.
 *
 * - They are numbered 1, 2, 3 … for as long as the client lives; the wire carries the lower 32 bits.
 * - A ring as long as the distance from the oldest to the newest. An abandoned request leaves a gap.
 * - What waits so much longer than the others that the ring would be too long for it stands aside, in a list that is nearly
 *   always empty: one request of an hour must not make it as long as all that come in that hour.
 * - `sent` divides them: what lies before it has been handed to the present connection.
 */
import type { Promised } from "../../core/promised.ts";
import type { EntityName } from "../../net/protocol/entity-number.ts";
import type { FrameWriter } from "../../net/protocol/frame-writer.ts";
import type { Delivery } from "../../net/protocol/outcomes.ts";
import { operation } from "../../net/protocol/words.ts";
import type { AppendGroup } from "./append-group.ts";
import type { Slab } from "./slabs.ts";

/** What a caller may say of one call. */
export interface CallOptions {
  /** Gives up waiting: ABORTED. A write that was sent may happen all the same. */
  readonly signal?: AbortSignal | undefined;
  /** Instead of the client's. */
  readonly timeoutMs?: number | undefined;
}

/** `entity` is how it is named: by what the caller gave, or by a number. */
export type WriteRequest = (writer: FrameWriter, id: number, delivery: Delivery, entity: EntityName) => void;

/** How a request names its entity; "told" is a number and the id that it stands for from there on, "group" as its group does. */
export type Naming = "id" | "number" | "told" | "group";

/**
 * What a request changes that no delivery id tells apart from a repeat, and so whether it is sent again on another connection.
 *
 * - "none": nothing, or nothing that outlives the connection: reads, subscriptions, answers of a member. Sent again. Writes
 *   too, since they have a delivery id.
 * - "repeatable": what does no harm once more, however late: a backup, and a rotation of keys. Sent again; what the first one
 *   did stays done, and goes on when nobody waits for it.
 * - "once": what undoes, when it comes late, what others did meanwhile. A deletion erases the next life of its id; a hold that
 *   was released is set again, a new one released; a group that was made anew is removed, events that were parked again are
 *   delivered again; a projection that was resumed is paused, or its build begins anew. Never sent again.
 */
export type Effect = "none" | "repeatable" | "once";

/** Who waits for a request, whatever its result is. */
export type Waiting = Pick<Promised<never>, "resolve" | "reject">;

/** A request, encoded, and who waits for it. */
export class Request {
  readonly number: number;
  readonly operation: number;
  /** The id of the entity, where a reply does not repeat it. */
  readonly entity: string;
  naming: Naming;
  /** That it is sent with. */
  group: AppendGroup | undefined;
  /** Where its frame lies, or its data when it has a group. */
  slab: Slab;
  from: number;
  to: number;
  /** By the clock of `performance.now()`. */
  readonly deadline: number;
  /** True once it may have reached a server. */
  wasSent = false;
  /** It may have reached a server on a connection that was lost. */
  isRepeat = false;
  effect: Effect = "none";
  /** Ends the watch over an AbortSignal. */
  unwatch: (() => void) | undefined;
  readonly answer: Waiting;

  constructor(
    number: number,
    operation: number,
    entity: string,
    naming: Naming,
    group: AppendGroup | undefined,
    slab: Slab,
    from: number,
    to: number,
    deadline: number,
    answer: Waiting,
  ) {
    this.number = number;
    this.operation = operation;
    this.entity = entity;
    this.naming = naming;
    this.group = group;
    this.slab = slab;
    this.from = from;
    this.to = to;
    this.deadline = deadline;
    this.answer = answer;
  }

  get isWrite(): boolean {
    return this.operation === operation.append || this.operation === operation.send;
  }

  /** Whether who gets no answer has to know if it has happened. */
  get changesSomething(): boolean {
    return this.isWrite || this.effect !== "none";
  }

  /** It was written once more, with the id. What it leaves is never written to again: the old socket may still be holding it. */
  move(slab: Slab, from: number, to: number): void {
    this.naming = "id";
    this.group = undefined;
    this.slab = slab;
    this.from = from;
    this.to = to;
  }
}

/** More than there are requests at once: only what waits much longer than the others is put aside. */
const ringLengthMax = 2 ** 17;

export class Requests {
  /** A power of two long; as short as its callers are few. */
  #ring: (Request | undefined)[] = new Array(16).fill(undefined);
  readonly #ringMax: number;
  /** Requests from before the ring, in their order. */
  readonly #aside: Request[] = [];
  #next = 1;
  /** Where the ring begins. */
  #oldest = 1;
  #oldestWrite = 1;
  #count = 0;
  /** The number of the first that is not sent. */
  sent = 1;
  /** Unanswered requests that have been sent on the present connection. */
  underWay = 0;

  /** The ring gets at most so long, a power of two from 16 on. */
  constructor(ringMax = ringLengthMax) {
    this.#ringMax = ringMax;
  }

  get count(): number {
    return this.#count;
  }

  /** The number that the next request will have. */
  get next(): number {
    // The id 0 on the wire is the connection.
    if (this.#next >>> 0 === 0) this.#next++;
    return this.#next;
  }

  /** The number of the oldest unanswered write, sent or not, or one behind all: no write that is older is ever sent again. */
  get oldestWrite(): number {
    while (this.#oldestWrite < this.#next && this.get(this.#oldestWrite)?.isWrite !== true) {
      this.#oldestWrite = this.#passGap(this.#oldestWrite + 1);
    }
    return this.#oldestWrite;
  }

  /** The first request that is not sent. */
  get unsent(): Request | undefined {
    this.sent = this.#passGap(this.sent);
    while (this.sent < this.#next) {
      const request = this.get(this.sent);
      if (request !== undefined) return request;
      this.sent = this.#passGap(this.sent + 1);
    }
    return undefined;
  }

  get(number: number): Request | undefined {
    const request = this.#ring[number & (this.#ring.length - 1)];
    // A number from long ago shares its place with a newer one.
    if (request?.number === number) return request;
    return this.#aside.length === 0 ? undefined : this.#getAside(number);
  }

  /** The request of an id on the wire, if it is still waited for. */
  ofId(id: number): Request | undefined {
    const request = this.#ring[id & (this.#ring.length - 1)];
    if (request !== undefined && request.number >>> 0 === id) return request;
    // Requests end before there are 2^32 newer ones.
    return this.#aside.length === 0 ? undefined : this.#getAside(this.#next - ((this.#next - id) >>> 0));
  }

  add(request: Request): void {
    const { number } = request;
    if (number - this.#oldest >= this.#ring.length) this.#reach(number);
    this.#ring[number & (this.#ring.length - 1)] = request;
    this.#next = number + 1;
    this.#count++;
  }

  remove(request: Request): void {
    const { number } = request;
    if (number >= this.#oldest) this.#ring[number & (this.#ring.length - 1)] = undefined;
    else this.#aside.splice(this.#placeAside(number), 1);
    this.#count--;
    if (number < this.sent) this.underWay--;
    request.unwatch?.();
  }

  /** The next so many requests are handed to the present connection. */
  noteSent(count: number): void {
    for (let i = 0; i < count; i++) {
      const request = this.get(this.sent++);
      if (request === undefined) continue;
      request.wasSent = true;
      this.underWay++;
    }
  }

  /** Everything is to be sent again, on a new connection. */
  rewind(): void {
    for (const request of this) request.isRepeat = request.wasSent;
    this.sent = this.#passGap(0);
    this.underWay = 0;
  }

  /** In their order; those may be removed meanwhile that it has come to. */
  *[Symbol.iterator](): Generator<Request> {
    this.#passAnswered();
    for (let number = this.#passGap(0); number < this.#next; number = this.#passGap(number + 1)) {
      const request = this.get(number);
      if (request !== undefined) yield request;
    }
  }

  /** The number itself or, before the ring, the next one that is still waited for. */
  #passGap(number: number): number {
    if (number >= this.#oldest) return number;
    return this.#aside[this.#placeAside(number)]?.number ?? this.#oldest;
  }

  #getAside(number: number): Request | undefined {
    const request = this.#aside[this.#placeAside(number)];
    return request?.number === number ? request : undefined;
  }

  /** The place of the first aside that has this number or a higher one. */
  #placeAside(number: number): number {
    const aside = this.#aside;
    let from = 0;
    let to = aside.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((aside[middle]?.number ?? number) < number) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Lets the ring begin at a request, or behind all. */
  #passAnswered(): void {
    const ring = this.#ring;
    while (this.#oldest < this.#next && ring[this.#oldest & (ring.length - 1)]?.number !== this.#oldest) {
      this.#oldest++;
    }
  }

  /** Makes a place for a number in the ring. */
  #reach(number: number): void {
    // With nothing in the ring, it begins here.
    if (this.#count === this.#aside.length) this.#oldest = number;
    else this.#passAnswered();
    while (number - this.#oldest >= this.#ring.length) {
      if (this.#ring.length < this.#ringMax) this.#grow();
      else this.#putAside();
    }
  }

  /** Takes the oldest request out of the ring. */
  #putAside(): void {
    const place = this.#oldest & (this.#ring.length - 1);
    const request = this.#ring[place];
    if (request !== undefined) this.#aside.push(request);
    this.#ring[place] = undefined;
    this.#oldest++;
    this.#passAnswered();
  }

  #grow(): void {
    const ring = this.#ring;
    const grown = new Array<Request | undefined>(ring.length * 2).fill(undefined);
    for (const request of ring) {
      if (request !== undefined) grown[request.number & (grown.length - 1)] = request;
    }
    this.#ring = grown;
  }
}
