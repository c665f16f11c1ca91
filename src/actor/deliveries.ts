/**
 * Which requests of which client sessions a shard has done: how a repeated request counts once.
 *
 * - A session lives `deliveryTtlMs` from its start; a request of an older one is refused (KEY_EXPIRED), never applied.
 * - No session begins more than `deliveryAheadMs` in the future: it would be remembered for as much longer.
 * - A window holds the newest results of a session in this shard. What fell out of it is refused the same way.
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
const resultsMin = 16;

/** The newest results of a session: a ring of numbers that grows up to `deliveryWindow` results. */
class Window {
  readonly sessionStart: number;
  readonly sessionNumber: number;
  #ring = new Float64Array(resultsMin * numbersPerResult);
  #count = 0;
  /** Where the next result goes: the place of the oldest once the ring is full. */
  #next = 0;
  /** The highest counter that was remembered: what is beyond it is new, which is nearly every request. */
  #highest = 0;
  /** Counters up to this one may have been forgotten. */
  floor = 0;
  isDirty = false;

  constructor(session: { readonly sessionStart: number; readonly sessionNumber: number }) {
    this.sessionStart = session.sessionStart;
    this.sessionNumber = session.sessionNumber;
  }

  find(counter: number, shard: number): Appended | undefined {
    const at = this.#indexOf(counter);
    if (at < 0) return undefined;
    const [, firstSeq = 0, count = 0, position = 0] = this.#ring.subarray(at, at + numbersPerResult);
    return { ok: true, seq: firstSeq + count - 1, firstSeq, count, duplicate: true, shard, position };
  }

  add(counter: number, firstSeq: number, count: number, position: number): void {
    if (this.#indexOf(counter) >= 0) return;
    if (this.#count * numbersPerResult === this.#ring.length && this.#count < limits.deliveryWindow)
      this.#grow();
    const ring = this.#ring;
    const at = this.#next;
    if (this.#count * numbersPerResult === ring.length) this.floor = Math.max(this.floor, ring[at] ?? 0);
    else this.#count++;
    ring[at] = counter;
    ring[at + 1] = firstSeq;
    ring[at + 2] = count;
    ring[at + 3] = position;
    this.#next = at + numbersPerResult === ring.length ? 0 : at + numbersPerResult;
    if (counter > this.#highest) this.#highest = counter;
  }

  /** The floor and the results up to `committedPosition`, oldest first; undefined when there is none. */
  encode(
    committedPosition: number,
  ): { readonly numbers: Float64Array; readonly isWhole: boolean } | undefined {
    const ordered = this.#ordered();
    const numbers = new Float64Array(1 + ordered.length);
    numbers[0] = this.floor;
    let to = 1;
    for (let at = 0; at < ordered.length; at += numbersPerResult) {
      if ((ordered[at + 3] ?? 0) > committedPosition) continue;
      numbers.set(ordered.subarray(at, at + numbersPerResult), to);
      to += numbersPerResult;
    }
    return to === 1 ? undefined : { numbers: numbers.slice(0, to), isWhole: to === numbers.length };
  }

  #indexOf(counter: number): number {
    if (counter > this.#highest) return -1;
    const ring = this.#ring;
    for (let at = 0; at < this.#count * numbersPerResult; at += numbersPerResult) {
      if (ring[at] === counter) return at;
    }
    return -1;
  }

  #ordered(): Float64Array {
    const used = this.#count * numbersPerResult;
    const ordered = new Float64Array(used);
    const oldest = used === this.#ring.length ? this.#next : 0;
    ordered.set(this.#ring.subarray(oldest, used));
    ordered.set(this.#ring.subarray(0, oldest), used - oldest);
    return ordered;
  }

  #grow(): void {
    const results = Math.min(limits.deliveryWindow, this.#count * 2);
    const grown = new Float64Array(results * numbersPerResult);
    grown.set(this.#ordered());
    this.#ring = grown;
    this.#next = this.#count * numbersPerResult;
  }
}

export class Deliveries {
  readonly #shard: number;
  /** By session number; sessions of one number are told apart by their start. */
  readonly #windows = new Map<number, Window[]>();
  readonly #dirty = new Set<Window>();
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
    window.add(delivery.counter, result.firstSeq, result.count, result.position);
    if (window.isDirty) return;
    window.isDirty = true;
    this.#dirty.add(window);
  }

  /**
   * The windows that changed since the last call, with their results up to `committedPosition`, to be stored; what is
   * newer stays to be stored the next time. Drops sessions that have ended.
   */
  takeDirty(now: number, committedPosition: number): DeliveryWindowDraft[] {
    const drafts: DeliveryWindowDraft[] = [];
    for (const window of this.#dirty) {
      const encoded = window.encode(committedPosition);
      if (encoded === undefined) continue;
      if (encoded.isWhole) {
        window.isDirty = false;
        this.#dirty.delete(window);
      }
      const { sessionStart, sessionNumber } = window;
      const results = new Uint8Array(encoded.numbers.buffer);
      drafts.push({ shard: this.#shard, sessionStart, sessionNumber, usedAt: now, results });
    }
    for (const [number, windows] of this.#windows) {
      const alive = windows.filter((window) => window.sessionStart >= now - limits.deliveryTtlMs);
      if (alive.length === 0) this.#windows.delete(number);
      else if (alive.length < windows.length) this.#windows.set(number, alive);
    }
    this.#recent = undefined;
    return drafts;
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
function requireWhole({ sessionStart, sessionNumber, counter }: Delivery): void {
  if (isWhole(sessionStart) && isWhole(sessionNumber) && isWhole(counter)) return;
  throw new WarpError(
    "INVALID_ARGUMENT",
    "a delivery id is three whole numbers from 0: start, number, counter",
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
    { ...delivery },
  );
}
