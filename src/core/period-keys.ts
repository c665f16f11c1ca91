/**
 * The period keys of an open context, in memory that all its threads share: a rotation is seen by each of them at once.
 *
 * - The main thread alone changes it. A key is in its place before it is current, and its place is cleared before it is wiped.
 * - Shards, journal and backups wrap by `current` and open by `keyOf`; nobody keeps a key for longer than a call.
 * - It has room for one period more than it began with: a rotation destroys the older ones before there is another.
 *
 * Memory: i32 the place of the current key, then i32 period by place (0: free), then 32 bytes by place.
 */
import { keyBytes } from "./aead.ts";
import { assert } from "./errors.ts";
import type { PeriodKey } from "./keyring.ts";

export class PeriodKeys {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #keys: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    const places = (memory.byteLength - 4) / (4 + keyBytes);
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 1 + places);
    this.#keys = new Uint8Array(memory, 4 * (1 + places));
  }

  /** Of a keyring's periods, oldest first; the last one is current. */
  static of(periods: readonly PeriodKey[]): PeriodKeys {
    const keys = new PeriodKeys(new SharedArrayBuffer(4 + (periods.length + 1) * (4 + keyBytes)));
    for (const period of periods) keys.add(period);
    return keys;
  }

  /** What wraps anything new. */
  get current(): PeriodKey {
    const place = Atomics.load(this.#words, 0);
    return { period: Atomics.load(this.#words, 1 + place), key: this.#keyAt(place) };
  }

  /** Undefined when it was destroyed, or never was. */
  keyOf(period: number): Uint8Array | undefined {
    const place = this.#places().indexOf(period);
    return place < 0 ? undefined : this.#keyAt(place);
  }

  /** Adds a period, which is current from now on. */
  add({ period, key }: PeriodKey): void {
    const place = this.#places().indexOf(0);
    assert(place >= 0, "there is room for one more period");
    this.#keys.set(key, place * keyBytes);
    Atomics.store(this.#words, 1 + place, period);
    Atomics.store(this.#words, 0, place);
  }

  /** Wipes every key but the current one. */
  dropOld(): void {
    const current = Atomics.load(this.#words, 0);
    for (const place of this.#places().keys()) {
      if (place === current) continue;
      Atomics.store(this.#words, 1 + place, 0);
      this.#keys.fill(0, place * keyBytes, (place + 1) * keyBytes);
    }
  }

  #places(): Int32Array {
    return this.#words.subarray(1);
  }

  /** A copy: a cipher takes no shared memory. */
  #keyAt(place: number): Uint8Array {
    return new Uint8Array(this.#keys.subarray(place * keyBytes, (place + 1) * keyBytes));
  }
}
