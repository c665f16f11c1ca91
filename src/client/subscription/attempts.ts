/**
 * Keeping something begun on a server that a lost connection, or a server that goes away, ends: it is begun again.
 *
 * - Every attempt has a number of its own, so that a push of an earlier one is told apart, and its request is taken back
 *   when the connection is lost, so that it is not sent again beside that of the next attempt.
 * - Reasons that do not pass end it, and so does the end of the client, whatever its reason.
 */
import { type ErrorCode, errorCodes, toWarpError, type WarpError } from "../../core/errors.ts";
import type { FrameReader } from "../../net/protocol/frame-reader.ts";
import type { FrameWriter } from "../../net/protocol/frame-writer.ts";
import { type Pushed, readPush } from "../../net/protocol/subscription/read-push.ts";
import { writeUnsubscribe } from "../../net/protocol/subscription/requests.ts";
import { operation } from "../../net/protocol/words.ts";
import { Backoff } from "../backoff.ts";
import { unreadable } from "../failures.ts";
import type { Link } from "../link.ts";
import type { Receiver } from "./receivers.ts";

/** Reasons of a server that is going away: they pass. */
const passing: ReadonlySet<ErrorCode> = new Set(["CLOSED", "ENGINE_FAILED", "OUTCOME_UNKNOWN"]);

export interface Attempted {
  /** The operation that begins it, and its request. */
  readonly operation: number;
  write(writer: FrameWriter, id: number, number: number): void;
  /** `pushed` is undefined for a kind that this version does not know. */
  push(pushed: Pushed | undefined, bytes: number): void;
  /** The server has answered that it is begun. */
  begun?(): void;
  /** It is going to be begun again, unless it is left in here. Does not throw. */
  interrupted(reason: WarpError): void;
  /** The client closes: what is still to be asked is asked now. */
  closing?(): void;
  /** It will not be begun again. */
  failed(error: WarpError): void;
}

export class Attempts implements Receiver {
  readonly #link: Link;
  readonly #attempted: Attempted;
  #number = 0;
  #asking = new AbortController();
  readonly #backoff = new Backoff();
  #isOver = false;

  constructor(link: Link, attempted: Attempted) {
    this.#link = link;
    this.#attempted = attempted;
  }

  /** The number of the present attempt; 0 without one. */
  get number(): number {
    return this.#number;
  }

  begin(): void {
    if (this.#isOver) return;
    const attempted = this.#attempted;
    this.#link.receivers.add(this);
    const number = this.#link.receivers.number(this);
    this.#number = number;
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    this.#link
      .request(attempted.operation, "", { signal }, (writer, id) => attempted.write(writer, id, number))
      .then(
        () => {
          if (this.#number !== number) return;
          this.#backoff.reset();
          attempted.begun?.();
        },
        (thrown) => {
          const error = toWarpError(thrown, "INVALID_ARGUMENT");
          // The server may have begun it all the same, and nobody would read what it sends.
          if (error.code === "TIMEOUT") this.#unsubscribe(number);
          if (this.#number === number) this.ended(error);
        },
      );
  }

  /** The server has ended it; most reasons pass. */
  ended(error: WarpError): void {
    this.#forgetNumber();
    if (this.#isOver) return;
    const { failure } = this.#link;
    if (failure !== undefined || (errorCodes[error.code] !== "retry" && !passing.has(error.code))) {
      this.failed(failure ?? error);
      return;
    }
    this.#backoff.wait(() => this.begin());
    this.#attempted.interrupted(error);
  }

  /** Nobody wants it any more. Tells the server, if it knows of it. */
  leave(): void {
    const number = this.#number;
    this.#stop();
    if (number !== 0) this.#unsubscribe(number);
  }

  #unsubscribe(number: number): void {
    this.#link
      .request(operation.unsubscribe, "", undefined, (writer, id) => writeUnsubscribe(writer, id, number))
      .catch(() => {
        // The connection is gone, and what was begun on it with it.
      });
  }

  push(reader: FrameReader, bytes: number): void {
    let pushed: Pushed | undefined;
    try {
      pushed = readPush(reader);
    } catch (thrown) {
      // The next attempt would be pushed the same.
      const number = this.#number;
      this.failed(unreadable("a push", thrown));
      this.#unsubscribe(number);
      return;
    }
    this.#attempted.push(pushed, bytes);
  }

  lost(reason: WarpError): void {
    if (this.#number === 0) return;
    this.#forgetNumber();
    this.#attempted.interrupted(reason);
    this.begin();
  }

  closing(): void {
    this.#attempted.closing?.();
  }

  failed(error: WarpError): void {
    if (this.#isOver) return;
    this.#stop();
    this.#attempted.failed(error);
  }

  #stop(): void {
    this.#isOver = true;
    this.#forgetNumber();
    this.#backoff.cancel();
    this.#link.receivers.remove(this);
  }

  #forgetNumber(): void {
    this.#asking.abort();
    this.#link.receivers.forget(this.#number);
    this.#number = 0;
  }
}
