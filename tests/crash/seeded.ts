/**
 * Random numbers that follow from a seed, so that a test that fails can be run again.
 */

/** mulberry32; values in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mix = Math.imul(state ^ (state >>> 15), 1 | state);
    mix = (mix + Math.imul(mix ^ (mix >>> 7), 61 | mix)) ^ mix;
    return ((mix ^ (mix >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run: `WARP_TEST_SEED`, or one of the clock. It is printed. */
export function printedSeed(): number {
  const given = process.env.WARP_TEST_SEED;
  const seed = given === undefined ? Date.now() % 2 ** 31 : Number(given);
  console.log(`seed ${seed} (repeat with WARP_TEST_SEED=${seed})`);
  return seed;
}

/** How much to try: `times` of it, or as many times more as `WARP_TEST_EFFORT` says. */
export function effort(times: number): number {
  return Math.max(1, Math.round(times * Number(process.env.WARP_TEST_EFFORT ?? 1)));
}
