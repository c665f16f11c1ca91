import { expect, test } from "bun:test";
import { Random, uniformChoice, zipfChoice } from "./random.ts";

const draws = 400_000;

function shares(choose: () => number, count: number): number[] {
  const counts = new Array<number>(count).fill(0);
  for (let i = 0; i < draws; i++) {
    const chosen = choose();
    counts[chosen] = (counts[chosen] ?? 0) + 1;
  }
  return counts.map((one) => one / draws);
}

test("by Zipf's law entities are taken in proportion to their rank's weight", () => {
  for (const count of [1, 2, 10, 1000]) {
    const weights = Array.from({ length: count }, (_, rank) => 1 / (rank + 1) ** 0.99);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const given = shares(zipfChoice(new Random(7), count), count);
    expect(given.length).toBe(count);
    for (const [rank, weight] of weights.entries()) {
      const expected = weight / total;
      // Five times the standard deviation of a count that follows the binomial distribution.
      const spread = 5 * Math.sqrt((expected * (1 - expected)) / draws) + 1e-9;
      expect(Math.abs((given[rank] ?? 0) - expected)).toBeLessThanOrEqual(spread);
    }
  }
});

test("without it, all alike", () => {
  const given = shares(uniformChoice(new Random(3), 20), 20);
  for (const share of given) expect(Math.abs(share - 0.05)).toBeLessThan(0.005);
});
