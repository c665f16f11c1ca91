import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../core/limits.ts";
import { Deliveries } from "./deliveries.ts";
import type { Appended } from "./results.ts";

const now = 1_700_000_000_000;
const session = { sessionStart: now - 1000, sessionNumber: 5 };

function result(position: number): Appended {
  return { ok: true, seq: position, firstSeq: position, count: 1, duplicate: false, shard: 0, position };
}

function remember(deliveries: Deliveries, from: number, to: number): void {
  for (let counter = from; counter <= to; counter++) {
    deliveries.remember({ ...session, counter }, result(counter));
  }
}

/** Another start that knows only what was stored. */
function restored(windows: ReturnType<Deliveries["takeDirty"]>): Deliveries {
  const deliveries = new Deliveries(0);
  for (const window of windows) deliveries.restore(window);
  return deliveries;
}

describe("delivery windows", () => {
  test("are stored up to what is durable; the rest is stored when it is", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 5);
    const first = restored(deliveries.takeDirty(now, 3));
    const found = (of: Deliveries) =>
      [1, 2, 3, 4, 5].map((counter) => of.find({ ...session, counter }, now)?.seq);
    expect(found(first)).toEqual([1, 2, 3, undefined, undefined]);
    expect(found(deliveries)).toEqual([1, 2, 3, 4, 5]);
    expect(found(restored(deliveries.takeDirty(now, 5)))).toEqual([1, 2, 3, 4, 5]);
    expect(deliveries.takeDirty(now, 5)).toEqual([]);
  });

  test("with nothing durable are not stored", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 2);
    expect(deliveries.takeDirty(now, 0)).toEqual([]);
    expect(deliveries.takeDirty(now, 2).length).toBe(1);
  });

  test("forget their oldest results and know that they have, also when restored", () => {
    const deliveries = new Deliveries(0);
    const count = limits.deliveryWindow + 3;
    remember(deliveries, 1, count);
    for (const of of [deliveries, restored(deliveries.takeDirty(now, count))]) {
      const find = (counter: number) => () => of.find({ ...session, counter }, now);
      expect(find(3)).toThrow(expect.objectContaining({ code: "KEY_EXPIRED" }));
      expect(find(4)()).toMatchObject({ seq: 4 });
      expect(find(count)()).toMatchObject({ seq: count });
      expect(find(count + 1)()).toBeUndefined();
    }
  });

  test("do not begin in the future; one that has begun outlives a clock that is set back", () => {
    const deliveries = new Deliveries(0);
    const ahead = (ms: number) => ({ ...session, sessionStart: now + ms, counter: 1 });
    expect(deliveries.find(ahead(limits.deliveryAheadMs), now)).toBeUndefined();
    for (const ms of [limits.deliveryAheadMs + 1, Number.MAX_SAFE_INTEGER - now]) {
      expect(() => deliveries.find(ahead(ms), now)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
    remember(deliveries, 1, 1);
    const setBack = session.sessionStart - limits.deliveryAheadMs - 1;
    expect(deliveries.find({ ...session, counter: 1 }, setBack)).toMatchObject({ seq: 1 });
  });

  test("of ended sessions are dropped, and their requests refused", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 1);
    const later = session.sessionStart + limits.deliveryTtlMs + 1;
    deliveries.takeDirty(later, 1);
    expect(() => deliveries.find({ ...session, counter: 1 }, later)).toThrow(
      expect.objectContaining({ code: "KEY_EXPIRED" }),
    );
  });

  test("hold what a client still waits for, whatever is answered first, and little else", () => {
    const step = fc.record({ answers: fc.array(fc.nat(7), { maxLength: 6 }), isStored: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let deliveries = new Deliveries(0);
        let counter = 0;
        let reach = 0;
        const waiting: number[] = [];
        for (const { answers, isStored } of steps) {
          while (waiting.length < 8) {
            counter++;
            waiting.push(counter);
            reach = counter - Math.min(...waiting);
            deliveries.remember({ ...session, counter, behind: reach }, result(counter));
          }
          for (const one of waiting) {
            expect(deliveries.find({ ...session, counter: one, behind: 0 }, now)?.seq).toBe(one);
          }
          expect(deliveries.find({ ...session, counter: counter + 1 }, now)).toBeUndefined();
          for (const index of answers) waiting.splice(index, waiting.length > 1 ? 1 : 0);
          if (!isStored) continue;
          const [window, ...others] = deliveries.takeDirty(now, counter);
          expect(others).toEqual([]);
          if (window === undefined) continue;
          expect(window.results.length / 8).toBeLessThanOrEqual(1 + 4 * (reach + 1));
          deliveries = restored([window]);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("refuse what the client has said that it does not wait for", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 3);
    deliveries.remember({ ...session, counter: 4, behind: 1 }, result(4));
    expect(() => deliveries.find({ ...session, counter: 2 }, now)).toThrow(
      expect.objectContaining({ code: "KEY_EXPIRED" }),
    );
    expect(deliveries.find({ ...session, counter: 3 }, now)?.seq).toBe(3);
    expect(() => deliveries.find({ ...session, counter: 5, behind: -1 }, now)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});
