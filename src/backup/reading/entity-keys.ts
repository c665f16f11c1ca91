/**
 * The keys of a shard's entities while its segments are read: 33 bytes each, whatever their number.
 */
import { keyBytes } from "../../core/aead.ts";

const unknown = 0;
const known = 1;
const leftOut = 2;

export class EntityKeys {
  readonly #keys: Uint8Array;
  readonly #marks: Uint8Array;
  count = 0;

  constructor(nextNumber: number) {
    this.#keys = new Uint8Array(nextNumber * keyBytes);
    this.#marks = new Uint8Array(nextNumber);
  }

  /** A subject's number has a key and is no entity. */
  add(number: number, key: Uint8Array, isSubject = false): void {
    this.#keys.set(key, number * keyBytes);
    this.#marks[number] = known;
    if (!isSubject) this.count++;
  }

  /** An entity that is there and not wanted, or whose key is not in the backup. */
  leaveOut(number: number): void {
    this.#marks[number] = leftOut;
  }

  /** Undefined when there is none, or it is left out. */
  keyOf(number: number): Uint8Array | undefined {
    if (this.#marks[number] !== known) return undefined;
    return this.#keys.subarray(number * keyBytes, (number + 1) * keyBytes);
  }

  isLeftOut(number: number): boolean {
    return this.#marks[number] === leftOut;
  }

  isUnknown(number: number): boolean {
    return (this.#marks[number] ?? unknown) === unknown;
  }

  /** The numbers that have a key. */
  *numbers(): Generator<number> {
    for (let number = 1; number < this.#marks.length; number++)
      if (this.#marks[number] === known) yield number;
  }
}
