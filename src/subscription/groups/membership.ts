/**
 * A member of a group as a program reads it: an async iterator of deliveries, each of which is to be answered.
 *
 * Whoever stops reading leaves the group, and what was not answered goes to others.
 */
import { type DroppedEvents, droppedType } from "../../core/dropped.ts";
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import { Unread } from "../../core/unread.ts";
import type { Groups, JoinQuery } from "./groups.ts";
import type { GroupAnswer, GroupDelivery, Member } from "./member.ts";

export interface JoinOptions extends JoinQuery {
  /** Deliveries that may be unanswered at once; 64 by default. */
  readonly window?: number | undefined;
  /**
   * Hears of dropped events that the group had not done yet, once for the group: of the entity, up to and including a seq, before
   * what is left. When it fails it is asked again, as for `retry`. Who does not ask is not told.
   */
  readonly onDropped?: ((gap: DroppedEvents) => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An event to work off. Exactly one of the methods is to be called; without one within 30 s it comes again. */
export class Work {
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
    this.#answer({ action: "retry", delayMs });
  }

  /** It is to be left out. */
  skip(): void {
    this.#answer({ action: "skip" });
  }

  /** It is kept aside for an operator; the entity's later events go on. `reason` is a short code. */
  park(reason?: string): void {
    this.#answer({ action: "park", reason });
  }
}

type Result = IteratorResult<Work, undefined>;

export class Membership implements AsyncIterableIterator<Work, undefined> {
  readonly #member: Member;
  readonly #onDropped: JoinOptions["onDropped"];
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.return();
  readonly #unread = new Unread<GroupDelivery>();
  #waiting: PromiseWithResolvers<Result> | undefined;
  #hasEnded = false;
  #error: WarpError | undefined;

  /** Use `warp.join`. Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED. */
  constructor(groups: Groups, name: string, options: JoinOptions) {
    const window = options.window ?? 64;
    this.#signal = options.signal;
    this.#onDropped = options.onDropped;
    this.#member = groups.join(name, options, {
      window,
      hasRoom: true,
      wantsGaps: options.onDropped !== undefined,
      tellsReads: true,
      joined: () => {},
      deliver: (deliveries) => this.#give(deliveries),
      withdraw: (deliveries) => this.#unread.withdraw(deliveries),
      ended: (error) => this.#end(error),
    });
    if (this.#signal?.aborted === true) this.#onAbort();
    else this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** One call at a time; another one is INVALID_ARGUMENT. */
  next(): Promise<Result> {
    const unread = this.#unread.shift();
    if (unread !== undefined) return Promise.resolve(this.#work(unread));
    if (this.#hasEnded) return this.#ended();
    if (this.#waiting !== undefined) {
      return Promise.reject(new WarpError("INVALID_ARGUMENT", "a membership is read by one reader"));
    }
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** Leaves the group. */
  return(): Promise<Result> {
    this.#member.end();
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #give(deliveries: readonly GroupDelivery[]): void {
    for (const delivery of deliveries) {
      if (delivery.event.type === droppedType) void this.#tellDropped(delivery);
      else this.#unread.add(delivery);
    }
    const waiting = this.#waiting;
    const first = waiting === undefined ? undefined : this.#unread.shift();
    if (first === undefined) return;
    this.#waiting = undefined;
    waiting?.resolve(this.#work(first));
  }

  async #tellDropped({ delivery, event }: GroupDelivery): Promise<void> {
    try {
      await this.#onDropped?.({ entity: event.entity, droppedTo: event.seq });
      this.#member.answer([delivery], { action: "ack" });
    } catch {
      // It is tried again, and parked in the end.
      this.#member.answer([delivery], { action: "retry" });
    }
  }

  #work(delivery: GroupDelivery): Result {
    this.#member.read(delivery.delivery);
    const answer = (given: GroupAnswer) => this.#member.answer([delivery.delivery], given);
    return { done: false, value: new Work(delivery, answer) };
  }

  #end(error: WarpError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#unread.clear();
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
