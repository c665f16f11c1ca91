/**
 * Leaving memory and coming back: the states are right, whatever they are made from.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { Engine } from "../../src/actor/engine.ts";
import { defineAggregate } from "../../src/index.ts";
import {
  account,
  cleanUp,
  collect,
  credited,
  freshDirectory,
  openSmall,
  settled,
  trace,
  until,
} from "./sample.ts";

afterEach(cleanUp);

describe("passivation", () => {
  test("of thousands of entities in little memory keeps every state right and the estimate small", async () => {
    const residentBytes = 200_000;
    const memory = { tailBytes: 1 << 20, residentBytes };
    const warp = await openSmall(freshDirectory(), { aggregates: [trace, account], memory });
    const count = 5000;
    for (let round = 1; round <= 3; round++) {
      for (let from = 0; from < count; from += 250) {
        const ids = Array.from({ length: 250 }, (_, i) => `e${from + i}`);
        await Promise.all(ids.map((id, i) => warp.entity(id).append(credited(from + i))));
        await settled(warp);
      }
      for (let i = 0; i < count; i += 97) {
        expect(await warp.entity(`e${i}`).read(trace)).toEqual({ last: round, sum: round * i });
      }
    }
    // What is unsettled or was just used stays, so the limit is passed by little.
    expect(warp.pressure.residentBytes).toBeLessThan(2 * residentBytes);
    expect(warp.pressure.residentEntities).toBeLessThan(count / 2);
  });

  test("does not take the entities of an atomic append from under it", async () => {
    const memory = { tailBytes: 1 << 20, residentBytes: 0 };
    const warp = await openSmall(freshDirectory(), { aggregates: [trace], memory });
    const ids = Array.from({ length: 12 }, (_, i) => `{t}${i}`);
    for (let round = 1; round <= 20; round++) {
      await warp.atomically(ids, (all) => {
        for (const one of all) one.append(credited(1));
      });
      await settled(warp);
      for (const id of ids) expect(await warp.entity(id).read(trace)).toEqual({ last: round, sum: round });
    }
  });
});

describe("the estimate", () => {
  test("counts what an atomic append makes of a state", async () => {
    const notes = defineAggregate({
      name: "notes",
      initialState: { text: "" },
      evolve: { Noted: (state, { data }) => ({ text: state.text + data }) },
    });
    const warp = await openSmall(freshDirectory(), { aggregates: [notes] });
    await warp.atomically(["{n}1", "{n}2"], (all) => {
      for (const one of all) one.append({ type: "Noted", data: "x".repeat(20_000) });
    });
    expect(warp.pressure.residentBytes).toBeGreaterThan(40_000);
  });

  test("is never less than half of a state that is all of its events", async () => {
    const chat = defineAggregate({
      name: "chat",
      initialState: { said: [] as readonly unknown[] },
      evolve: { Said: ({ said }, { data }) => ({ said: [...said, data] }) },
    });
    const warp = await openSmall(freshDirectory(), { aggregates: [chat] });
    for (let i = 1; i <= 200; i++) {
      await warp.entity("room").append({ type: "Said", data: "x".repeat(5000) });
      expect(warp.pressure.residentBytes).toBeGreaterThan((i * 5000) / 2);
    }
  });

  test("need not count keyed results: an actor forgets them when the disk has them", async () => {
    const submitted = spyOn(Engine.prototype, "submit");
    const warp = await openSmall(freshDirectory());
    await Promise.all(["a", "b"].map((key) => warp.entity("e").append(credited(1), { key })));
    const actor = submitted.mock.calls[0]?.[0].actor;
    submitted.mockRestore();
    expect(actor?.keyed?.size).toBe(2);
    await settled(warp);
    await until(() => actor?.isSettled === true);
    expect(actor?.keyed).toBeUndefined();
    expect(await warp.entity("e").append(credited(1), { key: "a" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
  });
});

describe("snapshots", () => {
  test("give bytes back as they were, and can be made again", async () => {
    const album = defineAggregate({
      name: "album",
      initialState: { photo: new Uint8Array(), count: 0 },
      evolve: ({ count }, { data }) => ({ photo: data.photo as Uint8Array<ArrayBuffer>, count: count + 1 }),
      snapshotEvery: 2,
    });
    const dataDir = freshDirectory();
    const photo = Uint8Array.of(1, 2, 3);
    for (let round = 1; round <= 3; round++) {
      const warp = await openSmall(dataDir, { aggregates: [album] });
      const before = await warp.entity("e").read(album);
      if (round > 1) expect(before).toEqual({ photo, count: 2 * (round - 1) });
      for (const part of [before.photo]) expect(Object.getPrototypeOf(part)).toBe(Uint8Array.prototype);
      for (let i = 0; i < 2; i++) await warp.entity("e").append({ type: "Added", data: { photo } });
      await settled(warp);
      await warp.close();
    }
  });

  test("are where a load begins; another version of an aggregate folds again, alone", async () => {
    const dataDir = freshDirectory();
    let folded = 0;
    const counting = (version: number) =>
      defineAggregate({
        name: "counting",
        version,
        initialState: { sum: 0, version },
        evolve: (state, { data }) => {
          folded++;
          return { ...state, sum: state.sum + data.cents };
        },
        snapshotEvery: 10,
      });
    const warp = await openSmall(dataDir, { aggregates: [counting(1), account] });
    for (let i = 0; i < 25; i++) {
      await warp.entity("e").append(credited(1));
      await settled(warp);
    }
    await warp.close();
    expect(folded).toBe(25);

    folded = 0;
    const same = await openSmall(dataDir, { aggregates: [account, counting(1)] });
    expect(await same.entity("e").read("counting")).toEqual({ sum: 25, version: 1 });
    expect(folded).toBeLessThan(15);
    await same.close();

    folded = 0;
    const other = await openSmall(dataDir, { aggregates: [counting(2), account] });
    expect(await other.entity("e").read("counting")).toEqual({ sum: 25, version: 2 });
    expect(await other.entity("e").read(account)).toEqual({ cents: 25, count: 25 });
    expect(folded).toBe(25);
  });

  test("of a state that cannot be stored are left out, said once, and the state is folded", async () => {
    const dataDir = freshDirectory();
    const warnings: string[] = [];
    const logger = {
      info: () => {},
      error: () => {},
      warn: (message: string) => void warnings.push(message),
    };
    const map = defineAggregate({
      name: "map",
      initialState: () => new Map<number, number>(),
      evolve: (state: Map<number, number>, { seq, data }) => new Map(state).set(seq, data.cents),
      snapshotEvery: 5,
    });
    const warp = await openSmall(dataDir, { aggregates: [map], logger });
    for (let i = 0; i < 30; i++) await warp.entity("e").append(credited(i));
    await warp.close();
    expect(warnings.length).toBe(1);
    const next = await openSmall(dataDir, { aggregates: [map], logger });
    expect((await next.entity("e").read(map)).size).toBe(30);
  });
});

describe("states", () => {
  test("are frozen in tests, live and loaded", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    await warp.entity("e").append(credited(1));
    expect(Object.isFrozen(warp.entity("e").state(account))).toBe(true);
    await warp.close();
    const next = await openSmall(dataDir);
    expect(Object.isFrozen(await next.entity("e").read(account))).toBe(true);
  });

  test("are not kept in log mode, where everything else works", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir, { mode: "log" });
    const entity = warp.entity("e");
    await entity.append(credited(1), { key: "k" });
    expect(await entity.append(credited(1), { key: "k" })).toMatchObject({ duplicate: true });
    expect(await entity.append({ type: "Anything", data: [] }, { expect: 1 })).toMatchObject({ seq: 2 });
    expect(() => entity.state(account)).toThrow("log mode");
    await warp.close();
    const next = await openSmall(dataDir, { mode: "log" });
    expect(await next.entity("e").seq()).toBe(2);
    expect((await collect(next.entity("e").events())).map(({ type }) => type)).toEqual([
      "Credited",
      "Anything",
    ]);
  });
});

describe("a listing", () => {
  test("is in the order of UTF-8 bytes, by prefix and page, of settled and unsettled ids alike", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 4, settle: { delayMs: 3_600_000 } });
    const parts = [
      "a",
      "a/b",
      "ab",
      "z",
      "é",
      "日本",
      "\uffff",
      "🦊",
      "\u{10ffff}",
      " ",
      "{t}",
      "A\t",
      "a\u0301",
    ];
    const ids = parts.flatMap((first) => parts.map((second) => `${first}${second}`));
    const sorted = [...new Set(ids)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const append = (some: readonly string[]) =>
      Promise.all(some.map((id) => warp.entity(id).append(credited(1))));
    await append(ids.slice(0, 80));
    // A full settle.bytes orders a round in spite of the delay.
    await warp.entity("0").append({ type: "Credited", data: { cents: 1, note: "n".repeat(100_000) } });
    await warp.entity("0").append({ type: "Credited", data: { cents: 1, note: "n".repeat(100_000) } });
    await warp.entity("0").append({ type: "Credited", data: { cents: 1, note: "n".repeat(100_000) } });
    await until(() => warp.pressure.unsettledBytes < 300_000);
    await append(ids.slice(80));
    const listed = async (query: Parameters<typeof warp.entities>[0]) =>
      (await collect(warp.entities(query))).map(({ id }) => id).filter((id) => id !== "0");
    expect(await listed({})).toEqual(sorted);
    for (const prefix of parts) {
      const matching = sorted.filter((id) => id.startsWith(prefix));
      expect(await listed({ prefix })).toEqual(matching);
      const after = matching[3];
      if (after === undefined) continue;
      expect(await listed({ prefix, after, limit: 4 })).toEqual(matching.slice(4, 8));
    }
  });

  test("of more than a page has every entity once, with its newest seq", async () => {
    const warp = await openSmall(freshDirectory());
    const ids = Array.from({ length: 1700 }, (_, i) => `e${String(i).padStart(5, "0")}`);
    await Promise.all(ids.map((id) => warp.entity(id).append(credited(1))));
    await Promise.all(ids.slice(0, 100).map((id) => warp.entity(id).append(credited(1))));
    const all = await collect(warp.entities());
    expect(all).toEqual(ids.map((id, i) => ({ id, seq: i < 100 ? 2 : 1 })));
  });
});
