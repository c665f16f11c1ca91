/**
 * Which requests of which client sessions a shard has done: how a repeated request counts once.
 *
 * - A session lives `deliveryTtlMs` from its start; a request of an older one is refused (KEY_EXPIRED), never applied.
 * - No session begins more than `deliveryAheadMs` in the future of the time that clients are told: it would be remembered for as
 *   much longer.
 * - A window holds the newest results of a session in this shard. What fell out of it is refused the same way.
 * - A client says with each write which of its earlier ones it still waits for. What it has the answers of is forgotten, so a
 *   window holds about as many results as the session has callers. One that does not say so is remembered whole.
 * - Only appends are remembered: a conflict or a rejection changed nothing and may be decided again.
 * - Only durable results are stored: a result whose record a crash can still take must not outlive it.
 * - Windows take so much memory and no more. Beyond it those leave that were not used lately and are wholly in the shard's
 *   file. None of them begins later than `#absentTo`: of a session that is unknown here and does not begin later either, the
 *   file is asked before anything is decided, so that a window which is in memory always holds all that is known.
 */
import type { Delivery } from "../core/append-record.ts";
import {
  type DeliverySession,
  type DeliveryWindowDraft,
  type DeliveryWindows,
  numbersOfHead,
} from "../core/delivery-windows.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { encodedNumbers, numbersPerResult, Window } from "./deliveries/window.ts";
import type { Appended } from "./results.ts";

/** Windows that are looked at in each round, whether they may leave: at least so many, and this part of all. */
const lookedAtMin = 64;
const lookedAtPart = 1 / 64;

export class Deliveries {
  readonly #shard: number;
  /** What the windows may take. */
  #bytesMax = Number.POSITIVE_INFINITY;
  /** By session number; sessions of one number are told apart by their start. */
  readonly #windows = new Map<number, Window[]>();
  /** All windows; those that were looked at last are at the end. */
  readonly #order = new Set<Window>();
  readonly #dirty = new Set<Window>();
  /** Of sessions that begin up to here the shard's file may have windows that are not in memory. */
  #absentTo = Number.NEGATIVE_INFINITY;
  /** Sessions of which the file is asked, by their text. */
  readonly #recalls = new Map<string, Promise<void>>();
  /** Results up to this position are in the shard's file. */
  #settledPosition = 0;
  /** When that was heard, ms. */
  #now = 0;
  #bytes = 0;
  /** The one that was looked for last: clients send many requests in a row. */
  #recent: Window | undefined;

  constructor(shard: number) {
    this.#shard = shard;
  }

  /**
   * From now on windows take about so many bytes; what is not in the shard's file yet stays beyond that. Not before the journal
   * is replayed: what it adds to a window would be all that is known of it.
   */
  bound(bytesMax: number): void {
    this.#bytesMax = bytesMax;
  }

