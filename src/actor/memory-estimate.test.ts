import { expect, test } from "bun:test";
import { estimateBytes } from "./memory-estimate.ts";

test("a longer text or list takes more", () => {
  expect(estimateBytes("a".repeat(1000))).toBeGreaterThan(estimateBytes("a") + 900);
  const list = (length: number) => Array.from({ length }, (_, i) => ({ i, name: `name ${i}` }));
  expect(estimateBytes(list(10_000)) / estimateBytes(list(100))).toBeGreaterThan(90);
});

test("what is large counts wherever it stands", () => {
  const text = "x".repeat(1_000_000);
  const small = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`key${i}`, i]));
  expect(estimateBytes({ ...small, text })).toBeGreaterThan(1_000_000);
  let deep: unknown = text;
  for (let depth = 0; depth < 20; depth++) deep = { in: deep };
  expect(estimateBytes(deep)).toBeGreaterThan(1_000_000);
  expect(estimateBytes(new Map([["a", text]]))).toBeGreaterThan(1_000_000);
  // The second half of a long list is as good as the first.
  const list = Array.from({ length: 20_000 }, (_, i) => (i < 10_000 ? "" : "x".repeat(100)));
  expect(estimateBytes(list) / 1_000_000).toBeWithin(1.2, 1.9);
});

test("many values take no longer to estimate than some", () => {
  let reads = 0;
  const counted = (width: number, depth: number): unknown =>
    new Proxy(new Array(width).fill(0), {
      get: (list, name) => {
        if (name === "length") return list.length;
        reads++;
        return depth === 0 ? 1 : counted(width, depth - 1);
      },
    });
  expect(estimateBytes(counted(100, 5))).toBeGreaterThan(100 ** 3);
  expect(reads).toBeLessThanOrEqual(512);
});

test("a value that contains itself is estimated in bounded time", () => {
  const ring: unknown[] = [];
  for (let i = 0; i < 100; i++) ring.push(ring);
  expect(estimateBytes(ring)).toBeGreaterThan(100);
});
