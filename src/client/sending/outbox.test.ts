import { expect, test } from "bun:test";
import { decode } from "@msgpack/msgpack";
import fc from "fast-check";
import { groupedAppendsMax } from "../../net/protocol/grouped/appends.ts";
import type { Welcome } from "../../net/protocol/replies.ts";
import { writePing, writeSeq } from "../../net/protocol/requests.ts";
import { operation } from "../../net/protocol/words.ts";
import { neverCalled, type Numberable } from "./entity-numbers.ts";
import { Outbox } from "./outbox.ts";
import { type Request, Requests } from "./requests.ts";

const waiting = { resolve: () => {}, reject: () => {} };

function welcomeWith(limits: Partial<Welcome["limits"]> = {}): Welcome {
  return {
    version: 1,
    context: "c",
    node: "n",
    incarnation: "i",
    shards: 1,
    topology: [],
    limits: {
      frameBytes: 10 << 20,
      requests: 4096,
      entityNumbers: 1000,
      appends: 32,
      idleMs: 1000,
      deliveryWindow: 4096,
      deliveryTtlMs: 86_400_000,
      ...limits,
    },
    now: 1_800_000_000_000,
  };
}

/** An append as a server takes it, however it came. */
interface Taken {
  readonly id: number;
  readonly entity: string;
  readonly type: string;
  readonly text: string;
  readonly delivery: readonly number[];
  readonly isGrouped: boolean;
}

/** What a server makes of the bytes that a client sends, without any of Warp's code. */
class Peer {
  readonly taken: Taken[] = [];
  /** Other requests, by operation. */
  readonly others: number[] = [];
  groups = 0;
  #names = new Map<number, string>();
  #bytes = Buffer.alloc(0);

  readonly socket = {
    write: (buffer: Buffer, from: number, to: number) => {
      this.#bytes = Buffer.concat([this.#bytes, buffer.subarray(from, to)]);
      return true;
    },
    end: () => {},
    destroy: () => {},
  };

  /** Another connection, to the same server. */
  reconnect(): void {
    this.#names = new Map();
    this.taken.length = 0;
  }

  read(): this {
    while (this.#bytes.length > 0) {
      const length = this.#bytes.readUInt32BE();
      this.#take(decode(this.#bytes.subarray(4, 4 + length)) as unknown[]);
      this.#bytes = this.#bytes.subarray(4 + length);
    }
    return this;
  }

  #take([, id, op, ...fields]: unknown[]): void {
    if (op === operation.append) {
      const [entity, type, data, , , , delivery] = fields as [never, string, Uint8Array, ...unknown[]];
      const text = Buffer.from(data).toString();
      const rest = { type, text, delivery: delivery as number[], isGrouped: false };
      this.taken.push({ id: id as number, entity: this.#nameOf(entity), ...rest });
    } else if (op === operation.appends) {
      this.groups++;
      const [type, first, texts, heads] = fields as [string, number[], Uint8Array, Uint8Array];
      const view = Buffer.from(heads);
      const [start = 0, number = 0, counter = 0, behind = 0] = first;
      let at = 0;
      for (let i = 0; i < view.length / 8; i++) {
        const entity = this.#nameOf(view.readUInt32BE(i * 8));
        const end = at + view.readUInt32BE(i * 8 + 4);
        const text = Buffer.from(texts.subarray(at, end)).toString();
        const delivery = [start, number, counter + i, behind + i];
        this.taken.push({ id: (id as number) + i, entity, type, text, delivery, isGrouped: true });
        at = end;
      }
      expect(at).toBe(texts.length);
    } else {
      this.others.push(op as number);
    }
  }

  #nameOf(entity: string | number | [number, string]): string {
    if (typeof entity === "string") return entity;
    if (typeof entity === "number") return this.#names.get(entity) ?? "nobody";
    this.#names.set(...entity);
    return entity[1];
  }
}

interface Sample {
  readonly outbox: Outbox;
  readonly peer: Peer;
  readonly welcome: Welcome;
  readonly entities: readonly Numberable[];
  append(index: number, text: string, type?: string): Request;
  send(): Peer;
}

/** A connection on which `count` entities have their numbers, and nothing waits. */
function sample(count: number, limits: Partial<Welcome["limits"]> = {}, ringMax = 2 ** 17): Sample {
  const outbox = new Outbox(new Requests(ringMax));
  const peer = new Peer();
  const welcome = welcomeWith(limits);
  outbox.begin(welcome, 0);
  const entities = Array.from({ length: count }, (_, i) => ({ id: `entity-${i}`, number: neverCalled }));
  const append = (index: number, text: string, type = "Paid"): Request => {
    const entity = entities[index] as Numberable;
    return outbox.addAppend(entity, type, text, waiting, 0, 1000);
  };
  const send = (): Peer => {
    outbox.send(peer.socket, welcome);
    return peer.read();
  };
  for (let round = 0; round < 2; round++) {
    const requests = entities.map((_, i) => append(i, "[0]"));
    send();
    for (const request of requests) outbox.answered(request);
  }
  peer.taken.length = 0;
  return { outbox, peer, welcome, entities, append, send };
}

