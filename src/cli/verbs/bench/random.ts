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

/** Draws a number from 0 up to, but not including, a count. */
export type Choice = () => number;

/** Any of them alike. */
export function uniformChoice(random: Random, count: number): Choice {
  return () => random.below(count);
}

const exponent = 0.99;

/**
 * Few of them mostly: by Zipf's law rank n is taken in proportion to 1 / n ** 0.99, the exponent that other benchmarks use;
 * the first of 10,000 gets a tenth of all. Walker's alias method: a draw costs the same whatever the count.
 */
export function zipfChoice(random: Random, count: number): Choice {
  const weights = Float64Array.from({ length: count }, (_, rank) => 1 / (rank + 1) ** exponent);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // Every place holds one share: what its own entity lacks of it is filled by one that has more than a share.
  const own = weights.map((weight) => (weight * count) / total);
  const other = Uint32Array.from(own.keys());
  const poor: number[] = [];
  const rich: number[] = [];
  for (const [place, share] of own.entries()) (share < 1 ? poor : rich).push(place);
  while (poor.length > 0 && rich.length > 0) {
    const place = poor.pop() ?? 0;
    const giver = rich[rich.length - 1] ?? 0;
    other[place] = giver;
    const left = (own[giver] ?? 0) - (1 - (own[place] ?? 0));
    own[giver] = left;
    if (left < 1) {
      rich.pop();
      poor.push(giver);
    }
  }
  return () => {
    const place = random.below(count);
    const isOwn = random.below(resolution) < (own[place] ?? 1) * resolution;
    return isOwn ? place : (other[place] ?? place);
  };
}

const resolution = 2 ** 30;
