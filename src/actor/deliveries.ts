/**
 * Which requests of which client sessions a shard has done: how a repeated request counts once.
 *
 * - A session lives `deliveryTtlMs` from its start; a request of an older one is refused (KEY_EXPIRED), never applied.
 * - No session begins more than `deliveryAheadMs` in the future: it would be remembered for as much longer.
 * - A window holds the newest results of a session in this shard. What fell out of it is refused the same way.
 * - A client says with each write which of its earlier ones it still waits for. What it has the answers of is forgotten, so a
 *   window holds about as many results as the session has callers. One that does not say so is remembered whole.
 * - Only appends are remembered: a conflict or a rejection changed nothing and may be decided again.
 * - Only durable results are stored: a result whose record a crash can still take must not outlive it.
 */
import type { Delivery } from "../core/append-record.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { DeliveryWindowDraft } from "../shard/messages.ts";
import type { Appended } from "./results.ts";

/** counter, first seq, count, position. */
const numbersPerResult = 4;
/** A client with one caller waits for one write; most sessions are never more than that. */
const resultsMin = 4;
/** Numbers of a stored window: its floor, and its results. */
const encodedNumbers = (results: number): number => 1 + results * numbersPerResult;
/** Sessions that have ended are looked for so often. */
const endedEveryMs = 60_000;

/** The newest results of a session, in the order of their positions: a ring of numbers that grows up to `deliveryWindow` results. */
class Window {
  readonly sessionStart: number;
  readonly sessionNumber: number;
  #ring = new Float64Array(resultsMin * numbersPerResult);
  #count = 0;
  /** Where the oldest result is. */
  #oldest = 0;
  /** The highest counter that was remembered: what is beyond it is new, which is nearly every request. */
  #highest = 0;
  /** Counters up to this one may have been forgotten. */
  floor = 0;
  isDirty = false;

  constructor(session: { readonly sessionStart: number; readonly sessionNumber: number }) {
    this.sessionStart = session.sessionStart;
    this.sessionNumber = session.sessionNumber;
  }

  get count(): number {
    return this.#count;
  }

  find(counter: number, shard: number): Appended | undefined {
    const at = this.#indexOf(counter);
    if (at < 0) return undefined;
    const [, firstSeq = 0, count = 0, position = 0] = this.#ring.subarray(at, at + numbersPerResult);
    return { ok: true, seq: firstSeq + count - 1, firstSeq, count, duplicate: true, shard, position };
  }

