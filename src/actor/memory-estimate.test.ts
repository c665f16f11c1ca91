import { expect, test } from "bun:test";
import { estimateBytes } from "./memory-estimate.ts";

test("a longer text or list takes more", () => {
  expect(estimateBytes("a".repeat(1000))).toBeGreaterThan(estimateBytes("a") + 900);
  const list = (length: number) => Array.from({ length }, (_, i) => ({ i, name: `name ${i}` }));
  expect(estimateBytes(list(10_000)) / estimateBytes(list(100))).toBeGreaterThan(90);
});

test("a value that contains itself is estimated in bounded time", () => {
  const ring: unknown[] = [];
  for (let i = 0; i < 100; i++) ring.push(ring);
  expect(estimateBytes(ring)).toBeGreaterThan(100);
});
