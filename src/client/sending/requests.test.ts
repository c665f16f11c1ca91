import { expect, test } from "bun:test";
import fc from "fast-check";
import { operation } from "../../net/protocol/words.ts";
import { Request, Requests } from "./requests.ts";

const slab = { buffer: Buffer.alloc(0), unanswered: 0 };

function requestOf(number: number, isWrite: boolean): Request {
  const op = isWrite ? operation.append : operation.seq;
  const waiting = { resolve: () => {}, reject: () => {} };
  return new Request(number, op, "", "id", undefined, slab, 0, 0, 0, waiting);
}

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      isWrite: fc.boolean(),
      times: fc.integer({ min: 1, max: 700 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("answer" as const), every: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("send" as const), times: fc.integer({ min: 1, max: 700 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rewind" as const) }) },
);

/** The first is a ring in which all of them have room; in front of the others most stand aside. */
const ringMax = fc.constantFrom(2 ** 17, 16, 64, 1024);

test("the unanswered requests are known exactly and in their order, whatever is answered first", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), ringMax, (steps, max) => {
      const requests = new Requests(max);
      const model = new Map<number, Request>();
      const isSent = (request: Request): boolean => request.number < requests.sent;
      for (const given of steps) {
        if (given.do === "add") {
          for (let i = 0; i < given.times; i++) {
            const request = requestOf(requests.next, given.isWrite);
            requests.add(request);
            model.set(request.number, request);
          }
        } else if (given.do === "send") {
          for (let i = 0; i < given.times; i++) {
            const unsent = [...model.values()].find((request) => !isSent(request));
            expect(requests.unsent).toBe(unsent);
            if (unsent === undefined) break;
            requests.noteSent(1);
            expect(unsent.wasSent).toBe(true);
          }
        } else if (given.do === "answer") {
          for (const request of [...model.values()].filter(({ number }) => number % given.every === 0)) {
            expect(requests.get(request.number)).toBe(request);
            expect(requests.ofId(request.number)).toBe(request);
            requests.remove(request);
            model.delete(request.number);
            expect(requests.ofId(request.number)).toBeUndefined();
          }
        } else {
          requests.rewind();
        }
        expect([...requests]).toEqual([...model.values()]);
        expect(requests.count).toBe(model.size);
        expect(requests.underWay).toBe([...model.values()].filter(isSent).length);
        const oldest = [...model.values()].find((request) => request.isWrite);
        expect(requests.oldestWrite).toBe(oldest?.number ?? requests.next);
      }
    }),
    { numRuns: 60 },
  );
});

test("one request that waits for long costs neither memory nor time for all that come meanwhile", () => {
  const requests = new Requests();
  const slow = requestOf(requests.next, false);
  requests.add(slow);
  for (let i = 0; i < 3_000_000; i++) {
    const request = requestOf(requests.next, true);
    requests.add(request);
    requests.noteSent(1);
    requests.remove(request);
  }
  const newest = requestOf(requests.next, true);
  requests.add(newest);
  const begun = performance.now();
  for (let sweep = 0; sweep < 100; sweep++) {
    let found = 0;
    for (const request of requests) found += request === slow || request === newest ? 1 : 0;
    expect(found).toBe(2);
  }
  expect(performance.now() - begun).toBeLessThan(500);
});

test("ids on the wire are the lower 32 bits of numbers, also of requests that stand aside", () => {
  const requests = new Requests(16);
  const slow = requestOf(2 ** 32 - 3, false);
  requests.add(slow);
  for (let i = 0; i < 100; i++) {
    const request = requestOf(requests.next, true);
    requests.add(request);
    expect(requests.ofId(request.number >>> 0)).toBe(request);
    requests.remove(request);
    expect(requests.ofId(request.number >>> 0)).toBeUndefined();
    expect(requests.ofId(2 ** 32 - 3)).toBe(slow);
  }
  expect(requests.ofId(0)).toBeUndefined();
  requests.rewind();
  expect(requests.unsent).toBe(slow);
  requests.remove(slow);
  expect(requests.ofId(2 ** 32 - 3)).toBeUndefined();
  expect(requests.count).toBe(0);
});
