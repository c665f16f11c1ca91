/**
 * What the journal held beyond the shards when this process started, until its shards have it: entries in the tails whose
 * entities are not in memory.
 *
 * - An entity is loaded from its shard's file and from here, so nobody waits for the settling that goes on behind the start.
 * - An actor that was loaded keeps where its entries lie, as if this process had recorded them.
 * - Where file and tail do not meet, because a round was settled between looking at both, the settling is waited for.
 */
import { entryCount } from "../../core/entry.ts";
import type { Tail } from "../../journal/tail.ts";
import { elementHash, elementHashOfBytes } from "../../shard/files/filter.ts";
import { copyTail, type Page } from "./history.ts";
import { RowTable } from "./row-table.ts";
import type { ShardState } from "./shard-state.ts";

/** What is in the tail of an entity. */
export interface Unsettled {
  readonly number: number;
  /** The newest seq. */
  readonly seq: number;
  /** Entries, from at most one behind what is settled. */
  readonly pages: readonly Page[];
  /** Its newest row in the index of the tail, and that record's position. */
  readonly tailRow: number;
  readonly tipPosition: number;
}

/** Rows to begin with; they double. */
const rowsMin = 1024;

export class Recovered {
  readonly #tails: readonly Tail[];
  /** Rows by shard and number, and by the hash of the id of those that were made. */
  #byNumber = new RowTable();
  #byId = new RowTable();
  #rows = 0;
  #number = new Float64Array(rowsMin);
  /** The newest row in the index of the tail, that record's position, and the newest seq. */
  #tailRow = new Float64Array(rowsMin);
  #position = new Float64Array(rowsMin);
  #seq = new Float64Array(rowsMin);
  /** Of an entity that was made: where the length of its id stands in the tail, and the position of that record. */
  #idAt = new Float64Array(rowsMin);
  #idPosition = new Float64Array(rowsMin);
  #settled: Promise<void> | undefined;

  constructor(tails: readonly Tail[]) {
    this.#tails = tails;
  }

  /** Takes in an entry of the newest record in a tail; `idAt` is where the length of its entity's id stands, if it made that. */
  note(shard: ShardState, number: number, firstSeq: number, entryAt: number, idAt?: number): void {
    const tail = this.#tails[shard.writer];
    if (tail === undefined) return;
    const { low, high } = keyOf(shard, number);
    let row = this.#byNumber.get(low, high);
    if (row < 0) {
      row = this.#addRow();
      this.#byNumber.add(low, high, row);
      this.#number[row] = number;
    }
    const position = shard.committedPosition;
    if (idAt !== undefined) this.#noteId(tail, row, idAt, position);
    this.#tailRow[row] = tail.index.add(entryAt, firstSeq, position, this.#tailRow[row] ?? 0);
    this.#position[row] = position;
    this.#seq[row] = firstSeq + entryCount(tail.bytes, entryAt) - 1;
  }

  /** From now on it is settled behind what is served; rejects when the engine fails before. */
  settleBehind(settled: Promise<void>): void {
    this.#settled = settled;
    settled.then(
      () => this.forget(),
      () => {},
    );
  }

  /** False while some of it may be in the tails alone. */
  get isSettled(): boolean {
    return this.#settled === undefined;
  }

  /** Resolves when all of it is settled. Errors: the one that failed the engine. */
  async whenSettled(): Promise<void> {
    await this.#settled;
  }

  /** The number of an entity that was made in it; "changed" when its name is, or may be, in the shard's file by now. */
  numberOf(shard: ShardState, id: string): number | "changed" | undefined {
    const { a, b } = elementHash(id, 0);
    const row = this.#byId.get(a, b);
    const tail = this.#tails[shard.writer];
    if (row < 0 || tail === undefined) return undefined;
    if ((this.#idPosition[row] ?? 0) <= shard.settledPosition) return "changed";
    const { buffer, view } = tail.bytes;
    const at = this.#idAt[row] ?? 0;
    const isIt = buffer.toString("utf8", at + 2, at + 2 + view.getUint16(at, true)) === id;
    // Two ids of one hash: the second waits until it is settled.
    return isIt ? this.#number[row] : "changed";
  }

  /**
   * What the tail has of an entity behind a seq up to which its shard's file was read; undefined when that is nothing, and
   * "changed" when the file has more by now, or is about to.
   */
  behind(shard: ShardState, number: number, seq: number): Unsettled | "changed" | undefined {
    const { low, high } = keyOf(shard, number);
    const row = this.#byNumber.get(low, high);
    const tail = this.#tails[shard.writer];
    if (row < 0 || tail === undefined) return undefined;
    const [tailRow = 0, position = 0, newest = 0] = [this.#tailRow[row], this.#position[row], this.#seq[row]];
    if (position <= shard.settledPosition) return newest <= seq ? undefined : "changed";
    const [first] = tail.index.chain(tailRow, shard.settledPosition);
    if (first === undefined || first.firstSeq > seq + 1 || newest < seq) return "changed";
    const pages = copyTail(tail, tailRow, shard.settledPosition, newest, Number.POSITIVE_INFINITY);
    return { number, seq: newest, pages, tailRow, tipPosition: position };
  }

  #noteId(tail: Tail, row: number, idAt: number, position: number): void {
    const { buffer, view } = tail.bytes;
    const { a, b } = elementHashOfBytes(buffer, idAt + 2, idAt + 2 + view.getUint16(idAt, true), 0);
    if (this.#byId.get(a, b) < 0) this.#byId.add(a, b, row);
    this.#idAt[row] = idAt;
    this.#idPosition[row] = position;
  }

  #addRow(): number {
    const row = this.#rows++;
    if (row < this.#number.length) return row;
    this.#number = doubled(this.#number);
    this.#tailRow = doubled(this.#tailRow);
    this.#position = doubled(this.#position);
    this.#seq = doubled(this.#seq);
    this.#idAt = doubled(this.#idAt);
    this.#idPosition = doubled(this.#idPosition);
    return row;
  }

  /** All of it is settled. */
  forget(): void {
    this.#settled = undefined;
    this.#byNumber = new RowTable();
    this.#byId = new RowTable();
    const none = new Float64Array(0);
    this.#number = none;
    this.#tailRow = none;
    this.#position = none;
    this.#seq = none;
    this.#idAt = none;
    this.#idPosition = none;
  }
}

/** Numbers are below 2^53 and shards below 2^11: both are in 64 bits. */
function keyOf({ index }: ShardState, number: number): { low: number; high: number } {
  return { low: number >>> 0, high: (Math.floor(number / 2 ** 32) * 2 ** 11 + index) >>> 0 };
}

function doubled(values: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(values.length * 2);
  larger.set(values);
  return larger;
}
