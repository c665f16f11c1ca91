import { expect, test } from "bun:test";
import { type Slab, Slabs } from "./slabs.ts";

/** Writes a request of so many bytes and returns its slab. */
function request(slabs: Slabs, bytes: number): Slab {
  const writer = slabs.begin(bytes);
  writer.raw(new Uint8Array(bytes));
  return slabs.keep();
}

const half = 130 * 1024;

test("a slab is used again once all its requests are answered, and not before", () => {
  const slabs = new Slabs();
  const first = request(slabs, half);
  const second = request(slabs, half);
  expect(second.buffer).not.toBe(first.buffer);
  const third = request(slabs, 10);
  expect(third).toBe(second);
  slabs.answered(first);
  expect(request(slabs, half).buffer).toBe(first.buffer);
  slabs.answered(second);
  expect(request(slabs, half).buffer).not.toBe(second.buffer);
  slabs.answered(third);
  expect(request(slabs, half).buffer).toBe(second.buffer);
});

test("the slab that is written in starts over when nothing in it waits", () => {
  const slabs = new Slabs();
  for (let i = 0; i < 1000; i++) slabs.answered(request(slabs, 1000));
  expect(slabs.writer.at).toBe(0);
});

test("a slab with a request that was given up stays as it is", () => {
  const slabs = new Slabs();
  const given = request(slabs, half);
  const other = request(slabs, 10);
  expect(other).toBe(given);
  slabs.answered(other);
  const seen = new Set<Buffer>();
  for (let i = 0; i < 20; i++) {
    const slab = request(slabs, half);
    seen.add(slab.buffer);
    slabs.answered(slab);
  }
  expect(seen.has(given.buffer)).toBe(false);
});

test("a request larger than a slab has memory of its own, and is not kept for others", () => {
  const slabs = new Slabs();
  const large = request(slabs, 3 * half);
  slabs.answered(large);
  const next = request(slabs, half);
  const after = request(slabs, 3 * half);
  expect(after.buffer).not.toBe(large.buffer);
  expect(next.unanswered).toBe(1);
});