test("appends of a turn go in one frame, with ids and counters that count up", () => {
  const { append, send } = sample(3);
  const requests = [append(0, "[1]"), append(1, '["März"]'), append(0, "[3]")];
  const { taken, groups } = send();
  expect(groups).toBe(1);
  expect(taken.map(({ entity, text, type }) => [entity, text, type])).toEqual([
    ["entity-0", "[1]", "Paid"],
    ["entity-1", '["März"]', "Paid"],
    ["entity-0", "[3]", "Paid"],
  ]);
  for (const [i, { id, delivery }] of taken.entries()) {
    expect(id).toBe(requests[i]?.number as number);
    expect(delivery[2]).toBe(id);
    // All wait for the first of them.
    expect(delivery[3]).toBe(i);
  }
});

test("whatever comes between ends a group: another type, a read, a long text, the limit", () => {
  const { outbox, append, send, entities } = sample(2);
  append(0, "[1]");
  append(0, "[2]", "Refunded");
  append(1, "[3]", "Refunded");
  const [alice] = entities as [Numberable];
  outbox.add(operation.seq, alice, (writer, id, _, name) => writeSeq(writer, id, name), 0, waiting, 0, 1000);
  append(0, "[4]", "Refunded");
  append(1, `["${"x".repeat(5000)}"]`, "Refunded");
  for (let i = 0; i < groupedAppendsMax + 1; i++) append(i % 2, `[${i}]`);
  const { taken, others, groups } = send();
  expect(groups).toBe(5);
  expect(others).toEqual([operation.seq]);
  expect(taken.map(({ id }) => id)).toEqual(taken.map(({ id }) => id).sort((a, b) => a - b));
  expect(taken.filter(({ isGrouped }) => !isGrouped)).toHaveLength(1);
  expect(taken).toHaveLength(5 + groupedAppendsMax + 1);
});

test("a server that takes no groups, or fewer, is sent none, or smaller ones", () => {
  const none = sample(1, { appends: 0 });
  none.append(0, "[1]");
  expect(none.send()).toMatchObject({ groups: 0, taken: [{ text: "[1]", isGrouped: false }] });
  for (const limits of [{ appends: 2 }, { requests: 2 }, { deliveryWindow: 4 }]) {
    const few = sample(1, limits);
    const requests = Array.from({ length: 5 }, (_, i) => few.append(0, `[${i}]`));
    for (let i = 0; i < requests.length; i += 2) {
      few.send();
      for (const request of requests.slice(i, i + 2)) few.outbox.answered(request);
    }
    expect(few.peer.groups).toBe(3);
    expect(few.peer.taken.map(({ text }) => text)).toEqual(["[0]", "[1]", "[2]", "[3]", "[4]"]);
  }
});

test("what was given up before it was sent is left out, and what was in its group goes alone", () => {
  const { outbox, append, send } = sample(2);
  append(0, "[1]");
  const given = append(1, "[2]");
  append(0, "[3]");
  outbox.giveUp(given);
  append(1, "[4]");
  expect(send().taken.map(({ text, entity, isGrouped }) => [text, entity, isGrouped])).toEqual([
    ["[1]", "entity-0", false],
    ["[3]", "entity-0", false],
    ["[4]", "entity-1", true],
  ]);
});