  add(counter: number, firstSeq: number, count: number, position: number): void {
    if (this.#indexOf(counter) >= 0) return;
    if (this.#count * numbersPerResult === this.#ring.length) {
      if (this.#count < limits.deliveryWindow) this.#grow();
      else this.#forgetOldest();
    }
    const ring = this.#ring;
    const at = this.#at(this.#count);
    ring[at] = counter;
    ring[at + 1] = firstSeq;
    ring[at + 2] = count;
    ring[at + 3] = position;
    this.#count++;
    if (counter > this.#highest) this.#highest = counter;
  }

  /** Forgets the oldest results, as long as their counters are below this one: nobody asks for them again. */
  forgetBelow(counter: number): void {
    while (this.#count > 0 && (this.#ring[this.#oldest] ?? 0) < counter) this.#forgetOldest();
  }

  /** How many of its results lie at or before a position. */
  upTo(committedPosition: number): number {
    let results = this.#count;
    while (results > 0 && (this.#ring[this.#at(results - 1) + 3] ?? 0) > committedPosition) results--;
    return results;
  }

  /** Writes the floor and its oldest so many results; returns the place behind them. */
  encode(target: Float64Array, to: number, results: number): number {
    target[to] = this.floor;
    this.#copy(target, to + 1, results);
    return to + encodedNumbers(results);
  }

  /** The place of a result, 0 being the oldest. */
  #at(index: number): number {
    const at = this.#oldest + index * numbersPerResult;
    return at < this.#ring.length ? at : at - this.#ring.length;
  }

  #indexOf(counter: number): number {
    if (counter > this.#highest) return -1;
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at(i);
      if (this.#ring[at] === counter) return at;
    }
    return -1;
  }

  #forgetOldest(): void {
    this.floor = Math.max(this.floor, this.#ring[this.#oldest] ?? 0);
    this.#oldest = this.#at(1);
    this.#count--;
  }

  /** Copies the oldest so many results. */
  #copy(target: Float64Array, to: number, results: number): void {
    const ring = this.#ring;
    for (let i = 0; i < results; i++) {
      const at = this.#at(i);
      const place = to + i * numbersPerResult;
      for (let k = 0; k < numbersPerResult; k++) target[place + k] = ring[at + k] ?? 0;
    }
  }

  #grow(): void {
    const grown = new Float64Array(Math.min(limits.deliveryWindow, this.#count * 2) * numbersPerResult);
    this.#copy(grown, 0, this.#count);
    this.#ring = grown;
    this.#oldest = 0;
  }
}

export class Deliveries {
  readonly #shard: number;
  /** By session number; sessions of one number are told apart by their start. */
  readonly #windows = new Map<number, Window[]>();
  readonly #dirty = new Set<Window>();
  /** When sessions that have ended were last looked for. */
  #lookedAt = 0;
  /** The one that was looked for last: clients send many requests in a row. */
  #recent: Window | undefined;

  constructor(shard: number) {
    this.#shard = shard;
  }

  /**
   * The result of this request if it was done before; throws KEY_EXPIRED if that can no longer be known, and
   * INVALID_ARGUMENT for what is no delivery id, or that of a new session of the future.
   */
  find(delivery: Delivery, now: number): Appended | undefined {
    requireWhole(delivery);
    if (delivery.sessionStart < now - limits.deliveryTtlMs) throw expired(delivery);
    const window = this.#windowOf(delivery);
    if (window === undefined && delivery.sessionStart > now + limits.deliveryAheadMs)
      throw ofFuture(delivery);
    const result = window?.find(delivery.counter, this.#shard);
    if (window !== undefined && result === undefined && delivery.counter <= window.floor)
      throw expired(delivery);
    return result;
  }

  remember(delivery: Delivery, result: Appended): void {
    const window = this.#windowOf(delivery) ?? this.#open(delivery);
    const { counter, behind } = delivery;
    if (behind !== undefined) window.forgetBelow(counter - behind);
    window.add(counter, result.firstSeq, result.count, result.position);
    if (window.isDirty) return;
    window.isDirty = true;
    this.#dirty.add(window);
  }

  /**
   * The windows that changed since the last call, with their results up to `committedPosition`, to be stored; what is
   * newer stays to be stored the next time. Drops sessions that have ended.
   */
  takeDirty(now: number, committedPosition: number): DeliveryWindowDraft[] {
    const stored: { readonly window: Window; readonly results: number }[] = [];
    let numbers = 0;
    for (const window of this.#dirty) {
      const results = window.upTo(committedPosition);
      if (results === 0) continue;
      stored.push({ window, results });
      numbers += encodedNumbers(results);
    }
    // One piece of memory for all: a buffer for each would cost more than what is in it, here and in the writer.
    const encoded = new Float64Array(numbers);
    const drafts: DeliveryWindowDraft[] = [];
    let at = 0;
    for (const { window, results } of stored) {
      const from = at;
      at = window.encode(encoded, at, results);
      if (results === window.count) {
        window.isDirty = false;
        this.#dirty.delete(window);
      }
      const { sessionStart, sessionNumber } = window;
      const bytes = new Uint8Array(encoded.buffer, from * 8, (at - from) * 8);
      drafts.push({ shard: this.#shard, sessionStart, sessionNumber, usedAt: now, results: bytes });
    }
    if (Math.abs(now - this.#lookedAt) >= endedEveryMs) this.#dropEnded(now);
    return drafts;
  }

  #dropEnded(now: number): void {
    this.#lookedAt = now;
    for (const [number, windows] of this.#windows) {
      const alive = windows.filter((window) => window.sessionStart >= now - limits.deliveryTtlMs);
      if (alive.length === 0) this.#windows.delete(number);
      else if (alive.length < windows.length) this.#windows.set(number, alive);
    }
    this.#recent = undefined;
  }

  /** Takes in a stored window; results that are known already stay. */
  restore(draft: DeliveryWindowDraft): void {
    const numbers = new Float64Array(draft.results.slice().buffer);
    const window = this.#windowOf(draft) ?? this.#open(draft);
    for (let i = 1; i + numbersPerResult <= numbers.length; i += numbersPerResult) {
      const [counter = 0, firstSeq = 0, count = 0, position = 0] = numbers.subarray(i, i + numbersPerResult);
      window.add(counter, firstSeq, count, position);
    }
    window.floor = Math.max(window.floor, numbers[0] ?? 0);
  }

  #windowOf(session: { readonly sessionStart: number; readonly sessionNumber: number }): Window | undefined {
    const { sessionStart, sessionNumber } = session;
    const recent = this.#recent;
    if (recent?.sessionNumber === sessionNumber && recent.sessionStart === sessionStart) return recent;
    const found = this.#windows.get(sessionNumber)?.find((window) => window.sessionStart === sessionStart);
    if (found !== undefined) this.#recent = found;
    return found;
  }

  #open(session: { readonly sessionStart: number; readonly sessionNumber: number }): Window {
    const window = new Window(session);
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

function ofFuture(delivery: Delivery): WarpError {
  const start = new Date(delivery.sessionStart);
  const said = Number.isNaN(start.getTime()) ? String(delivery.sessionStart) : start.toISOString();
  const message = `the session is said to begin at ${said}, which is in the future of this clock`;
  return new WarpError("INVALID_ARGUMENT", message, { limit: "deliveryAheadMs" });
}

function expired(delivery: Delivery): WarpError {
  return new WarpError(
    "KEY_EXPIRED",
    `request ${delivery.counter} of a session of ${new Date(delivery.sessionStart).toISOString()} is too old to ` +
      "tell whether it was done before; it was not applied now",
    { sessionStart: delivery.sessionStart, sessionNumber: delivery.sessionNumber, counter: delivery.counter },
  );
}
