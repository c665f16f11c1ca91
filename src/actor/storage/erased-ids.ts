/**
 * Which ids were erased, as a shard's ledger knows them: by the first 48 bits of a keyed hash.
 *
 * An id that was erased and began again has a number, and is not looked up here.
 */
import { idHash } from "../../core/erasure.ts";
import { shortHash } from "../../shard/erase/known-erasures.ts";

export class ErasedIds {
  readonly #idHashKey: Uint8Array;
  /** Short hash → time of the newest erasure, ms since 1970. */
  readonly #times = new Map<number, number>();

  #newest = 0;
  #changes = 0;

  constructor(idHashKey: Uint8Array, hashes: Float64Array, times: Float64Array) {
    this.#idHashKey = idHashKey;
    for (const [i, hash] of hashes.entries()) this.#set(hash, times[i] ?? 0);
  }

  /** Time of the newest erasure; 0 without any. */
  get newest(): number {
    return this.#newest;
  }

  /** Hashes and times. */
  get entries(): readonly (readonly [hash: number, erasedAt: number])[] {
    return [...this.#times];
  }

  /** Rises with every erasure, so that nobody pays for a hash while there is none. */
  get changes(): number {
    return this.#changes;
  }

  /** False while nothing was ever erased, so that nobody pays for a hash. */
  get any(): boolean {
    return this.#times.size > 0;
  }

  /** When the id was erased; undefined if it was not. */
  find(id: string): number | undefined {
    return this.#times.get(shortHash(idHash(this.#idHashKey, id)));
  }

  add(id: string | Uint8Array, erasedAt: number): void {
    this.#set(shortHash(idHash(this.#idHashKey, id)), erasedAt);
  }

  #set(hash: number, erasedAt: number): void {
    this.#changes++;
    // A build may hear of an earlier one behind a later one.
    this.#times.set(hash, Math.max(erasedAt, this.#times.get(hash) ?? 0));
    this.#newest = Math.max(this.#newest, erasedAt);
  }
}
