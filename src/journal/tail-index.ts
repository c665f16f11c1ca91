/**
 * Where the entries of each entity lie in a tail: chains from the newest back to older ones.
 *
 * A row is written for every part of a record, in order, into typed arrays that are used in a ring; an actor keeps
 * the number of its newest row. A row is good as long as its number is within the ring and its position is above what
 * its shard has settled: below that, the tail's memory may hold something else.
 */
export class TailIndex {
  readonly #mask: number;
  readonly #at: Uint32Array;
  readonly #previous: Float64Array;
  readonly #firstSeq: Float64Array;
  readonly #position: Float64Array;
  #next = 1;

  /** Rows at most: no record of a tail of `tailBytes` is shorter than `recordBytesMin`. */
  constructor(tailBytes: number, recordBytesMin: number) {
    const rows = 2 ** Math.ceil(Math.log2(tailBytes / recordBytesMin + 1));
    this.#mask = rows - 1;
    this.#at = new Uint32Array(rows);
    this.#previous = new Float64Array(rows);
    this.#firstSeq = new Float64Array(rows);
    this.#position = new Float64Array(rows);
  }

  /** Adds a row and returns its number; `previous` is the entity's row before, 0 if it has none. */
  add(at: number, firstSeq: number, position: number, previous: number): number {
    const row = this.#next++;
    const slot = row & this.#mask;
    this.#at[slot] = at;
    this.#previous[slot] = previous;
    this.#firstSeq[slot] = firstSeq;
    this.#position[slot] = position;
    return row;
  }

  /** The unsettled entries of an entity whose newest row is `row`, oldest first. */
  chain(row: number, settledPosition: number): TailEntry[] {
    const entries: TailEntry[] = [];
    let current = row;
    while (current > 0 && current > this.#next - 1 - this.#mask) {
      const slot = current & this.#mask;
      const position = this.#position[slot] ?? 0;
      if (position <= settledPosition) break;
      entries.push({ position, firstSeq: this.#firstSeq[slot] ?? 0, at: this.#at[slot] ?? 0 });
      current = this.#previous[slot] ?? 0;
    }
    return entries.reverse();
  }
}

/** An entry in the tail. */
export interface TailEntry {
  readonly position: number;
  readonly firstSeq: number;
  /** Offset of the entry in the tail. */
  readonly at: number;
}
