/**
 * How far the events of each entity of a shard have come, while its segments are read in order.
 *
 * Events of an entity are 1 … n. Events that retention dropped before they were backed up are missing, perhaps in the
 * middle; then what is before them is of no use, and the history begins behind.
 */
import { damaged } from "../format/container.ts";

export class Histories {
  /** By number: the seq that is due next; 0 when there is no event. */
  readonly #due: Float64Array;
  /** By number: the seq from which there is no gap. */
  readonly #first: Float64Array;

  constructor(nextNumber: number) {
    this.#due = new Float64Array(nextNumber);
    this.#first = new Float64Array(nextNumber);
  }

  /** Takes in the next events of an entity. Errors: CORRUPT. */
  add(number: number, seq: number, count: number, object: string): void {
    const due = this.#due[number];
    if (due === undefined) throw damaged(object, undefined, `number ${number} was never given out`);
    if (seq < due) throw damaged(object, undefined, `seq ${seq} of number ${number} comes again`);
    this.#due[number] = seq + count;
    if (due === 0 || seq > due) this.#first[number] = seq;
  }

  /** The newest seq; 0 when there is no event. */
  tipOf(number: number): number {
    return Math.max(0, (this.#due[number] ?? 0) - 1);
  }

  /** The oldest seq from which all are there; 0 when there is none. */
  firstOf(number: number): number {
    return this.#first[number] ?? 0;
  }
}
