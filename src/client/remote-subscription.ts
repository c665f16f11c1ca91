/**
 * A subscription on a server, as a program reads it. It resumes by itself.
 *
 * - What was received is kept until it is read; the server is granted as many bytes as were read, so that it is never more
 *   than `limits.clientPushBytes` and one push.
 * - After a lost connection, or when the server ended it for a reason that passes, it subscribes again from the cursor of
 *   what was received last. Nothing is read twice or left out.
 * - Every attempt has a number of its own, so that a push of an earlier one is told apart.
 */
import { type ErrorCode, errorCodes, toWarpError, WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { FrameReader } from "../net/protocol/frame-reader.ts";
import type { SubscribeQuery, SubscriptionMessage } from "../net/protocol/outcomes.ts";
import { readPush } from "../net/protocol/subscription/pushes.ts";
import { writeCredit, writeSubscribe, writeUnsubscribe } from "../net/protocol/subscription/requests.ts";
import { operation } from "../net/protocol/words.ts";
import type { Link } from "./link.ts";
import type { Receiver } from "./receivers.ts";

export interface RemoteSubscribeQuery extends Omit<SubscribeQuery, "from"> {
  /** A cursor, `"start"` (the default), `"end"`, or a time of recording. */
  readonly from?: string | { readonly time: number | Date } | undefined;
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of every interruption that is going to be repaired, and why. */
  readonly onInterrupted?: ((reason: WarpError) => void) | undefined;
}

/** Reasons of a server that is going away, or wants less of us: they pass. */
const passing: ReadonlySet<ErrorCode> = new Set(["CLOSED", "ENGINE_FAILED", "OUTCOME_UNKNOWN"]);
const retryMsMin = 50;
const retryMsMax = 5_000;

interface Received {
  readonly message: SubscriptionMessage;
  readonly bytes: number;
}

type Result = IteratorResult<SubscriptionMessage, undefined>;

export class RemoteSubscription implements AsyncIterableIterator<SubscriptionMessage, undefined>, Receiver {
  readonly #link: Link;
  readonly #query: SubscribeQuery;
  readonly #options: RemoteSubscribeQuery;
  readonly #onAbort = (): void => void this.return();
  #received: Received[] = [];
  /** Bytes that were read and are not granted again yet. */
  #toGrant = 0;
  #waiting: PromiseWithResolvers<Result> | undefined;
  /** The number of the present attempt; 0 without one. */
  #number = 0;
  /** Takes back the request of the present attempt, so that it is not sent again on another connection. */
  #asking = new AbortController();
  #attempts = 0;
  #retry: NodeJS.Timeout | undefined;
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
    this.#hasEnded = signal?.aborted === true;
    if (this.#hasEnded) return;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    link.receivers.add(this);
    this.#subscribe();
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
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** Ends the subscription; a reader that waits sees the end. */
  return(): Promise<Result> {
    this.#received = [];
    this.#leave();
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

  /** From the link: a push. */
  push(reader: FrameReader, bytes: number): void {
    if (this.#hasEnded) return;
    const pushed = readPush(reader);
    if (pushed === undefined) return;
    if (pushed.kind === "ended") {
      this.#interrupted(pushed.error);
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

  /** From the link: the connection was lost. What was subscribed on it is gone. */
  lost(reason: WarpError): void {
    if (this.#number === 0 || this.#hasEnded) return;
    this.#forgetNumber();
    this.#options.onInterrupted?.(reason);
    this.#subscribe();
  }

  /** From the link: there will be no connection any more. */
  failed(error: WarpError): void {
    this.#end(error);
  }

  /** Subscribes on the present connection, or on the next one. */
  #subscribe(): void {
    const subscription = this.#link.receivers.number(this);
    const from = this.#receivedCursor ?? this.#query.from;
    const request = { subscription, query: { ...this.#query, from }, credit: this.#credit() };
    this.#number = subscription;
    this.#toGrant = 0;
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    this.#link
      .request(operation.subscribe, false, "", { signal }, (writer, id) =>
        writeSubscribe(writer, id, request),
      )
      .then(
        () => {
          if (this.#number === subscription) this.#attempts = 0;
        },
        (thrown) => {
          if (this.#number === subscription) this.#interrupted(toWarpError(thrown, "INVALID_ARGUMENT"));
        },
      );
  }

  /** What is left of the bytes that may wait here. */
  #credit(): number {
    let waiting = 0;
    for (const { bytes } of this.#received) waiting += bytes;
    return Math.max(0, limits.clientPushBytes - waiting);
  }

  #grant(bytes: number): void {
    this.#toGrant += bytes;
    if (this.#toGrant < limits.clientPushBytes / 2 || this.#number === 0 || this.#hasEnded) return;
    const granted = this.#toGrant;
    this.#toGrant = 0;
    this.#link.post((writer) => writeCredit(writer, this.#number, granted));
  }

  /** The attempt has ended; most reasons pass. */
  #interrupted(error: WarpError): void {
    this.#forgetNumber();
    const isPassing = errorCodes[error.code] === "retry" || passing.has(error.code);
    if (!isPassing) {
      this.#end(error);
      return;
    }
    this.#options.onInterrupted?.(error);
    const longest = Math.min(retryMsMax, retryMsMin * 2 ** this.#attempts++);
    this.#retry = setTimeout(() => this.#subscribe(), longest * (0.5 + Math.random() / 2));
  }

  #read(message: SubscriptionMessage): Result {
    this.#readCursor = message.cursor;
    return { done: false, value: message };
  }

  /** Tells the server, if it knows of this. */
  #leave(): void {
    const number = this.#number;
    if (number === 0 || this.#hasEnded) return;
    this.#link
      .request(operation.unsubscribe, false, "", undefined, (writer, id) =>
        writeUnsubscribe(writer, id, number),
      )
      .catch(() => {
        // The connection is gone, and the subscription with it.
      });
  }

  #end(error: WarpError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#forgetNumber();
    clearTimeout(this.#retry);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#link.receivers.remove(this);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) this.#ended().then(waiting.resolve, waiting.reject);
  }

  #forgetNumber(): void {
    this.#asking.abort();
    this.#link.receivers.forget(this.#number);
    this.#number = 0;
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