  /** Memory that the windows take, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The result of this request if it was done before, or "ask" when only the shard's file can say: {@link recall}. Throws
   * KEY_EXPIRED if that can no longer be known, and INVALID_ARGUMENT for what is no delivery id, or that of a new session of
   * the future, which begins behind what `sessionTime` says too: other shards may be ahead of this one.
   */
  find(delivery: Delivery, now: number, sessionTime = () => now): Appended | "ask" | undefined {
    requireWhole(delivery);
    if (delivery.sessionStart < now - limits.deliveryTtlMs)
      throw expired(delivery, { now: Math.max(now, sessionTime()) });
    const window = this.#windowOf(delivery);
    if (window === undefined) {
      if (delivery.sessionStart <= this.#absentTo) return "ask";
      const aheadOf = delivery.sessionStart - limits.deliveryAheadMs;
      if (aheadOf > now && aheadOf > sessionTime()) throw ofFuture(delivery, Math.max(now, sessionTime()));
      return undefined;
    }
    const result = window.find(delivery.counter, this.#shard);
    if (result === undefined && delivery.counter <= window.floor) throw expired(delivery);
    return result;
  }

  /** True when the shard's file may have windows that are not in memory. */
  get hasAbsent(): boolean {
    return this.#absentTo > Number.NEGATIVE_INFINITY;
  }

  /** True when it may have one of this session. */
  isAbsent(session: DeliverySession): boolean {
    return session.sessionStart <= this.#absentTo && this.#windowOf(session) === undefined;
  }

  /**
   * Takes a session's window in again from the shard's file; `read` finds it there, as it is stored. Only one such question
   * about a session is under way at a time: an older answer could lack what was remembered behind a newer one.
   */
  recall(session: DeliverySession, read: () => Promise<Uint8Array | undefined>): Promise<void> {
    const { sessionStart, sessionNumber } = session;
    const name = `${sessionStart}/${sessionNumber}`;
    const underWay = this.#recalls.get(name);
    if (underWay !== undefined) return underWay;
    const recalled = read()
      .then((results) => {
        if (this.#windowOf(session) !== undefined) return;
        // An empty one says that the file has nothing.
        const window = this.#open({ sessionStart, sessionNumber });
        if (results !== undefined) this.#fill(window, results);
      })
      .finally(() => this.#recalls.delete(name));
    this.#recalls.set(name, recalled);
    return recalled;
  }

  remember(delivery: Delivery, result: Appended): void {
    const window = this.#windowOf(delivery) ?? this.#open(delivery);
    const { counter, behind } = delivery;
    if (behind !== undefined) window.forgetBelow(counter - behind);
    const before = window.bytes;
    window.add(counter, result.firstSeq, result.count, result.position);
    this.#bytes += window.bytes - before;
    if (window.isDirty) return;
    window.isDirty = true;
    this.#dirty.add(window);
  }

  /**
   * The windows that changed since the last call, with their results up to `committedPosition`, to be stored; what is
   * newer stays to be stored the next time. Undefined when there are none. Lets sessions go that have ended and, while there are
   * too many, those whose windows are stored up to `settledPosition`.
   */
  takeDirty(now: number, committedPosition: number, settledPosition: number): DeliveryWindows | undefined {
    this.#settledPosition = settledPosition;
    this.#now = now;
    const stored: { readonly window: Window; readonly results: number }[] = [];
    let length = 0;
    for (const window of this.#dirty) {
      const results = window.upTo(committedPosition);
      if (results === 0) continue;
      stored.push({ window, results });
      length += numbersOfHead + encodedNumbers(results);
    }
    // One piece of memory for all: an object for each would cost more than what is in it, here and in the writer.
    const numbers = new Float64Array(length);
    let at = 0;
    for (const { window, results } of stored) {
      at = window.encode(numbers, at, results);
      if (results < window.count) continue;
      window.isDirty = false;
      this.#dirty.delete(window);
    }
    this.#look(Math.max(lookedAtMin, Math.ceil(this.#order.size * lookedAtPart)));
    // Twice: a window that was used since the last time is passed over once.
    if (this.#bytes > this.#bytesMax) this.#look(this.#order.size * 2);
    return length === 0 ? undefined : { shard: this.#shard, usedAt: now, numbers };
  }

  /** Takes in a stored window. */
  restore(draft: DeliveryWindowDraft): void {
    const window = this.#windowOf(draft) ?? this.#open(draft);
    this.#fill(window, draft.results);
  }

  /** The shard's file may have windows of sessions that begin up to `start`, and they were not restored. */
  noteAbsent(start: number): void {
    this.#absentTo = Math.max(this.#absentTo, start);
  }

  /** Looks at some windows whether they may leave, until there is room or so many were looked at. */
  #look(windows: number): void {
    let left = windows;
    const endedBefore = this.#now - limits.deliveryTtlMs;
    for (const window of this.#order) {
      if (left-- <= 0) return;
      const isStored = !window.isDirty && window.newestPosition <= this.#settledPosition;
      if (isStored && window.sessionStart < endedBefore) {
        this.#remove(window);
      } else if (isStored && !window.isRecent && this.#bytes > this.#bytesMax) {
        this.#remove(window);
        this.noteAbsent(window.sessionStart);
      } else {
        window.isRecent = false;
        this.#order.delete(window);
        this.#order.add(window);
      }
    }
  }

  #remove(window: Window): void {
    const { sessionNumber } = window;
    this.#order.delete(window);
    this.#bytes -= window.bytes;
    if (this.#recent === window) this.#recent = undefined;
    const others = this.#windows.get(sessionNumber)?.filter((one) => one !== window) ?? [];
    if (others.length === 0) this.#windows.delete(sessionNumber);
    else this.#windows.set(sessionNumber, others);
  }

  /** Puts stored results into a window; those that it has stay. */
  #fill(window: Window, results: Uint8Array): void {
    const numbers = new Float64Array(results.slice().buffer);
    const before = window.bytes;
    for (let i = 1; i + numbersPerResult <= numbers.length; i += numbersPerResult) {
      const [counter = 0, firstSeq = 0, count = 0, position = 0] = numbers.subarray(i, i + numbersPerResult);
      window.add(counter, firstSeq, count, position);
    }
    window.floor = Math.max(window.floor, numbers[0] ?? 0);
    this.#bytes += window.bytes - before;
  }

  #windowOf(session: DeliverySession): Window | undefined {
    const { sessionStart, sessionNumber } = session;
    const recent = this.#recent;
    if (recent?.sessionNumber === sessionNumber && recent.sessionStart === sessionStart) {
      recent.isRecent = true;
      return recent;
    }
    const found = this.#windows.get(sessionNumber)?.find((window) => window.sessionStart === sessionStart);
    if (found === undefined) return undefined;
    found.isRecent = true;
    this.#recent = found;
    return found;
  }

  #open(session: DeliverySession): Window {
    // Sessions that only ask bring no round about.
    if (this.#bytes > this.#bytesMax) this.#look(lookedAtMin);
    const window = new Window(session);
    this.#order.add(window);
    this.#bytes += window.bytes;
    const same = this.#windows.get(session.sessionNumber);
    if (same === undefined) this.#windows.set(session.sessionNumber, [window]);
    else same.push(window);
    return window;
  }
}

/** Numbers that are not whole could be neither compared nor stored. */
function requireWhole({ sessionStart, sessionNumber, counter, behind = 0 }: Delivery): void {
  if (isWhole(sessionStart) && isWhole(sessionNumber) && isWhole(counter) && isWhole(behind)) return;
  throw new WarpError(
    "INVALID_ARGUMENT",
    "a delivery id is whole numbers from 0: start, number, counter, and perhaps how far it reaches back",
  );
}

function isWhole(part: number): boolean {
  return Number.isSafeInteger(part) && part >= 0;
}

function ofFuture(delivery: Delivery, now: number): WarpError {
  const start = new Date(delivery.sessionStart);
  const said = Number.isNaN(start.getTime()) ? String(delivery.sessionStart) : start.toISOString();
  const message = `the session is said to begin at ${said}, which is in the future of this clock`;
  return new WarpError("INVALID_ARGUMENT", message, { limit: "deliveryAheadMs", now });
}

/** `now` is said where the session is too old, so that a client with another clock begins the next at the right time. */
function expired(delivery: Delivery, time: { readonly now?: number } = {}): WarpError {
  return new WarpError(
    "KEY_EXPIRED",
    `request ${delivery.counter} of a session of ${new Date(delivery.sessionStart).toISOString()} is too old to ` +
      "tell whether it was done before; it was not applied now",
    {
      sessionStart: delivery.sessionStart,
      sessionNumber: delivery.sessionNumber,
      counter: delivery.counter,
      ...time,
    },
  );
}
