/**
 * The tail of one writer: a ring in shared memory that holds the records from their append until they are settled.
 *
 * - The main thread alone writes and frees. The journal Worker reads ranges of a turn under way, the shard writer
 *   those of a round under way, and nobody else's; neither is reused before it is done.
 * - Records are contiguous: one that does not fit before the end of the ring starts again at its beginning.
 */
import { type Bytes, bytesOf } from "../core/entry.ts";
import { assert } from "../core/errors.ts";
import { entryHeaderBytes, partHeaderBytes } from "../core/record.ts";
import { TailIndex } from "./tail-index.ts";

/** No part of a record is shorter: a type's name of one byte, its head, and the shortest data. */
const partBytesMin = partHeaderBytes + entryHeaderBytes + 6;

/** Whole records of one turn, from `start` to `end`. */
export interface Extent {
  readonly turn: number;
  readonly start: number;
  readonly end: number;
}

export class Tail {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Bytes;
  /** Which entries of which entity are in it. */
  readonly index: TailIndex;
  readonly #capacity: number;
  /** Where the next record goes. */
  #head = 0;
  /** Start of what the open turn has written since its last wrap. */
  #rangeStart = 0;
  /** Closed ranges that are not freed, oldest first, with their turn. */
  #held: Extent[] = [];
  #heldFrom = 0;
  #heldBytes = 0;

  constructor(capacity: number) {
    this.memory = new SharedArrayBuffer(capacity);
    this.bytes = bytesOf(this.memory);
    this.index = new TailIndex(capacity, partBytesMin);
    this.#capacity = capacity;
  }

  /** Bytes in closed ranges that are not freed. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Bytes of the open range. */
  get openBytes(): number {
    return this.#head - this.#rangeStart;
  }

  /**
   * The offset where `bytes` bytes may be written, or -1 when the tail is full. May close the open range of `turn`
   * to wrap around; `onWrap` gets it.
   */
  reserve(bytes: number, turn: number, onWrap: (start: number, length: number) => void): number {
    const oldest = this.#held[this.#heldFrom];
    if (oldest === undefined) {
      // Nothing is held but the open range, which never wraps onto itself.
      if (this.#head + bytes <= this.#capacity) return this.#head;
      if (this.#rangeStart === this.#head) {
        this.#head = 0;
        this.#rangeStart = 0;
        return bytes <= this.#capacity ? 0 : -1;
      }
      if (bytes >= this.#rangeStart) return -1;
      this.#wrap(turn, onWrap);
      return 0;
    }
    if (this.#head >= oldest.end || this.#head > oldest.start) {
      if (this.#head + bytes <= this.#capacity) return this.#head;
      if (bytes >= oldest.start) return -1;
      this.#wrap(turn, onWrap);
      return 0;
    }
    return this.#head + bytes < oldest.start ? this.#head : -1;
  }

  /** Takes what was written up to `end` into the open range. */
  commit(end: number): void {
    assert(end >= this.#head && end <= this.#capacity, "a record ends inside the tail");
    this.#head = end;
  }

  /** Closes the open range as part of `turn`; returns its start and length, length 0 when it is empty. */
  close(turn: number): { start: number; length: number } {
    const start = this.#rangeStart;
    const length = this.#head - start;
    if (length > 0) {
      this.#held.push({ turn, start, end: this.#head });
      this.#heldBytes += length;
    }
    this.#rangeStart = this.#head;
    return { start, length };
  }

  /** Frees all ranges of turns up to and including `turn`. */
  free(turn: number): void {
    while (this.#heldFrom < this.#held.length) {
      const extent = this.#held[this.#heldFrom];
      if (extent === undefined || extent.turn > turn) break;
      this.#heldBytes -= extent.end - extent.start;
      this.#heldFrom++;
    }
    if (this.#heldFrom > 1024 && this.#heldFrom * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#heldFrom);
      this.#heldFrom = 0;
    }
  }

  /** What turns behind `after`, up to and including `upTo`, have left in it, oldest first. */
  heldBetween(after: number, upTo: number): Extent[] {
    const extents: Extent[] = [];
    for (let i = this.#held.length - 1; i >= this.#heldFrom; i--) {
      const extent = this.#held[i];
      if (extent === undefined || extent.turn <= after) break;
      if (extent.turn <= upTo) extents.push(extent);
    }
    return extents.reverse();
  }

  #wrap(turn: number, onWrap: (start: number, length: number) => void): void {
    const { start, length } = this.close(turn);
    if (length > 0) onWrap(start, length);
    this.#head = 0;
    this.#rangeStart = 0;
  }
}
