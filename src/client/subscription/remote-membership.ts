/**
 * A membership of a group on a server, as a program works it off. It joins again by itself after a lost connection;
 * what was not answered by then is delivered again, to whoever has room.
 */
import { type DroppedEvents, droppedType } from "../../core/dropped.ts";
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import { Promised } from "../../core/promised.ts";
import { Unread } from "../../core/unread.ts";
import type { FrameWriter } from "../../net/protocol/frame-writer.ts";
import type { GroupAnswer, GroupDelivery, JoinQuery } from "../../net/protocol/outcomes.ts";
import { writeAnswer, writeJoin } from "../../net/protocol/subscription/groups.ts";
import type { Pushed } from "../../net/protocol/subscription/read-push.ts";
import { writeCredit } from "../../net/protocol/subscription/requests.ts";
import { operation } from "../../net/protocol/words.ts";
import { guarded } from "../callback.ts";
import { requireTypes, requireWhole } from "../encoding.ts";
import type { Link } from "../link.ts";
import { Attempts } from "./attempts.ts";

export interface RemoteJoinOptions extends JoinQuery {
  /** Deliveries that may be unanswered at once; 64 by default. */
  readonly window?: number | undefined;
  /**
   * Hears of dropped events that the group had not done yet, once for the group: of the entity, up to and including a seq, before
   * what is left. When it fails it is asked again, as for `retry`. Who does not ask is not told.
   */
  readonly onDropped?: ((gap: DroppedEvents) => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Hears of every interruption that is going to be repaired, and why. What it throws is a warning of the process. */
  readonly onInterrupted?: ((reason: WarpError) => void) | undefined;
}

/** An event to work off. Exactly one of the methods is to be called; without one within 30 s it comes again. */
export class RemoteWork {
  readonly event: StoredEvent;
  /** 1 for the first time. */
  readonly attempt: number;
  readonly #answer: (answer: GroupAnswer) => void;

  constructor({ event, attempt }: GroupDelivery, answer: (answer: GroupAnswer) => void) {
    this.event = event;
    this.attempt = attempt;
    this.#answer = answer;
  }

  /** It is done. */
  ack(): void {
    this.#answer({ action: "ack" });
  }

  /** It is to come again, after `delayMs` or a back-off. The entity's later events wait for it. */
  retry(delayMs?: number): void {
    requireWhole("delayMs", delayMs);
    this.#answer({ action: "retry", delayMs });
  }

  /** It is to be left out. */
  skip(): void {
    this.#answer({ action: "skip" });
  }

  /** It is kept aside for an operator; the entity's later events go on. `reason` is a short code. */
  park(reason?: string): void {
    if (reason !== undefined && !/^[\w.:-]{0,64}$/.test(reason)) {
      const why = "the reason for parking is at most 64 letters, digits, _ . : or -";
      throw new WarpError("INVALID_ARGUMENT", why);
    }
    this.#answer({ action: "park", reason });
  }
}

type Result = IteratorResult<RemoteWork, undefined>;

export class RemoteMembership implements AsyncIterableIterator<RemoteWork, undefined> {
  readonly #link: Link;
  readonly #attempts: Attempts;
  readonly #onDropped: RemoteJoinOptions["onDropped"];
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.return();
  readonly #unread = new Unread<GroupDelivery>();
  /** Read in this turn and not answered, under the number of the attempt. */
  readonly #read = new Set<number>();
  #isTelling = false;
  /** Acknowledged in this turn, under the number of the attempt. */
  #acks: number[] = [];
  #waiting: Promised<Result> | undefined;
  #hasEnded = false;
  #error: WarpError | undefined;

