import { expect, test } from "bun:test";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { rowBytes } from "./row-bytes.ts";

test("a row takes at most that much as MessagePack, and not much less", () => {
  const value = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array(),
  );
  fc.assert(
    fc.property(fc.array(value), (row) => {
      const { length } = encode(row, { useBigInt64: true, forceIntegerToFloat: true });
      expect(length).toBeLessThanOrEqual(rowBytes(row));
      expect(length).toBeGreaterThanOrEqual(rowBytes(row) - 5 - 8 * row.length);
    }),
  );
  expect(rowBytes(["日".repeat(1000)])).toBe(3010);
});
