import { describe, expect, test } from "bun:test";
import { Latencies } from "./latencies.ts";
import { Random } from "./random.ts";

describe("latencies", () => {
  test("quantiles are within one percent of those of the sorted durations", () => {
    const seed = 20261122;
    const random = new Random(seed);
    const latencies = new Latencies();
    const durations: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      // Over five orders of magnitude, as latencies under load are.
      const ms = 10 ** (random.below(50_000) / 10_000 - 2);
      durations.push(ms);
      latencies.record(ms);
    }
    durations.sort((a, b) => a - b);
    for (const share of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = durations[Math.ceil(share * durations.length) - 1] ?? 0;
      const told = latencies.quantileMs(share);
      expect({ seed, share, off: Math.abs(told - exact) / exact < 0.01 }).toEqual({ seed, share, off: true });
    }
    expect(latencies.maxMs).toBe(durations.at(-1) ?? 0);
    expect(latencies.count).toBe(durations.length);
  });

  test("nothing recorded is 0, and clearing forgets everything", () => {
    const latencies = new Latencies();
    expect(latencies.quantileMs(0.5)).toBe(0);
    latencies.record(3);
    latencies.clear();
    expect([latencies.count, latencies.quantileMs(0.99), latencies.maxMs]).toEqual([0, 0, 0]);
  });

  test("durations outside the buckets count in the first or the last one", () => {
    const latencies = new Latencies();
    latencies.record(0);
    latencies.record(1e9);
    expect(latencies.quantileMs(0.5)).toBeLessThan(0.001);
    expect(latencies.quantileMs(1)).toBeGreaterThan(1e7);
    expect(latencies.maxMs).toBe(1e9);
  });
});
