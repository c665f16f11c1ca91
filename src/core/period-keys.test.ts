import { expect, test } from "bun:test";
import { PeriodKeys } from "./period-keys.ts";

const key = (byte: number) => new Uint8Array(32).fill(byte);

test("period keys: what one thread adds or drops, all that share the memory see", () => {
  const periods = PeriodKeys.of([
    { period: 3, key: key(3) },
    { period: 4, key: key(4) },
  ]);
  const elsewhere = new PeriodKeys(periods.memory);
  expect(elsewhere.current).toEqual({ period: 4, key: key(4) });
  expect([elsewhere.keyOf(3), elsewhere.keyOf(5)]).toEqual([key(3), undefined]);
  periods.add({ period: 5, key: key(5) });
  expect(elsewhere.current).toEqual({ period: 5, key: key(5) });
  expect([3, 4].map((period) => elsewhere.keyOf(period))).toEqual([key(3), key(4)]);
  periods.dropOld();
  expect(elsewhere.current).toEqual({ period: 5, key: key(5) });
  expect([3, 4].map((period) => elsewhere.keyOf(period))).toEqual([undefined, undefined]);
  // Nothing of them is left in the memory, and there is room again.
  for (const byte of [3, 4])
    expect(Buffer.from(new Uint8Array(periods.memory)).includes(key(byte))).toBe(false);
  for (let period = 6; period < 9; period++) {
    periods.add({ period, key: key(period) });
    expect([elsewhere.current.period, elsewhere.keyOf(period - 1)]).toEqual([period, key(period - 1)]);
    periods.dropOld();
  }
});
