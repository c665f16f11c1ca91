import { expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../core/limits.ts";
import { Deliveries } from "./deliveries.ts";

const now = 1_800_000_000_000;
const session = { sessionStart: now - 1000, sessionNumber: 42 };

const appended = (counter: number) =>
  ({
    ok: true,
    seq: counter + 1,
    firstSeq: counter,
    count: 2,
    duplicate: false,
    shard: 3,
    position: counter,
  }) as const;

function remember(deliveries: Deliveries, counter: number): void {
  deliveries.remember({ ...session, counter }, appended(counter));
}

test("a repeat finds its result, also when it came out of order", () => {
  const deliveries = new Deliveries(3);
  for (const counter of [5, 1, 9, 2]) remember(deliveries, counter);
  for (const counter of [1, 2, 5, 9]) {
    expect(deliveries.find({ ...session, counter }, now)).toEqual({ ...appended(counter), duplicate: true });
  }
  for (const counter of [3, 10]) expect(deliveries.find({ ...session, counter }, now)).toBeUndefined();
  expect(deliveries.find({ ...session, sessionNumber: 43, counter: 5 }, now)).toBeUndefined();
  expect(deliveries.find({ ...session, sessionStart: now, counter: 5 }, now)).toBeUndefined();
});

test("what fell out of the window is refused, and so is an ended session", () => {
  const deliveries = new Deliveries(3);
  for (let counter = 1; counter <= limits.deliveryWindow + 10; counter++) remember(deliveries, counter);
  expect(() => deliveries.find({ ...session, counter: 10 }, now)).toThrow("too old");
  expect(deliveries.find({ ...session, counter: 11 }, now)?.firstSeq).toBe(11);
  const later = now + limits.deliveryTtlMs;
  expect(() => deliveries.find({ ...session, counter: 11 }, later)).toThrow("too old");
});

test("only durable results are stored, the others the next time; an ended session is dropped", () => {
  const deliveries = new Deliveries(3);
  for (const counter of [1, 2, 3]) remember(deliveries, counter);
  const restored = new Deliveries(3);
  for (const draft of deliveries.takeDirty(now, 2)) restored.restore(draft);
  expect(restored.find({ ...session, counter: 2 }, now)?.firstSeq).toBe(2);
  expect(restored.find({ ...session, counter: 3 }, now)).toBeUndefined();
  for (const draft of deliveries.takeDirty(now, 3)) restored.restore(draft);
  expect(restored.find({ ...session, counter: 3 }, now)?.firstSeq).toBe(3);
  expect(deliveries.takeDirty(now, 3)).toEqual([]);
  deliveries.takeDirty(now + limits.deliveryTtlMs, 3);
  expect(deliveries.find({ ...session, counter: 3 }, now)).toBeUndefined();
});

test("a stored window forgets and remembers exactly as the one it was", () => {
  const counters = fc.uniqueArray(fc.integer({ min: 1, max: 20_000 }), {
    minLength: 1,
    maxLength: 6000,
    size: "max",
  });
  fc.assert(
    fc.property(counters, (given) => {
      const deliveries = new Deliveries(3);
      for (const counter of given) remember(deliveries, counter);
      const restored = new Deliveries(3);
      for (const draft of deliveries.takeDirty(now, 20_000)) restored.restore(draft);
      const kept = new Set(given.slice(-limits.deliveryWindow));
      const floor = Math.max(0, ...given.slice(0, -limits.deliveryWindow));
      for (const counter of [...given.slice(0, 20), ...given.slice(-20), 1, 20_000]) {
        for (const one of [deliveries, restored]) {
          const find = () => one.find({ ...session, counter }, now)?.firstSeq;
          if (kept.has(counter)) expect(find()).toBe(counter);
          else if (counter <= floor) expect(find).toThrow("too old");
          else expect(find()).toBeUndefined();
        }
      }
    }),
    { numRuns: 20 },
  );
});