test("an append whose type UTF-8 cannot hold is refused, and what is around it goes in one piece", () => {
  const { outbox, append, send } = sample(2);
  append(0, "[1]");
  expect(() => append(1, "[2]", "Paid\ud800")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  append(1, "[3]");
  append(0, "[4]", "Gezahlt für März");
  const { taken } = send();
  expect(taken.map(({ text, type }) => [text, type])).toEqual([
    ["[1]", "Paid"],
    ["[3]", "Paid"],
    ["[4]", "Gezahlt für März"],
  ]);
  expect(outbox.requests.count).toBe(3);
});

test("behind a number that was never told, entities of groups are named by their ids", () => {
  const { outbox, append, send, entities } = sample(2, { requests: 1 });
  const slow = outbox.add(operation.ping, "", writePing, 0, waiting, 0, 1000);
  send();
  const carol = { id: "carol", number: neverCalled };
  (entities as Numberable[]).push(carol);
  append(2, "[1]");
  const told = append(2, "[2]");
  append(2, "[3]");
  append(0, "[4]");
  outbox.giveUp(told);
  outbox.answered(slow);
  for (let i = 0; i < 3; i++) {
    send();
    for (const request of [...outbox.requests].filter(({ wasSent }) => wasSent)) outbox.answered(request);
  }
  expect(outbox.requests.count).toBe(0);
  expect(send().taken.map(({ text, entity }) => [text, entity])).toEqual([
    ["[1]", "carol"],
    ["[3]", "carol"],
    ["[4]", "entity-0"],
  ]);
});

test("a write tells how far the oldest unanswered write lies behind, sent or not, whatever else waits", () => {
  const { outbox, append, send } = sample(1, { requests: 3 });
  const slow = outbox.add(operation.backup, "", writePing, 0, waiting, 0, 1000);
  for (let i = 0; i < 200; i++) {
    const request = append(0, `[${i}]`);
    const [taken] = send().taken.splice(0);
    expect(taken?.delivery[2]).toBe(request.number);
    expect(taken?.delivery[3]).toBe(0);
    outbox.answered(request);
  }
  const first = append(0, "[1]");
  send();
  // Not sent: too many are under way.
  const second = append(0, "[2]");
  const third = append(0, "[3]");
  append(0, "[4]");
  outbox.answered(first);
  outbox.giveUp(third);
  outbox.answered(slow);
  const [, two, four] = send().taken;
  expect(two?.delivery.slice(2)).toEqual([second.number, 1]);
  expect(four?.delivery.slice(2)).toEqual([third.number + 1, 3]);
  outbox.answered(second);
  const fifth = append(0, "[5]");
  expect(send().taken.at(-1)?.delivery.slice(2)).toEqual([fifth.number, 1]);
});

test("on another connection everything unanswered comes again under its delivery id, by the entity's id", () => {
  const step = fc.record({
    entity: fc.nat({ max: 4 }),
    text: fc.string({ maxLength: 20 }).map((text) => JSON.stringify([text])),
    type: fc.constantFrom("Paid", "Refunded"),
    // Those that pick the newest leave the oldest behind, which then stand aside of a short ring.
    next: fc.constantFrom(
      ...(["nothing", "nothing", "nothing", "send", "answer", "answer newest"] as const),
      ...(["give up", "give up newest", "read"] as const),
    ),
  });
  const ringMax = fc.constantFrom(16, 2 ** 17);
  const nat = fc.nat({ max: 40 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), nat, ringMax, (steps, requests, max) => {
      const sampled = sample(5, { requests: requests + 1 }, max);
      const { outbox, peer, welcome, entities, append, send } = sampled;
      const asked = new Map<number, { entity: string; text: string; type: string; request: Request }>();
      const seen: Taken[] = [];
      for (const { entity, text, type, next } of steps) {
        const request = append(entity, text, type);
        asked.set(request.number, { entity: `entity-${entity}`, text, type, request });
        const isAnswer = next === "answer" || next === "answer newest";
        const isGivenUp = next === "give up" || next === "give up newest";
        const fitting = [...asked.values()].filter((one) => one.request.wasSent === isAnswer);
        const pick = next.endsWith("newest") ? fitting.at(-1) : fitting[0];
        if (next === "send") seen.push(...send().taken.splice(0));
        if (isAnswer && pick !== undefined) outbox.answered(pick.request);
        if (isGivenUp && pick !== undefined) outbox.giveUp(pick.request);
        if ((isAnswer || isGivenUp) && pick !== undefined) asked.delete(pick.request.number);
        // Whatever is written next says that it waits for the oldest of them.
        const waitedFor = Math.min(outbox.requests.next, ...asked.keys());
        expect(outbox.requests.oldestWrite).toBe(waitedFor);
        const alice = entities[0] as Numberable;
        const write = (writer: never, id: number, _: unknown, name: never) => writeSeq(writer, id, name);
        if (next === "read")
          outbox.answered(outbox.add(operation.seq, alice, write as never, 0, waiting, 0, 1000));
      }
      for (const one of seen) {
        const first = seen.find(({ id }) => id === one.id);
        expect(first).toBe(one);
      }
      outbox.end();
      peer.reconnect();
      outbox.begin(welcome, 0);
      const again: Taken[] = [];
      while (again.length < asked.size) {
        const some = send().taken.splice(0);
        expect(some.length).toBeGreaterThan(0);
        again.push(...some);
        for (const { id } of some) outbox.answered(asked.get(id)?.request as Request);
      }
      expect(again.map(({ id, entity, text, type }) => ({ id, entity, text, type }))).toEqual(
        [...asked.values()].map(({ entity, text, type, request }) => ({
          id: request.number,
          entity,
          text,
          type,
        })),
      );
      for (const { id, delivery } of again) {
        expect(delivery[2]).toBe(id);
        const before = seen.find((one) => one.id === id);
        if (before !== undefined) expect(delivery).toEqual(before.delivery as number[]);
      }
      expect(outbox.requests.count).toBe(0);
    }),
  );
});
