/**
 * A repeated call counts once: caller keys for as long as the entity lives, delivery ids for as long as their session.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../../src/core/limits.ts";
import { checkDirectory, defineAggregate, type Entity, type Warp } from "../../src/index.ts";
import { shardOf } from "../../src/shard/placement.ts";
import { account, cleanUp, codeOf, credited, freshDirectory, openSmall, settled } from "./sample.ts";

afterEach(cleanUp);

const pay = (entity: Entity) => entity.append(credited(50), { key: "salary" });
const overdraw = (entity: Entity) => entity.send("debit", { cents: 999 }, { key: "rent" });
const first = { ok: true, seq: 1, firstSeq: 1, count: 1 } as const;
const refusal = { ok: false, reason: "rejected", code: "INSUFFICIENT_FUNDS", details: { have: 50 } } as const;

async function expectRepeats(entity: Entity): Promise<void> {
  expect(await pay(entity)).toMatchObject({ ...first, duplicate: true });
  expect(await overdraw(entity)).toMatchObject({ ...refusal, duplicate: true });
  expect(await codeOf(entity.append(credited(51), { key: "salary" }))).toBe("KEY_REUSED");
  expect(await codeOf(entity.append(credited(50), { key: "rent" }))).toBe("KEY_REUSED");
  expect(await entity.append(credited(50), { key: "salary", expect: 77 })).toMatchObject({ duplicate: true });
}

describe("a caller key", () => {
  test("is that of what was asked, whatever the command does to its input", async () => {
    const careless = defineAggregate({
      name: "careless",
      initialState: { cents: 0 },
      evolve: { Paid: (state, { data }) => ({ cents: state.cents + data.cents }) },
      commands: {
        pay: (_state, input: { cents: number[] }) => ({
          type: "Paid",
          data: { cents: input.cents.splice(0).reduce((sum, one) => sum + one, 0) },
        }),
      },
    });
    const warp = await openSmall(freshDirectory(), { aggregates: [careless] });
    const paid = () => warp.entity("e").send("pay", { cents: [1, 2] }, { key: "k" });
    expect(await paid()).toMatchObject({ seq: 1, duplicate: false });
    expect(await paid()).toMatchObject({ seq: 1, duplicate: true });
    expect(await codeOf(warp.entity("e").send("pay", { cents: [3] }, { key: "k" }))).toBe("KEY_REUSED");
  });

  test("gives repeats the first result, rejections included, wherever that result is kept by then", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir, { memory: { tailBytes: 1 << 20, residentBytes: 0 } });
    const alice = warp.entity("alice");
    const [paid, again, refused] = await Promise.all([pay(alice), pay(alice), overdraw(alice)]);
    expect([paid, again, refused]).toMatchObject([
      { ...first, duplicate: false },
      { ...first, duplicate: true },
      { ...refusal, duplicate: false },
    ]);
    await expectRepeats(alice);
    await settled(warp);
    await expectRepeats(alice);
    for (let i = 0; i < 2000; i++) warp.entity(`other-${i}`);
    await expectRepeats(warp.entity("alice"));
    expect(await alice.append(credited(1), { key: "bonus" })).toMatchObject({ seq: 2, duplicate: false });
    await warp.close();

    const next = await openSmall(dataDir);
    await expectRepeats(next.entity("alice"));
    expect(await next.entity("alice").append(credited(1), { key: "bonus" })).toMatchObject({
      seq: 2,
      duplicate: true,
    });
    expect(await next.entity("bob").append(credited(1), { key: "bonus" })).toMatchObject({
      duplicate: false,
    });
    expect(await next.entity("alice").read(account)).toEqual({ cents: 51, count: 2 });
  });

  test("gives repeats the first result also when there was nothing to append", async () => {
    const till = defineAggregate({
      name: "till",
      initialState: { cents: 0 },
      evolve: {
        Credited: (state, { data }) => ({ cents: state.cents + data.cents }),
        Emptied: () => ({ cents: 0 }),
      },
      commands: { empty: (state) => (state.cents === 0 ? undefined : { type: "Emptied", data: null }) },
    });
    const nothing = { ok: true, seq: 0, firstSeq: 1, count: 0 } as const;
    const delivery = { sessionStart: Date.now(), sessionNumber: 7, counter: 1 };
    const empty = (of: Entity) => of.send("empty", null, { key: "evening" });
    const emptyFromAfar = (of: Entity) => of.send("empty", null, { key: "night", delivery });
    const none = (of: Entity) => of.appendBatch([], { key: "none" });
    const expectRepeats = async (of: Entity) => {
      for (const call of [empty, emptyFromAfar, none])
        expect(await call(of)).toMatchObject({ ...nothing, duplicate: true });
      expect(await codeOf(of.append(credited(1), { key: "evening" }))).toBe("KEY_REUSED");
      expect(await of.read(till)).toEqual({ cents: 5 });
    };
    const dataDir = freshDirectory();
    const settings = { aggregates: [till], settle: { delayMs: 3_600_000 } };
    const warp = await openSmall(dataDir, settings);
    const entity = warp.entity("till-1");
    const firsts = await Promise.all([empty(entity), emptyFromAfar(entity), none(entity)]);
    for (const result of firsts) expect(result).toMatchObject({ ...nothing, duplicate: false });
    expect(await entity.append(credited(5))).toMatchObject({ seq: 1 });
    await expectRepeats(entity);
    // What a crash leaves: it is in the journal alone.
    const copy = join(freshDirectory(), "crashed");
    cpSync(dataDir, copy, { recursive: true });
    rmSync(join(copy, "lock.db"), { force: true });
    await warp.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
    await expectRepeats((await openSmall(dataDir, settings)).entity("till-1"));
    const crashed = await openSmall(copy, { ...settings, settle: { delayMs: 0 } });
    await expectRepeats(crashed.entity("till-1"));
    await settled(crashed);
    await expectRepeats(crashed.entity("till-1"));
  });

  test("names what was asked: other types, times, inputs and commands are something else", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    const event = { ...credited(1), occurredAt: 1000 };
    await entity.append(event, { key: "k" });
    expect(await entity.append({ ...event, occurredAt: new Date(1000) }, { key: "k" })).toMatchObject({
      duplicate: true,
    });
    expect(await codeOf(entity.append({ ...event, occurredAt: 1001 }, { key: "k" }))).toBe("KEY_REUSED");
    expect(await codeOf(entity.append({ ...event, type: "Debited" }, { key: "k" }))).toBe("KEY_REUSED");
    expect(await codeOf(entity.appendBatch([event, event], { key: "k" }))).toBe("KEY_REUSED");
    expect(await codeOf(entity.send("debit", { cents: 1 }, { key: "k" }))).toBe("KEY_REUSED");
  });
});

describe("a delivery id", () => {
  const session = { sessionStart: Date.now(), sessionNumber: 42 };
  const deliver = (entity: Entity, counter: number, of = session) =>
    entity.append(credited(1), { delivery: { ...of, counter } });

  test("counts once, before and after settling and a restart", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    const entity = warp.entity("e");
    const both = await Promise.all([deliver(entity, 1), deliver(entity, 1)]);
    expect(both).toMatchObject([
      { ...first, duplicate: false },
      { ...first, duplicate: true },
    ]);
    await settled(warp);
    expect(await deliver(entity, 1)).toMatchObject({ ...first, duplicate: true });
    expect(await deliver(entity, 3)).toMatchObject({ seq: 2, duplicate: false });
    await warp.close();
    const next = await openSmall(dataDir);
    expect(await deliver(next.entity("e"), 1)).toMatchObject({ ...first, duplicate: true });
    expect(await deliver(next.entity("e"), 3)).toMatchObject({ seq: 2, duplicate: true });
    expect(await deliver(next.entity("e"), 2)).toMatchObject({ seq: 3, duplicate: false });
    const other = { ...session, sessionNumber: 43 };
    expect(await deliver(next.entity("e"), 1, other)).toMatchObject({ seq: 4, duplicate: false });
  });

  test("that fell out of its window, or whose session is too old, is refused and never applied", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 1 });
    const entity = warp.entity("e");
    const count = limits.deliveryWindow + 10;
    await Promise.all(Array.from({ length: count }, (_, i) => deliver(entity, i + 1)));
    expect(await codeOf(deliver(entity, 10))).toBe("KEY_EXPIRED");
    expect(await deliver(entity, 11)).toMatchObject({ duplicate: true });
    expect(await deliver(entity, count)).toMatchObject({ seq: count, duplicate: true });
    const old = { ...session, sessionStart: Date.now() - limits.deliveryTtlMs - 1000 };
    expect(await codeOf(deliver(entity, 1, old))).toBe("KEY_EXPIRED");
    expect(await entity.seq()).toBe(count);
  });

  test("counts once also when the clock was ahead for a while, and its shard had nothing to do", async () => {
    const warp = await openSmall(freshDirectory());
    const ids = Array.from({ length: 40 }, (_, i) => `e-${i}`);
    const [one, other] = [0, 1].map((shard) => ids.find((id) => shardOf(id, 2) === shard) ?? "");
    const idle = warp.entity(one ?? "");
    const busy = warp.entity(other ?? "");
    expect(await deliver(idle, 1)).toMatchObject({ seq: 1 });
    await settled(warp);
    const now = Date.now.bind(Date);
    const ahead = spyOn(Date, "now").mockImplementation(() => now() + 2 * limits.deliveryTtlMs);
    try {
      for (let round = 0; round < 3; round++) {
        await busy.append(credited(1));
        await settled(warp);
      }
    } finally {
      ahead.mockRestore();
    }
    expect(await deliver(idle, 1)).toMatchObject({ seq: 1, duplicate: true });
    expect(await idle.seq()).toBe(1);
  });

  test("is taken in every shard, and by the next start, when the clock was ahead by days in one of them", async () => {
    const errors: unknown[] = [];
    const error = (message: string, fields?: object) => void errors.push([message, fields]);
    const logger = { info: () => {}, warn: () => {}, error };
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir, { logger });
    const ids = Array.from({ length: 40 }, (_, i) => `e-${i}`);
    const homes = [0, 1].map((shard) => ids.find((id) => shardOf(id, 2) === shard) ?? "");
    const now = Date.now.bind(Date);
    const days = 5 * limits.deliveryTtlMs;
    const ahead = spyOn(Date, "now").mockImplementation(() => now() + days);
    try {
      await warp.entity(homes[0] ?? "").append(credited(1));
    } finally {
      ahead.mockRestore();
    }
    let seqs = [1, 0];
    const deliverAll = async (to: Warp, counter: number) => {
      const of = { sessionStart: Math.floor(to.sessionTime()), sessionNumber: counter };
      expect(of.sessionStart).toBeWithin(now() + days - 60_000, now() + days + 60_000);
      seqs = seqs.map((seq) => seq + 1);
      for (const isDuplicate of [false, true])
        for (const [shard, id] of homes.entries())
          expect(await deliver(to.entity(id), 1, of)).toMatchObject({
            ...{ seq: seqs[shard], duplicate: isDuplicate },
          });
    };
    await deliverAll(warp, 1);
    expect(errors).toMatchObject([[expect.stringContaining("ahead"), { aheadMs: expect.any(Number) }]]);
    await warp.close();
    const next = await openSmall(dataDir, { logger });
    expect(errors.length).toBe(2);
    await deliverAll(next, 2);
    expect(errors.length).toBe(2);
  });

  test("counts once also when its session was let go from memory, before and after starts, clean or not", async () => {
    const memory = { tailBytes: 1 << 20, deliveryBytes: 0 };
    const of = (number: number) => ({ sessionStart: session.sessionStart - number, sessionNumber: number });
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir, { shards: 1, memory });
    const begin = (entity: Entity, counter: number) =>
      Promise.all(Array.from({ length: 20 }, (_, n) => deliver(entity, counter, of(n))));
    const expectRepeats = async (entity: Entity, counter: number) => {
      const seqs = (await begin(entity, counter)).map((result) => {
        expect(result).toMatchObject({ duplicate: true });
        return result.seq;
      });
      expect(seqs).toEqual(Array.from({ length: 20 }, (_, n) => (counter - 1) * 20 + n + 1));
    };
    await begin(warp.entity("e"), 1);
    await settled(warp);
    // The next round lets them go.
    await warp.entity("other").append(credited(1));
    await settled(warp);
    await expectRepeats(warp.entity("e"), 1);
    await begin(warp.entity("e"), 2);
    await warp.close();

    const next = await openSmall(dataDir, { shards: 1, memory, settle: { delayMs: 3_600_000 } });
    await expectRepeats(next.entity("e"), 2);
    await begin(next.entity("e"), 3);
    // What a crash leaves: the third requests are in the journal alone, and the windows of their sessions in the file alone.
    const copy = join(freshDirectory(), "crashed");
    cpSync(dataDir, copy, { recursive: true });
    rmSync(join(copy, "lock.db"), { force: true });
    await next.close();
    const crashed = await openSmall(copy, { shards: 1, memory });
    for (const counter of [3, 1, 2]) await expectRepeats(crashed.entity("e"), counter);
    await settled(crashed);
    await crashed.entity("other").append(credited(1));
    await settled(crashed);
    for (const counter of [1, 2, 3]) await expectRepeats(crashed.entity("e"), counter);
    expect(await crashed.entity("e").seq()).toBe(60);
  });

  test("of a conflict or a rejection is free to be decided again", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    const delivery = { ...session, counter: 7 };
    expect(await entity.append(credited(1), { delivery, expect: "exists" })).toMatchObject({ ok: false });
    expect(await entity.append(credited(1), { delivery })).toMatchObject({ ok: true, duplicate: false });
  });

  test("is three whole numbers", async () => {
    const warp = await openSmall(freshDirectory());
    for (const bad of [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, 2 ** 53]) {
      for (const part of ["sessionStart", "sessionNumber", "counter"]) {
        const delivery = { ...session, counter: 1, [part]: bad };
        expect(await codeOf(warp.entity("e").append(credited(1), { delivery }))).toBe("INVALID_ARGUMENT");
      }
    }
    expect(await warp.entity("e").append(credited(1))).toMatchObject({ seq: 1 });
  });
});
