/**
 * How far the events of each entity of a shard have come, while its segments are read in order.
 *
 * Events of an entity are 1 … n. Events that retention dropped before they were backed up are missing, perhaps in the
 * middle; then what is before them is of no use, and the history begins behind: with the base that stands in their place.
 */
import { WarpError } from "../../core/errors.ts";
import { droppedMark } from "../../shard/files/bases.ts";
import { damaged } from "../format/container.ts";
import type { Value } from "../format/tables.ts";

export class Histories {
  /** By number: the seq that is due next; 0 when there is no event. */
  readonly #due: Float64Array;
  /** By number: the seq from which there is no gap. */
  readonly #first: Float64Array;
  /** Of entities with a base, up to which seq the newest one stands for events. */
  readonly #droppedTo = new Map<number, number>();
  /** By number: 1 when the events behind those here are left out. */
  readonly #isEnded: Uint8Array;

  constructor(nextNumber: number) {
    this.#due = new Float64Array(nextNumber);
    this.#first = new Float64Array(nextNumber);
    this.#isEnded = new Uint8Array(nextNumber);
  }

  /** Takes in the next events of an entity. Errors: CORRUPT. */
  add(number: number, seq: number, count: number, object: string): void {
    const due = this.#due[number];
    if (due === undefined) throw damaged(object, undefined, `number ${number} was never given out`);
    if (seq < due) throw damaged(object, undefined, `seq ${seq} of number ${number} comes again`);
    this.#due[number] = seq + count;
    if (due === 0 || seq > due) this.#first[number] = seq;
  }

  /**
   * Leaves out events, from this seq on, that are later than the time of a cut. Those between them and the ones here were dropped
   * before they were backed up, and nobody knows which of them were later too. Errors: EVENTS_DROPPED, when there are such.
   */
  leaveOut(number: number, seq: number, shard: number): void {
    if (this.#isEnded[number] === 1) return;
    this.#isEnded[number] = 1;
    const tip = this.tipOf(number);
    if (seq <= tip + 1) return;
    const why = `shard ${shard}, number ${number}: the events ${tip + 1} to ${seq - 1} were dropped before they were backed up, and which of them there were at that time is not known`;
    throw new WarpError("EVENTS_DROPPED", why, { shard, number, droppedTo: seq - 1 });
  }

  /**
   * Takes in a row of `bases`; false when it is not to be kept: events behind it come with a later segment, and it comes again
   * with them; or the events that it stands for are here, behind an older one that has closed the gap.
   */
  addBase(row: readonly Value[]): boolean {
    const [number, aggregate, , seq] = row as [number, number, number, number];
    if (seq >= this.tipOf(number)) return false;
    const first = this.firstOf(number);
    const known = this.#droppedTo.get(number) ?? 0;
    if (first > 1 && known >= first - 1 && seq > known) return false;
    if (aggregate === droppedMark) this.#droppedTo.set(number, seq);
    return true;
  }

  /**
   * When all segments are read: up to which seq the events of an entity are gone; 0 when all of them are there. Errors:
   * EVENTS_DROPPED, when nothing stands in their place.
   */
  droppedTo(
    number: number,
    { shard, at }: { readonly shard: number; readonly at?: number | undefined },
  ): number {
    const first = this.firstOf(number);
    if (first <= 1) return 0;
    const droppedTo = this.#droppedTo.get(number) ?? 0;
    if (droppedTo >= first - 1 && droppedTo < this.tipOf(number)) return droppedTo;
    const when = at === undefined ? "" : " at that time";
    const why = `shard ${shard}, number ${number}: the events before ${first} were dropped before they were backed up, and what stands in their place is not in the backup${when}`;
    throw new WarpError("EVENTS_DROPPED", why, { shard, number, droppedTo: first - 1 });
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
