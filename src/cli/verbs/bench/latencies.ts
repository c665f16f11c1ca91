/**
 * Durations counted in a fixed histogram, so that recording one allocates nothing and takes a few ns.
 *
 * - A bucket is an exponent and the first 7 bits of the fraction of the duration in ms: quantiles are at most 0.8 % off.
 * - The largest duration is kept exactly. Durations from 2^-16 ms to 2^24 ms have buckets of their own.
 */
const fractionBits = 7;
const shift = 20 - fractionBits;
const exponentMin = -16;
const exponentMax = 24;
const lowest = (1023 + exponentMin) << fractionBits;
const bucketCount = (exponentMax - exponentMin) << fractionBits;

export class Latencies {
  readonly #counts = new Float64Array(bucketCount);
  readonly #value = new Float64Array(1);
  readonly #words = new Uint32Array(this.#value.buffer);
  #count = 0;
  #maxMs = 0;

  record(ms: number): void {
    this.#value[0] = ms;
    const bucket = ((this.#words[1] ?? 0) >>> shift) - lowest;
    const kept = bucket < 0 ? 0 : bucket >= bucketCount ? bucketCount - 1 : bucket;
    this.#counts[kept] = (this.#counts[kept] ?? 0) + 1;
    this.#count++;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxMs = 0;
  }

  get count(): number {
    return this.#count;
  }

  /** 0 when nothing was recorded. */
  get maxMs(): number {
    return this.#maxMs;
  }

  /** The duration that this share (0 to 1) of all durations does not exceed; 0 when nothing was recorded. */
  quantileMs(share: number): number {
    const rank = Math.ceil(share * this.#count);
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= rank && seen > 0) return Math.min(upperBoundMs(bucket), this.#maxMs);
    }
    return this.#maxMs;
  }
}

function upperBoundMs(bucket: number): number {
  const words = new Uint32Array([0, (bucket + 1 + lowest) << shift]);
  return new Float64Array(words.buffer)[0] ?? 0;
}
