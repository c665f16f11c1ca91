/**
 * What is remembered of one session in one shard, in memory and as it is stored.
 */
import { type DeliverySession, numbersOfHead } from "../../core/delivery-windows.ts";
import { limits } from "../../core/limits.ts";
import type { Appended } from "../results.ts";

/** counter, first seq, count, position. */
export const numbersPerResult = 4;
/** A client with one caller waits for one write; most sessions are never more than that. */
const resultsMin = 4;
/** Numbers of a stored window: its floor, and its results. */
export const encodedNumbers = (results: number): number => 1 + results * numbersPerResult;
/** What a window takes beside its results, bytes. */
const windowBytes = 480;

/** The newest results of a session, in the order of their positions: a ring of numbers that grows up to `deliveryWindow` results. */
export class Window {
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
  /** It has results that were not taken to be stored yet. */
  isDirty = false;
  /** It was used since it was looked at last. */
  isRecent = true;

  constructor(session: DeliverySession) {
    this.sessionStart = session.sessionStart;
    this.sessionNumber = session.sessionNumber;
  }

  get count(): number {
    return this.#count;
  }

  /** Memory, estimated. */
  get bytes(): number {
    return windowBytes + this.#ring.byteLength;
  }

  /** Of its newest result; 0 when it has none. */
  get newestPosition(): number {
    return this.#count === 0 ? 0 : (this.#ring[this.#at(this.#count - 1) + 3] ?? 0);
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

  /** Writes session, length, floor and its oldest so many results; returns the place behind them. */
  encode(target: Float64Array, to: number, results: number): number {
    const length = encodedNumbers(results);
    target[to] = this.sessionStart;
    target[to + 1] = this.sessionNumber;
    target[to + 2] = length;
    const at = to + numbersOfHead;
    target[at] = this.floor;
    this.#copy(target, at + 1, results);
    return at + length;
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
