/**
 * Reading the past, while settling moves it from the tail into the shards' files: every read equals the model.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { defineAggregate, type StoredEvent } from "../../src/index.ts";
import {
  account,
  cleanUp,
  codeOf,
  collect,
  credited,
  freshDirectory,
  openSmall,
  seededRandom,
  settled,
} from "./sample.ts";

afterEach(cleanUp);

const seed = Number(process.env.SEED ?? 7);
const seqsOf = (events: readonly StoredEvent[]) => events.map(({ seq }) => seq);
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

test("an event is folded as it was when it was appended, whoever folds it again", async () => {
  const diary = defineAggregate({
    name: "diary",
    initialState: { events: [] as readonly unknown[] },
    evolve: ({ events }, event) => ({ events: [...events, event] }),
  });
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { aggregates: [diary] });
  const entity = warp.entity("e");
  await entity.append(credited(1));
  await entity.append({ ...credited(2), occurredAt: 5 });
  await entity.append({ ...credited(3), personal: { subject: "s", data: { name: "Sue" } } });
  const state = entity.state();
  expect(await entity.stateAt({ seq: 3 })).toEqual(state);
  await settled(warp);
  expect(await entity.stateAt({ seq: 3 })).toEqual(state);
  await warp.close();
  const again = await openSmall(dataDir, { aggregates: [diary] });
  expect(await again.entity("e").read()).toEqual(state);
});

describe("events", () => {
  test("equal the model in both directions, from, to and up to a limit, while they are settled", async () => {
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    const whole = (max: number) => Math.floor(random() * max);
    const warp = await openSmall(freshDirectory(), { settle: { delayMs: 1 } });
    const entity = warp.entity("e");
    const model: number[] = [];
    let done = false;
    const writing = (async () => {
      for (let round = 0; round < 300; round++) {
        const batch = range(1, 1 + whole(5)).map(() => whole(1e6));
        const note = "n".repeat(whole(3) === 0 ? 20_000 : 10);
        await entity.appendBatch(batch.map((cents) => ({ type: "Credited", data: { cents, note } })));
        model.push(...batch);
      }
      done = true;
    })();
    let reads = 0;
    while (!done) {
      // A read of what is in memory needs no turn of the event loop; writing does.
      await new Promise((resolve) => setImmediate(resolve));
      const known = model.length;
      const from = whole(known + 2);
      const to = from + whole(known + 2);
      const limit = random() < 0.5 ? 1 + whole(20) : 1e9;
      const direction = random() < 0.5 ? "forward" : "backward";
      const events = await collect(entity.events({ from, to, limit, direction }));
      // What was appended after the read was asked for may be in it or not.
      const newest = Math.min(to, Math.max(known, ...seqsOf(events)));
      const expected = range(Math.max(1, from), newest);
      if (direction === "backward") expected.reverse();
      expect(seqsOf(events)).toEqual(expected.slice(0, limit));
      for (const { seq, data } of events) {
        if (seq <= model.length) expect(data).toMatchObject({ cents: model[seq - 1] });
      }
      reads++;
    }
    await writing;
    expect(reads).toBeGreaterThan(10);
    await settled(warp);
    expect(seqsOf(await collect(entity.events()))).toEqual(range(1, model.length));
  });

  test("have what was given, bytes and times included, and positions and times that rise", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("ünïcode/🦊");
    const data = {
      cents: 1,
      text: "\u2028 𝄞",
      bytes: new Uint8Array([0, 255]),
      at: new Date(5),
      big: -5n,
      none: null,
    };
    await entity.append({ type: "Credited", data, occurredAt: new Date(1234) });
    await entity.append(credited(2));
    for (const wait of [() => Promise.resolve(), () => settled(warp)]) {
      await wait();
      const [first, second] = await collect(entity.events());
      expect(first).toMatchObject({
        entity: "ünïcode/🦊",
        seq: 1,
        type: "Credited",
        version: 1,
        data,
        occurredAt: 1234,
      });
      expect(second).toMatchObject({ seq: 2, data: { cents: 2 } });
      expect(second).not.toHaveProperty("occurredAt");
      expect(second?.position).toBeGreaterThan(first?.position ?? 0);
      expect(second?.recordedAt).toBeGreaterThanOrEqual(first?.recordedAt ?? 0);
    }
    expect(await codeOf(collect(entity.events({ from: -1 })))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(collect(entity.events({ limit: 1.5 })))).toBe("INVALID_ARGUMENT");
  });
});

describe("a moment", () => {
  test("is a seq, a time of recording or a time of happening, settled or not", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    await entity.append({ ...credited(1), occurredAt: 3000 });
    await entity.append({ ...credited(10), occurredAt: 1000 });
    await entity.append({ ...credited(100), occurredAt: 2000 });
    const events = await collect(entity.events());
    for (const wait of [() => Promise.resolve(), () => settled(warp)]) {
      await wait();
      const cents = async (moment: Parameters<typeof entity.stateAt>[0]) =>
        (await entity.stateAt(moment, account)).cents;
      expect(await Promise.all([0, 1, 2, 3, 99].map((seq) => cents({ seq })))).toEqual([0, 1, 11, 111, 111]);
      const times = [999, 1000, 2000, 2999, 3000];
      expect(await Promise.all(times.map((occurred) => cents({ occurred })))).toEqual([0, 10, 110, 110, 111]);
      expect(await cents({ recorded: (events[0]?.recordedAt ?? 0) - 1 })).toBe(0);
      expect(await cents({ recorded: new Date(events[2]?.recordedAt ?? 0) })).toBe(111);
    }
  });
});

describe("an upcast", () => {
  const types = { Paid: { 1: (data: { euros: number }) => ({ cents: data.euros * 100 }) } };
  const evolve = { Paid: (sum: number, { data }: { data: { cents: number } }) => sum + data.cents };
  const old = defineAggregate({
    name: "purse",
    version: 1,
    initialState: 0,
    evolve: { Paid: (sum: number, { data }) => sum + data.euros },
  });
  const purse = defineAggregate({ name: "purse", version: 2, initialState: 0, evolve, upcast: types });

  test("is seen by folding and events; the stored form is kept", async () => {
    const dataDir = freshDirectory();
    const first = await openSmall(dataDir, { aggregates: [old] });
    await first.entity("e").append({ type: "Paid", data: { euros: 3 } });
    await first.close();
    const warp = await openSmall(dataDir, { aggregates: [purse] });
    const entity = warp.entity("e");
    await entity.append({ type: "Paid", data: { cents: 50 } });
    expect(await entity.read(purse)).toBe(350);
    const shown = [1, 2].map((seq) => ({ seq, version: 2, data: { cents: seq === 1 ? 300 : 50 } }));
    expect(await collect(entity.events())).toMatchObject(shown);
    const stored = [
      { version: 1, data: { euros: 3 } },
      { version: 2, data: { cents: 50 } },
    ];
    expect(await collect(entity.storedEvents())).toMatchObject(stored);
    expect(await entity.stateAt({ seq: 1 }, purse)).toBe(300);
  });
});

test("an append after one that failed has its own time, however long that was ago", async () => {
  const fragile = defineAggregate({
    name: "fragile",
    initialState: 0,
    evolve: (state: number, { type }) => {
      if (type === "Broken") throw new Error("this event cannot be folded");
      return state + 1;
    },
  });
  const warp = await openSmall(freshDirectory(), { aggregates: [fragile] });
  const entity = warp.entity("e");
  await entity.append({ type: "Fine", data: 1 });
  // The journal has come to rest, so that what fails now is the first to ask for the time of an open, empty turn.
  await new Promise((resolve) => setImmediate(resolve));
  expect(await codeOf(entity.append({ type: "Broken", data: 2 }))).toBe("EVOLVE_FAILED");
  const failedAt = Date.now();
  while (Date.now() < failedAt + 3) await new Promise((resolve) => setImmediate(resolve));
  const before = Date.now();
  await entity.append({ type: "Fine", data: 3 });
  const [, second] = await collect(entity.storedEvents());
  expect(second?.recordedAt).toBeGreaterThanOrEqual(before);
});
