import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type DeliverySession, type DeliveryWindowDraft, windowsIn } from "../core/delivery-windows.ts";
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

/** What changed, one window after the other; nothing is in the shard's file. */
function taken(deliveries: Deliveries, committedPosition: number): DeliveryWindowDraft[] {
  const changed = deliveries.takeDirty(now, committedPosition, 0);
  return changed === undefined ? [] : [...windowsIn(changed)];
}

/** Another start that knows only what was stored. */
function restored(windows: readonly DeliveryWindowDraft[]): Deliveries {
  const deliveries = new Deliveries(0);
  for (const window of windows) deliveries.restore(window);
  return deliveries;
}

function seqOf(found: ReturnType<Deliveries["find"]>): number | "ask" | undefined {
  return found === "ask" ? found : found?.seq;
}

describe("delivery windows", () => {
  test("are stored up to what is durable; the rest is stored when it is", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 5);
    const first = restored(taken(deliveries, 3));
    const found = (of: Deliveries) =>
      [1, 2, 3, 4, 5].map((counter) => seqOf(of.find({ ...session, counter }, now)));
    expect(found(first)).toEqual([1, 2, 3, undefined, undefined]);
    expect(found(deliveries)).toEqual([1, 2, 3, 4, 5]);
    expect(found(restored(taken(deliveries, 5)))).toEqual([1, 2, 3, 4, 5]);
    expect(taken(deliveries, 5)).toEqual([]);
  });

  test("with nothing durable are not stored", () => {
    const deliveries = new Deliveries(0);
    remember(deliveries, 1, 2);
    expect(taken(deliveries, 0)).toEqual([]);
    expect(taken(deliveries, 2).length).toBe(1);
  });

  test("forget their oldest results and know that they have, also when restored", () => {
    const deliveries = new Deliveries(0);
    const count = limits.deliveryWindow + 3;
    remember(deliveries, 1, count);
    for (const of of [deliveries, restored(taken(deliveries, count))]) {
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
    deliveries.takeDirty(now, 1, 0);
    deliveries.takeDirty(later, 1, 1);
    expect(deliveries.bytes).toBe(0);
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
            expect(seqOf(deliveries.find({ ...session, counter: one, behind: 0 }, now))).toBe(one);
          }
          expect(deliveries.find({ ...session, counter: counter + 1 }, now)).toBeUndefined();
          for (const index of answers) waiting.splice(index, waiting.length > 1 ? 1 : 0);
          if (!isStored) continue;
          const [window, ...others] = taken(deliveries, counter);
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
    expect(seqOf(deliveries.find({ ...session, counter: 3 }, now))).toBe(3);
    expect(() => deliveries.find({ ...session, counter: 5, behind: -1 }, now)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  describe("beyond the memory for them", () => {
    /** A shard's file, and everything that is durable settled into it. */
    function shard(bytesMax: number) {
      const stored = new Map<string, Uint8Array>();
      const nameOf = (of: DeliverySession) => `${of.sessionStart}/${of.sessionNumber}`;
      const deliveries = new Deliveries(0);
      deliveries.bound(bytesMax);
      let position = 0;
      let settledPosition = 0;
      const settle = (): void => {
        const changed = deliveries.takeDirty(now, position, settledPosition);
        for (const window of changed === undefined ? [] : windowsIn(changed))
          stored.set(nameOf(window), window.results.slice());
        settledPosition = position;
      };
      const recall = (of: DeliverySession) => deliveries.recall(of, async () => stored.get(nameOf(of)));
      return { deliveries, settle, recall, next: () => result(++position) };
    }

    test("leave it once they are stored, are asked for, and know what they knew", async () => {
      const { deliveries, settle, recall, next } = shard(10_000);
      const sessions = Array.from({ length: 500 }, (_, n) => ({ sessionStart: now - n, sessionNumber: n }));
      for (const one of sessions) {
        expect(deliveries.find({ ...one, counter: 1 }, now)).toBeUndefined();
        deliveries.remember({ ...one, counter: 1 }, next());
      }
      settle();
      // They were taken to be stored, but nobody has said that they are.
      expect(deliveries.find({ ...session, ...sessions[0], counter: 1 }, now)).toMatchObject({ seq: 1 });
      settle();
      expect(deliveries.bytes).toBeLessThanOrEqual(10_000);
      let asked = 0;
      for (const [n, one] of sessions.entries()) {
        const delivery = { ...one, counter: 1 };
        if (deliveries.find(delivery, now) === "ask") {
          asked++;
          await recall(one);
        }
        expect(deliveries.find(delivery, now)).toMatchObject({ seq: n + 1, duplicate: true });
        expect(deliveries.find({ ...one, counter: 2 }, now)).toBeUndefined();
      }
      expect(asked).toBeGreaterThan(400);
      expect(deliveries.bytes).toBeLessThanOrEqual(20_000);
    });

    test("sessions that are new are asked for once, and hold no more memory", async () => {
      const { deliveries, settle, recall, next } = shard(10_000);
      deliveries.noteAbsent(now);
      for (let n = 0; n < 1000; n++) {
        const one = { sessionStart: now - 1, sessionNumber: n };
        expect(deliveries.find({ ...one, counter: 1 }, now)).toBe("ask");
        await recall(one);
        expect(deliveries.find({ ...one, counter: 1 }, now)).toBeUndefined();
      }
      expect(deliveries.bytes).toBeLessThanOrEqual(11_000);
      deliveries.remember({ ...session, counter: 1 }, next());
      settle();
    });

    test("count each request once, whatever is stored, let go and repeated when", async () => {
      const step = fc.record({
        session: fc.nat(5),
        counter: fc.integer({ min: 1, max: 4 }),
        isSettled: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
          const { deliveries, settle, recall, next } = shard(600);
          const done = new Map<string, number>();
          for (const { session: n, counter, isSettled } of steps) {
            const one = { sessionStart: now - (n % 3), sessionNumber: n };
            if (deliveries.isAbsent(one)) await recall(one);
            const found = deliveries.find({ ...one, counter }, now);
            const name = `${n}/${counter}`;
            expect(seqOf(found)).toBe(done.get(name));
            if (found === undefined) {
              const fresh = next();
              done.set(name, fresh.seq);
              deliveries.remember({ ...one, counter }, fresh);
            }
            if (isSettled) settle();
          }
        }),
        { numRuns: 300 },
      );
    });

    test("are read one at a time: a second question about a session waits for the first", async () => {
      const { deliveries } = shard(0);
      deliveries.noteAbsent(now);
      const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
      const first = deliveries.recall(session, () => promise);
      const second = deliveries.recall(session, () => Promise.reject(new Error("asked twice")));
      resolve(undefined);
      await Promise.all([first, second]);
      expect(deliveries.find({ ...session, counter: 1 }, now)).toBeUndefined();
    });
  });
});
