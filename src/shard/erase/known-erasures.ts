/**
 * What a shard's ledger says when it is opened.
 *
 * - The numbers are kept until the journal is replayed: nothing of them is settled, whatever the journal still holds.
 * - The hashes of ids go to the main thread, which answers ERASED by them.
 */
import type { LedgerEntry } from "../files/ledger-format.ts";

/** The first 48 bits of an id's hash: enough to tell a few million ids apart, and an exact number. */
export function shortHash(idHash: Uint8Array): number {
  return Buffer.from(idHash.buffer, idHash.byteOffset, idHash.length).readUIntLE(0, 6);
}

export class KnownErasures {
  /** The newest entry that the shard's files have carried out. */
  readonly lastCarriedOut: number;
  /** Entries behind it. */
  readonly newer: LedgerEntry[] = [];
  largestNumber = 0;
  /** Of the ERASE records; some may not have outlived their entry. */
  largestPosition = 0;
  newestTime = 0;
  #numbers: Set<number> | undefined;
  #hashes: number[] = [];
  #times: number[] = [];

  constructor(lastCarriedOut: number) {
    this.lastCarriedOut = lastCarriedOut;
  }

  readonly take = (entry: LedgerEntry): void => {
    this.#numbers ??= new Set();
    this.#numbers.add(entry.number);
    this.#hashes.push(shortHash(entry.idHash));
    this.#times.push(entry.erasedAt);
    this.largestNumber = Math.max(this.largestNumber, entry.number);
    this.largestPosition = Math.max(this.largestPosition, entry.position);
    this.newestTime = Math.max(this.newestTime, entry.erasedAt);
    if (entry.index > this.lastCarriedOut) this.newer.push(entry);
  };

  leaveAlone(numbers: readonly number[]): void {
    for (const number of numbers) this.#numbers?.delete(number);
  }

  with(numbers: ReadonlySet<number> | undefined): ReadonlySet<number> | undefined {
    if (this.#numbers === undefined) return numbers;
    for (const number of numbers ?? []) this.#numbers.add(number);
    return this.#numbers;
  }

  /** Both by entry; handed over once. */
  hashes(): { readonly erasedIds: Float64Array; readonly erasedAt: Float64Array } {
    const known = { erasedIds: Float64Array.from(this.#hashes), erasedAt: Float64Array.from(this.#times) };
    this.#hashes = [];
    this.#times = [];
    return known;
  }

  forget(): void {
    this.#numbers = undefined;
    this.newer.length = 0;
  }
}
