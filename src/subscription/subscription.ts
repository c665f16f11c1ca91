/**
 * A subscription as a program reads it: an async iterator of pages, marks, erasures and gaps.
 *
 * Nothing is read ahead: a program that does not ask costs a position per shard. Whoever stops in the middle closes it.
 * What waits is handed out without what was erased meanwhile.
 */
import { WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import type { Chunk } from "./chunk.ts";
import type { Follower, Sink } from "./follower.ts";
import type { FollowQuery, Hub } from "./hub.ts";

export interface SubscribeQuery extends FollowQuery {
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
}

/** What a subscription is read as. With each comes the cursor to go on from behind it. */
export type SubscriptionMessage =
  /** Events, in the order of their positions within a shard; at least one. */
  | { readonly kind: "events"; readonly events: readonly StoredEvent[]; readonly cursor: string }
  /** Everything that is durable by now has been read. What follows is live. */
  | { readonly kind: "caughtUp"; readonly cursor: string }
  /** The entity and everything before this was erased. Its id may be empty, when it is no longer known. */
  | { readonly kind: "erased"; readonly entity: string; readonly cursor: string }
  /**
   * Retention has dropped events of the entity before they were read here: some of those up to and including seq `droppedTo`, all
   * of which are gone.
   */
  | {
      readonly kind: "dropped";
      readonly entity: string;
      readonly droppedTo: number;
      readonly cursor: string;
    };

/** Messages that may wait for a program that asked for one, when the subscription goes live. */
const readyMax = 256;

/** A message, and what it was made of. */
interface Ready {
  readonly message: SubscriptionMessage;
  readonly chunk: Chunk | undefined;
}

export class Subscription implements AsyncIterableIterator<SubscriptionMessage, undefined> {
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.return();
  #follower: Follower | undefined;
  /** What one page brought beyond what was asked for. */
  #ready: Ready[] = [];
  #waiting: PromiseWithResolvers<Ready | undefined> | undefined;
  /** Whose events are handed out one by one, and how many were. */
  #given: { readonly chunk: Chunk; count: number } | undefined;
  #cursor = "";
  #hasEnded = false;
  #error: WarpError | undefined;

  /** Use `warp.subscribe`. Errors: INVALID_ARGUMENT. */
  constructor(hub: Hub, query: SubscribeQuery) {
    this.#signal = query.signal;
    this.#hasEnded = query.signal?.aborted === true;
    if (this.#hasEnded) return;
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#follower = hub.follow(query, this.#sink());
  }

  /** To go on from behind what was read last; empty before anything was. */
  get cursor(): string {
    return this.#cursor;
  }

  /** One call at a time. */
  async next(): Promise<IteratorResult<SubscriptionMessage, undefined>> {
    const ready = await this.#next();
    return ready === undefined ? { done: true, value: undefined } : { done: false, value: ready.message };
  }

  #next(): Promise<Ready | undefined> {
    const ready = this.#ready.shift();
    if (ready !== undefined) {
      this.#cursor = ready.message.cursor;
      return Promise.resolve(ready);
    }
    if (this.#hasEnded) return this.#ended();
    if (this.#waiting !== undefined) {
      return Promise.reject(new WarpError("INVALID_ARGUMENT", "a subscription is read by one reader"));
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.#follower?.wake();
    return promise;
  }

  /** Ends the subscription; a reader that waits sees the end. */
  return(): Promise<IteratorResult<SubscriptionMessage, undefined>> {
    this.#ready = [];
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The events alone, one after the other. */
  async *events(): AsyncGenerator<StoredEvent, undefined> {
    try {
      for (let ready = await this.#next(); ready !== undefined; ready = await this.#next()) {
        this.#given = ready.chunk === undefined ? undefined : { chunk: ready.chunk, count: 0 };
        for (let given = this.#given; given !== undefined; given = this.#given) {
          const event = given.chunk.events[given.count++];
          if (event === undefined) break;
          yield event;
        }
        this.#given = undefined;
      }
    } finally {
      this.#given = undefined;
      await this.return();
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #sink(): Sink {
    const hasRoom = () => this.#waiting !== undefined;
    const hasRoomToGoLive = () => this.#ready.length < readyMax;
    return {
      get hasRoom() {
        return hasRoom();
      },
      get hasRoomToGoLive() {
        return hasRoomToGoLive();
      },
      started: (cursor) => {
        this.#cursor = cursor;
      },
      chunk: (chunk, cursor) => this.#give({ message: messageOf(chunk, cursor), chunk }),
      caughtUp: (cursor) => this.#give({ message: { kind: "caughtUp", cursor }, chunk: undefined }),
      moved: (cursor) => {
        if (this.#ready.length === 0) this.#cursor = cursor;
      },
      withdraw: (shard, numbers) => this.#withdraw(shard, numbers),
      ended: (error) => this.#end(error),
    };
  }

  #give(ready: Ready): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#ready.push(ready);
      return;
    }
    this.#waiting = undefined;
    this.#cursor = ready.message.cursor;
    waiting.resolve(ready);
  }

  #withdraw(shard: number, numbers: ReadonlySet<number>): void {
    this.#ready = this.#ready.flatMap((ready) => {
      const { message, chunk } = ready;
      if (chunk?.shard !== shard) return [ready];
      const left = chunk.without(numbers);
      if (left === chunk) return [ready];
      return left === undefined ? [] : [{ message: messageOf(left, message.cursor), chunk: left }];
    });
    const given = this.#given;
    if (given?.chunk.shard !== shard) return;
    const chunk = given.chunk.without(numbers, given.count);
    this.#given = chunk === undefined ? undefined : { chunk, count: given.count };
  }

  #end(thrown: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = thrown === undefined ? undefined : (thrown as WarpError);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#follower?.end();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) this.#ended().then(waiting.resolve, waiting.reject);
  }

  /** The error once, then the end. */
  #ended(): Promise<undefined> {
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve(undefined) : Promise.reject(error);
  }
}

function messageOf(chunk: Chunk, cursor: string): SubscriptionMessage {
  if (chunk.erased !== undefined) return { kind: "erased", entity: chunk.erased, cursor };
  if (chunk.gap !== undefined) {
    const { entity, droppedTo } = chunk.gap;
    return { kind: "dropped", entity, droppedTo, cursor };
  }
  return { kind: "events", events: chunk.events, cursor };
}
