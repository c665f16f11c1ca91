/**
 * A subscription on a server, as a program reads it. It resumes by itself.
 *
 * - What was received is kept until it is read; the server is granted as many bytes as were read, so that it is never more
 *   than `limits.clientPushBytes` and one push.
 * - After a lost connection, or when the server ended it for a reason that passes, it subscribes again from the cursor of
 *   what was received last. Nothing is read twice or left out.
 */
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import { Promised } from "../../core/promised.ts";
import type { FrameWriter } from "../../net/protocol/frame-writer.ts";
import type { SubscribeQuery, SubscriptionMessage } from "../../net/protocol/outcomes.ts";
import type { Pushed } from "../../net/protocol/subscription/read-push.ts";
import { writeCredit, writeSubscribe } from "../../net/protocol/subscription/requests.ts";
import { operation } from "../../net/protocol/words.ts";
import { guarded } from "../callback.ts";
import { requireTypes } from "../encoding.ts";
import type { Link } from "../link.ts";
import { Attempts } from "./attempts.ts";

export interface RemoteSubscribeQuery extends Omit<SubscribeQuery, "from"> {
  /** A cursor, `"start"` (the default), `"end"`, or a time of recording. */
  readonly from?: string | { readonly time: number | Date } | undefined;
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of every interruption that is going to be repaired, and why. What it throws is a warning of the process. */
  readonly onInterrupted?: ((reason: WarpError) => void) | undefined;
}

interface Received {
  readonly message: SubscriptionMessage;
  readonly bytes: number;
}

type Result = IteratorResult<SubscriptionMessage, undefined>;

export class RemoteSubscription implements AsyncIterableIterator<SubscriptionMessage, undefined> {
  readonly #link: Link;
  readonly #attempts: Attempts;
  readonly #query: SubscribeQuery;
  readonly #options: RemoteSubscribeQuery;
  readonly #onAbort = (): void => void this.return();
  #received: Received[] = [];
  /** Bytes that were read and are not granted again yet. */
  #toGrant = 0;
  /** True from the server's answer on: before it there is nothing to grant to. */
  #hasBegun = false;
  #waiting: Promised<Result> | undefined;
  /** Of what was received last, and of what was read last. */
  #receivedCursor: string | undefined;
  #readCursor = "";
  #hasEnded = false;
  #error: WarpError | undefined;

  /** Use `client.subscribe`. */
  constructor(link: Link, options: RemoteSubscribeQuery) {
    this.#link = link;
    this.#options = options;
    const { entity, prefix, types, stored, from, signal } = options;
    this.#query = { entity, prefix, types, stored, from: fromOf(from) };
    this.#attempts = new Attempts(link, {
      operation: operation.subscribe,
      write: (writer, id, number) => this.#write(writer, id, number),
      push: (pushed, bytes) => this.#push(pushed, bytes),
      begun: () => {
        this.#hasBegun = true;
        this.#postGrant();
      },
      interrupted: guarded("onInterrupted", options.onInterrupted),
      failed: (error) => this.#end(error),
    });
    this.#hasEnded = signal?.aborted === true;
    if (this.#hasEnded) return;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#attempts.begin();
  }

  /** To go on from behind what was read last; empty before anything was. */
  get cursor(): string {
    return this.#readCursor;
  }

  /** One call at a time. */
  next(): Promise<Result> {
    const received = this.#received.shift();
    if (received !== undefined) {
      this.#grant(received.bytes);
      return Promise.resolve(this.#read(received.message));
    }
    if (this.#hasEnded) return this.#ended();
    if (this.#waiting !== undefined) {
      return Promise.reject(new WarpError("INVALID_ARGUMENT", "a subscription is read by one reader"));
    }
    this.#waiting = new Promised<Result>();
    return this.#waiting.promise;
  }

  /** Ends the subscription; a reader that waits sees the end. */
  return(): Promise<Result> {
    this.#received = [];
    this.#attempts.leave();
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The events alone, one after the other. */
  async *events(): AsyncGenerator<StoredEvent, undefined> {
    for await (const message of this) if (message.kind === "events") yield* message.events;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #push(pushed: Pushed | undefined, bytes: number): void {
    if (this.#hasEnded) return;
    if (pushed === undefined || pushed.kind === "deliveries" || pushed.kind === "withdrawn") {
      // Of a newer server; what it took is granted again all the same.
      this.#grant(bytes);
      return;
    }
    if (pushed.kind === "ended") {
      this.#attempts.ended(pushed.error);
      return;
    }
    this.#receivedCursor = pushed.cursor;
    if (pushed.kind === "moved") {
      this.#grant(bytes);
      if (this.#received.length === 0) this.#readCursor = pushed.cursor;
      return;
    }
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#received.push({ message: pushed, bytes });
      return;
    }
    this.#waiting = undefined;
    this.#grant(bytes);
    waiting.resolve(this.#read(pushed));
  }

  /** Goes on from what was received last. */
  #write(writer: FrameWriter, id: number, subscription: number): void {
    const from = this.#receivedCursor ?? this.#query.from;
    requireTypes(this.#query.types);
    this.#hasBegun = false;
    this.#toGrant = 0;
    const query = { ...this.#query, from };
    writeSubscribe(writer, id, { subscription, query, credit: this.#credit(), gaps: true });
  }

  /** What is left of the bytes that may wait here. */
  #credit(): number {
    let waiting = 0;
    for (const { bytes } of this.#received) waiting += bytes;
    return Math.max(0, limits.clientPushBytes - waiting);
  }

  #grant(bytes: number): void {
    this.#toGrant += bytes;
    if (this.#toGrant >= limits.clientPushBytes / 2) this.#postGrant();
  }

  /** What cannot be granted now is granted once the server has answered, or is part of the next request. */
  #postGrant(): void {
    const { number } = this.#attempts;
    const granted = this.#toGrant;
    if (!this.#hasBegun || number === 0 || granted === 0) return;
    if (this.#link.post((writer) => writeCredit(writer, number, granted))) this.#toGrant = 0;
  }

  #read(message: SubscriptionMessage): Result {
    this.#readCursor = message.cursor;
    return { done: false, value: message };
  }

  #end(error: WarpError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) this.#ended().then(waiting.resolve, waiting.reject);
  }

  /** The error once, then the end. */
  #ended(): Promise<Result> {
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
  }
}

function fromOf(from: RemoteSubscribeQuery["from"]): SubscribeQuery["from"] {
  if (typeof from !== "object") return from;
  const time = typeof from.time === "number" ? from.time : from.time.getTime();
  if (Number.isFinite(time)) return { time };
  throw new WarpError("INVALID_ARGUMENT", `not a time: ${String(from.time)}`);
}
