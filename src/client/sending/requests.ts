/**
 * The requests of a client that are not answered yet, in the order in which they were made.
 *
 * - They are numbered 1, 2, 3 … for as long as the client lives; the wire carries the lower 32 bits.
 * - A ring as long as the distance from the oldest to the newest. An abandoned request leaves a gap.
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

  /** It was written once more, with the id. What it leaves is never written to again: the old socket may still be holding it. */
  move(slab: Slab, from: number, to: number): void {
    this.naming = "id";
    this.group = undefined;
    this.slab = slab;
    this.from = from;
    this.to = to;
  }
}

export class Requests {
  /** A power of two long; as short as its callers are few. */
  #ring: (Request | undefined)[] = new Array(16).fill(undefined);
  #next = 1;
  #oldest = 1;
  #oldestWrite = 1;
  #count = 0;
  /** The number of the first that is not sent. */
  sent = 1;
  /** Unanswered requests that have been sent on the present connection. */
  underWay = 0;

  get count(): number {
    return this.#count;
  }

  /** The number that the next request will have. */
  get next(): number {
    // The id 0 on the wire is the connection.
    if (this.#next >>> 0 === 0) this.#next++;
    return this.#next;
  }

  /** The number of the oldest unanswered request, or one behind all: what is older is never sent again. */
  get oldest(): number {
    while (this.#oldest < this.#next && this.get(this.#oldest) === undefined) this.#oldest++;
    return this.#oldest;
  }

  /** The oldest write that is sent and unanswered, or a number behind it. */
  get oldestWrite(): number {
    while (this.#oldestWrite < this.sent && this.get(this.#oldestWrite)?.isWrite !== true)
      this.#oldestWrite++;
    return this.#oldestWrite;
  }

  get(number: number): Request | undefined {
    const request = this.#ring[number & (this.#ring.length - 1)];
    // A number from long ago shares its place with a newer one.
    return request?.number === number ? request : undefined;
  }

  /** The request of an id on the wire, if it is still waited for. */
  ofId(id: number): Request | undefined {
    const request = this.#ring[id & (this.#ring.length - 1)];
    return request !== undefined && request.number >>> 0 === id ? request : undefined;
  }

  add(request: Request): void {
    while (request.number - this.oldest >= this.#ring.length) this.#grow();
    this.#ring[request.number & (this.#ring.length - 1)] = request;
    this.#next = request.number + 1;
    this.#count++;
  }

  remove(request: Request): void {
    this.#ring[request.number & (this.#ring.length - 1)] = undefined;
    this.#count--;
    if (request.number < this.sent) this.underWay--;
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
    this.sent = this.#oldest;
    this.#oldestWrite = this.#oldest;
    this.underWay = 0;
  }

  *[Symbol.iterator](): Generator<Request> {
    for (let number = this.#oldest; number < this.#next; number++) {
      const request = this.get(number);
      if (request !== undefined) yield request;
    }
  }

  #grow(): void {
    const grown = new Array<Request | undefined>(this.#ring.length * 2).fill(undefined);
    for (const request of this) grown[request.number & (grown.length - 1)] = request;
    this.#ring = grown;
  }
}
