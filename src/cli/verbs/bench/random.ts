/**
 * Pseudo-random integers from a seed (xorshift32): a run can be repeated, and a draw costs about a nanosecond.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Zero would stay zero; the multiplication spreads small seeds over all bits.
    this.#state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  }

  /** A whole number from 0 up to, but not including, `limit` (at most 2^32). */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return Math.floor(((x >>> 0) / 0x1_0000_0000) * limit);
  }
}
