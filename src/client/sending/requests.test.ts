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

test("the ring holds exactly the unanswered requests, in their order, whatever is answered first", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const requests = new Requests();
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
          for (let i = 0; i < given.times && requests.sent < requests.next; i++) {
            requests.noteSent(1);
          }
        } else if (given.do === "answer") {
          for (const request of [...model.values()].filter(({ number }) => number % given.every === 0)) {
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
        const oldest = [...model.values()].find((request) => request.isWrite && isSent(request));
        expect(requests.oldestWrite).toBe(oldest?.number ?? requests.sent);
      }
    }),
    { numRuns: 60 },
  );
});
