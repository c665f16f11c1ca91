/**
 * What an observer can and cannot see while an append is on its way to the disk.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { defineAggregate, reject } from "../../src/index.ts";
import { account, cleanUp, codeOf, collect, credited, freshDirectory, openSmall } from "./sample.ts";

afterEach(cleanUp);

const newest = { ok: true, duplicate: false } as const;

describe("before its append is durable", () => {
  test("an event is in no state, no history and no listing; afterwards it is in all", async () => {
    const warp = await openSmall(freshDirectory());
    // An answer that comes once the append is durable may or may not have it: such a round tells nothing.
    const reads = ["seq", "history", "listing"] as const;
    const told = new Set<(typeof reads)[number]>();
    for (let round = 0; told.size < reads.length; round++) {
      const id = `alice-${round}`;
      const alice = warp.entity(id);
      await alice.read();
      let isDurable = false;
      const appended = alice.append(credited(5)).then(() => {
        isDurable = true;
      });
      expect(alice.state(account)).toEqual({ cents: 0, count: 0 });
      const read = reads[round % reads.length];
      const found =
        read === "seq"
          ? await alice.seq()
          : read === "history"
            ? (await collect(alice.events())).length
            : (await collect(warp.entities({ prefix: id }))).length;
      if (!isDurable && read !== undefined) {
        expect(found).toBe(0);
        told.add(read);
      }
      await appended;
      expect(alice.state(account)).toEqual({ cents: 5, count: 1 });
      expect((await collect(alice.events())).map(({ seq, data }) => [seq, data])).toEqual([
        [1, { cents: 5 }],
      ]);
      expect(await collect(warp.entities({ prefix: id }))).toEqual([{ id, seq: 1 }]);
    }
  });

  test("calls queued behind it see its effect, and their answers wait for it", async () => {
    const warp = await openSmall(freshDirectory());
    const alice = warp.entity("alice");
    const order: string[] = [];
    const note =
      (name: string) =>
      <Value>(value: Value): Value => {
        order.push(name);
        return value;
      };
    const results = await Promise.all([
      alice.append(credited(100)).then(note("append")),
      alice.append(credited(1), { expect: "none" }).then(note("conflict")),
      alice.send("debit", { cents: 60 }).then(note("debit")),
      alice.send("debit", { cents: 60 }).then(note("rejected")),
      alice.appendBatch([]).then(note("nothing")),
      alice.append(credited(1), { expect: 2 }).then(note("expected")),
      warp.atomically(["alice"], ([one]) => reject("NO", one?.state(account))).then(note("together")),
    ]);
    expect(results).toMatchObject([
      { ...newest, seq: 1, count: 1 },
      { ok: false, reason: "conflict", seq: 1 },
      { ...newest, seq: 2 },
      { ok: false, reason: "rejected", code: "INSUFFICIENT_FUNDS", details: { have: 40 }, seq: 2 },
      { ok: true, seq: 2, count: 0 },
      { ...newest, seq: 3 },
      { ok: false, reason: "rejected", code: "NO", details: { cents: 41, count: 3 } },
    ]);
    expect(order[0]).toBe("append");
    expect(alice.state(account)).toEqual({ cents: 41, count: 3 });
  });
});

describe("expect", () => {
  test.each([
    ["any", 0, true],
    ["any", 2, true],
    ["none", 0, true],
    ["none", 1, false],
    ["exists", 0, false],
    ["exists", 1, true],
    [0, 0, true],
    [0, 1, false],
    [2, 2, true],
    [2, 3, false],
    [3, 2, false],
  ] as const)("%p of an entity with %p events holds: %p", async (expected, events, holds) => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    for (let i = 0; i < events; i++) await entity.append(credited(1));
    const result = await entity.append(credited(1), { expect: expected });
    if (holds) expect(result).toMatchObject({ ok: true, seq: events + 1 });
    else expect(result).toEqual({ ok: false, reason: "conflict", seq: events });
    expect(await entity.seq()).toBe(events + (holds ? 1 : 0));
  });
});

describe("one append", () => {
  test("of many events is whole, numbered without gaps, and one record", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    await entity.append(credited(1));
    const batch = Array.from({ length: 500 }, (_, i) => credited(i));
    expect(await entity.appendBatch(batch)).toMatchObject({ firstSeq: 2, seq: 501, count: 500 });
    const events = await collect(entity.events());
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 501 }, (_, i) => i + 1));
    expect(new Set(events.slice(1).map(({ position }) => position)).size).toBe(1);
  });

  test("to several entities is all of it or nothing", async () => {
    const warp = await openSmall(freshDirectory());
    await warp.entity("{t}a").append(credited(10));
    const move = (cents: number) =>
      warp.atomically(["{t}a", "{t}b"], ([a, b]) => {
        const have = a?.state(account).cents ?? 0;
        a?.append({ type: "Debited", data: { cents } });
        b?.append(credited(cents));
        return have < cents ? reject("INSUFFICIENT_FUNDS") : undefined;
      });
    const results = await Promise.all([move(7), move(7)]);
    expect(results).toMatchObject([
      { ok: true, results: [{ seq: 2 }, { seq: 1 }] },
      { ok: false, code: "INSUFFICIENT_FUNDS" },
    ]);
    expect(await warp.entity("{t}a").read(account)).toEqual({ cents: 3, count: 2 });
    expect(await warp.entity("{t}b").read(account)).toEqual({ cents: 7, count: 1 });
  });

  test("that evolve refuses changes nothing, and the actor lives on", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    await entity.append(credited(1));
    const bad = { type: "Credited", data: null };
    expect(entity.append(bad)).rejects.toMatchObject({ code: "EVOLVE_FAILED", details: { seq: 2 } });
    expect(entity.appendBatch([credited(1), bad])).rejects.toMatchObject({ code: "EVOLVE_FAILED" });
    expect(await entity.append(credited(2))).toMatchObject({ seq: 2 });
    expect(entity.state(account)).toEqual({ cents: 3, count: 2 });
  });
});

test("a function that appends to the entity it is run for fails, and what it appended stands", async () => {
  const dataDir = freshDirectory();
  const append = (id: string) => warp.entity(id).append({ type: "Inner", data: 1 });
  const inner: Promise<unknown>[] = [];
  const meddling = defineAggregate({
    name: "meddling",
    initialState: 0,
    evolve: (state: number, { type, entity }) => {
      if (type === "Outer") inner.push(append(entity));
      return state + 1;
    },
    commands: {
      meddle: (_state, id: string) => {
        inner.push(append(id));
        return { type: "Inner", data: 2 };
      },
    },
  });
  const warp = await openSmall(dataDir, { aggregates: [meddling] });
  expect(await codeOf(warp.entity("a").append({ type: "Outer", data: 1 }))).toBe("EVOLVE_FAILED");
  expect(await codeOf(warp.entity("b").send("meddle", "b"))).toBe("COMMAND_FAILED");
  const together = warp.atomically(["c"], ([participant]) => {
    inner.push(append("c"));
    participant?.append({ type: "Inner", data: 3 });
  });
  expect(await codeOf(together)).toBe("COMMAND_FAILED");
  await Promise.all(inner);
  await warp.close();
  const again = await openSmall(dataDir, { aggregates: [meddling] });
  for (const id of ["a", "b", "c"]) expect(await again.entity(id).seq()).toBe(1);
});