  /** Use `client.join`. */
  constructor(link: Link, group: string, options: RemoteJoinOptions) {
    const { prefix, types, from, window = 64, signal } = options;
    const onInterrupted = guarded("onInterrupted", options.onInterrupted);
    this.#link = link;
    this.#signal = signal;
    this.#onDropped = options.onDropped;
    this.#attempts = new Attempts(link, {
      operation: operation.join,
      write: (writer: FrameWriter, id: number, subscription: number) => {
        requireTypes(types);
        requireWhole("window", window);
        const gaps = options.onDropped !== undefined;
        const query = { prefix, types, from };
        writeJoin(writer, id, { subscription, group, window, query, gaps, reads: true });
      },
      push: (pushed: Pushed | undefined) => this.#take(pushed),
      interrupted: (reason: WarpError) => {
        // They are given to others.
        this.#unread.clear();
        this.#read.clear();
        this.#acks = [];
        onInterrupted(reason);
      },
      closing: () => this.#sendAcks(),
      failed: (error: WarpError) => this.#end(error),
    });
    this.#hasEnded = signal?.aborted === true;
    if (this.#hasEnded) return;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#attempts.begin();
  }

  /** One call at a time; another one is INVALID_ARGUMENT. */
  next(): Promise<Result> {
    const unread = this.#unread.shift();
    if (unread !== undefined) return Promise.resolve(this.#work(unread));
    if (this.#hasEnded) return this.#ended();
    if (this.#waiting !== undefined) {
      return Promise.reject(new WarpError("INVALID_ARGUMENT", "a membership is read by one reader"));
    }
    this.#waiting = new Promised<Result>();
    return this.#waiting.promise;
  }

  /** Leaves the group. */
  return(): Promise<Result> {
    this.#sendAcks();
    this.#attempts.leave();
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(pushed: Pushed | undefined): void {
    if (pushed?.kind === "ended") this.#attempts.ended(pushed.error);
    if (pushed?.kind === "withdrawn") this.#unread.withdraw(pushed.deliveries);
    if (pushed?.kind !== "deliveries") return;
    for (const delivery of pushed.deliveries) {
      if (delivery.event.type === droppedType) void this.#tellDropped(delivery);
      else this.#unread.add(delivery);
    }
    const waiting = this.#waiting;
    const first = waiting === undefined ? undefined : this.#unread.shift();
    if (first === undefined) return;
    this.#waiting = undefined;
    waiting?.resolve(this.#work(first));
  }

  async #tellDropped(delivery: GroupDelivery): Promise<void> {
    const { number } = this.#attempts;
    const { entity, seq: droppedTo } = delivery.event;
    try {
      await this.#onDropped?.({ entity, droppedTo });
      this.#answer(number, delivery, { action: "ack" });
    } catch {
      // It is tried again, and parked in the end.
      this.#answer(number, delivery, { action: "retry" });
    }
  }

  #work(delivery: GroupDelivery): Result {
    const { number } = this.#attempts;
    this.#tellRead(delivery);
    return {
      done: false,
      value: new RemoteWork(delivery, (answer) => this.#answer(number, delivery, answer)),
    };
  }

  /** Acknowledgements of a turn are one request, or as few as a server takes; one of an earlier attempt is of no interest. */
  #answer(number: number, { delivery }: GroupDelivery, answer: GroupAnswer): void {
    if (number !== this.#attempts.number || this.#hasEnded) return;
    this.#read.delete(delivery);
    if (answer.action !== "ack") {
      this.#send([delivery], answer);
    } else if (this.#acks.push(delivery) === 1) {
      queueMicrotask(() => this.#sendAcks());
    }
  }

  /** The server counts its time from when it is told; what is answered in the same turn needs none. */
  #tellRead({ delivery }: GroupDelivery): void {
    this.#read.add(delivery);
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      const { number } = this.#attempts;
      for (const read of this.#read)
        if (number !== 0) this.#link.post((writer) => writeCredit(writer, number, read));
      this.#read.clear();
    });
  }

  #sendAcks(): void {
    const acks = this.#acks;
    this.#acks = [];
    const most = limits.groupWindowMax;
    for (let i = 0; i < acks.length; i += most) this.#send(acks.slice(i, i + most), { action: "ack" });
  }

  #send(deliveries: readonly number[], answer: GroupAnswer): void {
    const request = { subscription: this.#attempts.number, deliveries, answer };
    if (request.subscription === 0) return;
    this.#link
      .request(operation.acknowledge, "", undefined, (writer, id) => writeAnswer(writer, id, request))
      .catch(() => {
        // What the server has not heard of, it delivers again.
      });
  }

  #end(error: WarpError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#unread.clear();
    this.#read.clear();
    this.#signal?.removeEventListener("abort", this.#onAbort);
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
