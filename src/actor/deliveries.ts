/**
 * Which requests of which client sessions a shard has done: how a repeated request counts once.
 *
 * - A session lives `deliveryTtlMs` from its start; a request of an older one is refused (KEY_EXPIRED), never applied.
 * - A window holds the newest results of a session in this shard. What fell out of it is refused the same way.
 * - Only appends are remembered: a conflict or a rejection changed nothing and may be decided again.
 * - Only durable results are stored: a result whose record a crash can still take must not outlive it.
 */
import type { Delivery } from "../core/append-record.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { DeliveryWindowDraft } from "../shard/messages.ts";
import type { Appended } from "./results.ts";

const numbersPerResult = 4;

interface Window {
  readonly sessionStart: number;
  readonly sessionNumber: number;
  readonly results: Map<number, Appended>;
  /** Counters up to this one may have been forgotten. */
  floor: number;
  isDirty: boolean;
}

export class Deliveries {
  readonly #shard: number;
  readonly #windows = new Map<string, Window>();
  readonly #dirty = new Set<Window>();

  constructor(shard: number) {
    this.#shard = shard;
  }

  /**
   * The result of this request if it was done before; throws KEY_EXPIRED if that can no longer be known, and
   * INVALID_ARGUMENT for what is no delivery id.
   */
  find(delivery: Delivery, now: number): Appended | undefined {
    requireWhole(delivery);
    if (delivery.sessionStart < now - limits.deliveryTtlMs) throw expired(delivery);
    const window = this.#windows.get(nameOf(delivery));
    if (window === undefined) return undefined;
    const result = window.results.get(delivery.counter);
    if (result === undefined && delivery.counter <= window.floor) throw expired(delivery);
    return result;
  }

  remember(delivery: Delivery, result: Appended): void {
    const name = nameOf(delivery);
    let window = this.#windows.get(name);
    if (window === undefined) {
      const { sessionStart, sessionNumber } = delivery;
      window = { sessionStart, sessionNumber, results: new Map(), floor: 0, isDirty: false };
      this.#windows.set(name, window);
    }
    window.results.set(delivery.counter, result);
    if (window.results.size > limits.deliveryWindow) {
      const oldest = window.results.keys().next().value ?? 0;
      window.results.delete(oldest);
      window.floor = Math.max(window.floor, oldest);
    }
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
      const results = [...window.results].filter(([, result]) => result.position <= committedPosition);
      if (results.length === window.results.size) {
        window.isDirty = false;
        this.#dirty.delete(window);
      }
      if (results.length > 0) drafts.push(this.#toDraft(window, results, now));
    }
    for (const [name, window] of this.#windows) {
      if (window.sessionStart < now - limits.deliveryTtlMs) this.#windows.delete(name);
    }
    return drafts;
  }

  /** Takes in a stored window; results that are known already stay. */
  restore(draft: DeliveryWindowDraft): void {
    const numbers = new Float64Array(draft.results.slice().buffer);
    const { sessionStart, sessionNumber } = draft;
    for (let i = 1; i + numbersPerResult <= numbers.length; i += numbersPerResult) {
      const [counter = 0, firstSeq = 0, count = 0, position = 0] = numbers.subarray(i, i + numbersPerResult);
      const seq = firstSeq + count - 1;
      this.remember(
        { sessionStart, sessionNumber, counter },
        { ok: true, seq, firstSeq, count, duplicate: true, shard: this.#shard, position },
      );
    }
    const window = this.#windows.get(nameOf(draft));
    if (window !== undefined) {
      window.floor = Math.max(window.floor, numbers[0] ?? 0);
      window.isDirty = false;
      this.#dirty.delete(window);
    }
  }

  #toDraft(window: Window, results: readonly [number, Appended][], now: number): DeliveryWindowDraft {
    const numbers = new Float64Array(1 + results.length * numbersPerResult);
    numbers[0] = window.floor;
    let at = 1;
    for (const [counter, result] of results) {
      numbers[at++] = counter;
      numbers[at++] = result.firstSeq;
      numbers[at++] = result.count;
      numbers[at++] = result.position;
    }
    return {
      shard: this.#shard,
      sessionStart: window.sessionStart,
      sessionNumber: window.sessionNumber,
      usedAt: now,
      results: new Uint8Array(numbers.buffer),
    };
  }
}

/** Numbers that are not whole could be neither compared nor stored. */
function requireWhole({ sessionStart, sessionNumber, counter }: Delivery): void {
  if ([sessionStart, sessionNumber, counter].every((part) => Number.isSafeInteger(part) && part >= 0)) return;
  throw new WarpError(
    "INVALID_ARGUMENT",
    "a delivery id is three whole numbers from 0: start, number, counter",
  );
}

function nameOf(session: { sessionStart: number; sessionNumber: number }): string {
  return `${session.sessionStart}-${session.sessionNumber}`;
}

function expired(delivery: Delivery): WarpError {
  return new WarpError(
    "KEY_EXPIRED",
    `request ${delivery.counter} of a session of ${new Date(delivery.sessionStart).toISOString()} is too old to ` +
      "tell whether it was done before; it was not applied now",
    { ...delivery },
  );
}
