/**
 * What callers are told while an entity is erased and afterwards, and that the rest of the context does not notice.
 */
import { heapStats } from "bun:jsc";
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { checkDirectory, defineAggregate, type Entity, type Warp } from "../../src/index.ts";
import { shardOf } from "../../src/shard/placement.ts";
import {
  account,
  cleanUp,
  codeOf,
  collect,
  credited,
  freshDirectory,
  openSmall,
  settled,
  until,
} from "../engine/sample.ts";
import { tracesOf } from "./traces.ts";

afterEach(cleanUp);

const filled = async (warp: Warp, id: string, events = 25): Promise<Entity> => {
  const entity = warp.entity(id);
  for (let i = 0; i < events; i++) await entity.append(credited(1), { key: `key-${i}` });
  return entity;
};

async function ids(warp: Warp): Promise<string[]> {
  return (await collect(warp.entities())).map(({ id }) => id);
}

describe("an erased entity", () => {
  test("is gone for every call, before and after it is settled and after a restart", async () => {
    const dataDir = freshDirectory();
    for (const isSettled of [false, true]) {
      const warp = await openSmall(dataDir);
      await filled(warp, "bob");
      const id = `alice-${isSettled}`;
      const alice = await filled(warp, id);
      if (isSettled) await settled(warp);
      const receipt = await alice.delete({ reason: "art-17", by: "ticket-4711" });
      expect(receipt).toMatchObject({ status: "erased", entity: id, pending: [], removed: { events: 25 } });
      expect(receipt.entry).toBeGreaterThan(0);
      if (isSettled) expect(receipt.removed).toMatchObject({ callerKeys: 25 });
      if (isSettled) expect(receipt.fingerprint).not.toMatch(/^0+$/);
      for (const again of [alice, warp.entity(id)]) {
        expect(await codeOf(again.append(credited(1)))).toBe("ERASED");
        expect(await codeOf(again.append(credited(1), { key: "key-0" }))).toBe("ERASED");
        expect(await codeOf(again.append(credited(1), { expect: "exists" }))).toBe("ERASED");
        expect(await codeOf(again.append(credited(1), { expect: 0 }))).toBe("ERASED");
        expect(await codeOf(again.send("debit", { cents: 1 }))).toBe("ERASED");
        expect(await codeOf(again.read())).toBe("ERASED");
        expect(await codeOf(again.seq())).toBe("ERASED");
        expect(await codeOf(collect(again.events()))).toBe("ERASED");
        expect(again.residentSnapshot()).toBeUndefined();
      }
      expect(await codeOf(warp.atomically([id], ([one]) => one?.append(credited(1))))).toBe("ERASED");
      expect(await ids(warp)).not.toContain(id);
      await warp.close();
      expect([...checkDirectory({ dataDir })]).toEqual([]);

      const next = await openSmall(dataDir);
      expect(await codeOf(next.entity(id).append(credited(1)))).toBe("ERASED");
      expect(await codeOf(next.entity(id).read())).toBe("ERASED");
      expect(await ids(next)).not.toContain(id);
      expect(await next.entity("bob").read(account)).toMatchObject({ count: isSettled ? 25 : 25 });
      await next.close();
    }
  });

  test('begins again with expect "none", as another one', async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    const alice = await filled(warp, "alice");
    await alice.delete();
    expect(await alice.append(credited(7), { expect: "none", key: "key-0" })).toMatchObject({
      ok: true,
      seq: 1,
      duplicate: false,
    });
    expect(await alice.append(credited(1), { key: "key-1" })).toMatchObject({ seq: 2, duplicate: false });
    expect(await alice.read(account)).toEqual({ cents: 8, count: 2 });
    expect(alice.state(account)).toEqual({ cents: 8, count: 2 });
    expect((await collect(alice.events())).map(({ data }) => data)).toEqual([{ cents: 7 }, { cents: 1 }]);
    await warp.close();
    const next = await openSmall(dataDir);
    expect(await next.entity("alice").read(account)).toEqual({ cents: 8, count: 2 });
    expect(await next.entity("alice").delete()).toMatchObject({ status: "erased", removed: { events: 2 } });
    expect(await codeOf(next.entity("alice").read())).toBe("ERASED");
    await next.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
  });

  test("takes calls that wait behind the erasure with it, and those that came before count", async () => {
    const warp = await openSmall(freshDirectory());
    const alice = await filled(warp, "alice", 3);
    const before = alice.append(credited(1));
    const deleted = alice.delete();
    await before;
    await until(() => alice.residentSnapshot() === undefined);
    const after = codeOf(alice.append(credited(1)));
    const anew = alice.append(credited(9), { expect: "none" });
    expect(await before).toMatchObject({ ok: true, seq: 4 });
    expect(await after).toBe("ERASED");
    expect(await deleted).toMatchObject({ status: "erased", removed: { events: 4 } });
    expect(await anew).toMatchObject({ ok: true, seq: 1 });
  });

  test("is not brought back by a repeat of a delivery from before", async () => {
    const warp = await openSmall(freshDirectory());
    const alice = warp.entity("alice");
    const delivery = { sessionStart: Date.now(), sessionNumber: 7, counter: 1 };
    const options = { expect: "none", delivery } as const;
    await alice.append(credited(1), options);
    await alice.delete();
    expect(await alice.append(credited(1), options)).toMatchObject({ duplicate: true, seq: 1 });
    expect(await codeOf(alice.read())).toBe("ERASED");
  });

  test("is asked for twice at once, and again later: one erasure", async () => {
    const warp = await openSmall(freshDirectory());
    const alice = await filled(warp, "alice", 3);
    const [one, other] = await Promise.all([alice.delete(), warp.entity("alice").delete()]);
    expect(other).toEqual(one);
    expect(await alice.delete()).toEqual({ ...one, status: "erased", pending: [] });
    expect(await warp.entity("nobody").delete()).toMatchObject({ status: "nothing", removed: { events: 0 } });
  });
});

/** More than a few pages of history, of one life after the other. */
async function long(warp: Warp, note: string): Promise<Entity> {
  const alice = warp.entity("alice");
  const noted = { type: "Noted", data: { note, big: "x".repeat(1000) } };
  for (let i = 0; i < 40; i++)
    await alice.appendBatch(
      Array.from({ length: 100 }, () => noted),
      i === 0 ? { expect: "none" } : {},
    );
  await settled(warp);
  return alice;
}

test.each(["forward", "backward"] as const)(
  "a history that is being read %s ends with ERASED when its entity is erased, never early, whoever has the id then",
  async (direction) => {
    const warp = await openSmall(freshDirectory());
    const alice = await long(warp, "first");
    const one = alice.events({ direction });
    const other = alice.events({ direction });
    for (const events of [one, other])
      expect((await events.next()).value).toMatchObject({ seq: direction === "forward" ? 1 : 4000 });
    await alice.delete();
    expect(await codeOf(collect(one))).toBe("ERASED");
    await long(warp, "second");
    expect(await codeOf(collect(other))).toBe("ERASED");
    expect((await collect(alice.events({ direction }))).length).toBe(4000);
  },
);

test("a history of what is not settled yet ends with ERASED too", async () => {
  const warp = await openSmall(freshDirectory(), { settle: { delayMs: 60_000 } });
  const alice = warp.entity("alice");
  await warp.entity("bob").append(credited(1));
  await warp.entity("bob").delete();
  for (let i = 0; i < 5; i++) await alice.append(credited(i));
  const reads = (["forward", "backward"] as const).map((direction) => alice.events({ direction }));
  for (const read of reads) await read.next();
  await alice.delete();
  for (const read of reads) expect(await codeOf(read.next())).toBe("ERASED");
});

test("a state of the past that is asked for is that of one life, or ERASED", async () => {
  const warp = await openSmall(freshDirectory());
  for (let life = 1; life <= 30; life++) {
    const alice = warp.entity("alice");
    const events = Array.from({ length: 40 }, () => credited(life));
    await alice.appendBatch(events, { expect: "none" });
    if (life % 2 === 0) await settled(warp);
    const asked = [1, 20, 40].map((seq) => alice.stateAt({ seq }, account).catch(({ code }) => code));
    const deleted = alice.delete();
    const begun = warp.entity("alice").appendBatch(
      Array.from({ length: 40 }, () => credited(1000)),
      { expect: "none" },
    );
    for (const [i, state] of (await Promise.all(asked)).entries()) {
      const count = [1, 20, 40][i] ?? 0;
      expect([{ cents: life * count, count }, "ERASED"]).toContainEqual(state);
    }
    await Promise.all([deleted, begun]);
    await alice.delete();
  }
});

test("pages of an export are of one life, or ERASED", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = await long(warp, "first");
  const { text, next } = await alice.exportPage(undefined);
  expect(text).toContain("first");
  const second = await alice.exportPage(next);
  expect(second.text).toContain("first");
  await alice.delete();
  expect(await codeOf(alice.exportPage(next))).toBe("ERASED");
  await long(warp, "second");
  expect(await codeOf(alice.exportPage(second.next))).toBe("ERASED");
  expect((await alice.exportPage(undefined)).text).toContain("second");
});

test("a follower that has not passed makes the receipt pending; when it has, the name goes", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  const passed = Promise.withResolvers<void>();
  const asked: number[][] = [];
  const follower = {
    name: "projection balances",
    passed: (shard: number, position: number) => {
      asked.push([shard, position]);
      return passed.promise;
    },
  };
  warp.erasureFollowers.register(follower);
  const alice = await filled(warp, "alice");
  let receipt = await alice.delete({ waitMs: 200 });
  // As long as the disk may take for the rest, the follower and therefore the name are what is missing in the end.
  while (receipt.pending.at(-1) !== "its name") receipt = await alice.delete({ waitMs: 200 });
  expect(receipt).toMatchObject({ status: "pending", pending: ["projection balances", "its name"] });
  expect(asked).toHaveLength(1);
  passed.resolve();
  const later = await alice.delete();
  expect(later).toMatchObject({ status: "erased", pending: [] });
});

test("somebody who reads names.db from outside makes receipts pending; when that ends, the names go by themselves", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { shards: 1 });
  const alice = await filled(warp, "alice-who-goes");
  await settled(warp);
  const reader = new Database(join(dataDir, "shards/000/names.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM names").get();
  expect(await alice.delete({ waitMs: 500 })).toMatchObject({ status: "pending" });
  expect(tracesOf(dataDir, ["alice-who-goes"])).not.toEqual([]);
  // The writer is not kept busy: others are settled, and erased in turn.
  const bob = await filled(warp, "bob");
  await settled(warp);
  const gone = bob.delete();
  reader.close();
  expect(await gone).toMatchObject({ status: "erased" });
  await warp.whenTidy();
  expect(await alice.delete()).toMatchObject({ status: "erased", pending: [] });
  expect(tracesOf(dataDir, ["alice-who-goes", "bob"])).toEqual([]);
});

test("a second life is erased by a second call, also when it is not in memory and the first erasure is pending", async () => {
  const warp = await openSmall(freshDirectory(), { memory: { residentBytes: 1 << 20 } });
  const passed = Promise.withResolvers<void>();
  warp.erasureFollowers.register({ name: "slow", passed: () => passed.promise });
  const alice = await filled(warp, "alice", 1);
  expect(await alice.delete({ waitMs: 1000 })).toMatchObject({ status: "pending", removed: { events: 1 } });
  await alice.appendBatch([credited(1), credited(2)], { expect: "none" });
  await settled(warp);
  // She leaves memory.
  for (let i = 0; warp.entity("alice").residentSnapshot() !== undefined; i++) {
    const others = Array.from({ length: 500 }, (_, j) => warp.entity(`other-${i}-${j}`).append(credited(1)));
    await Promise.all(others);
  }
  const second = await warp.entity("alice").delete({ waitMs: 100 });
  expect(second).toMatchObject({ status: "pending", removed: { events: 2 } });
  passed.resolve();
  expect(await warp.entity("alice").delete()).toMatchObject({ status: "erased", removed: { events: 2 } });
});

test("after a crash a receipt is pending as long as a segment of the journal can be read that may hold her records", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { settle: { delayMs: 60_000 } });
  const alice = await filled(warp, "alice");
  expect(await alice.delete()).toMatchObject({ status: "erased" });
  // This is in the journal alone; a start settles it behind what the readers see.
  await filled(warp, "bob");
  const image = join(freshDirectory(), "image");
  cpSync(dataDir, image, { recursive: true, filter: (path) => !path.endsWith("-shm") });
  // Somebody reads an older state, so that what is in the WALs cannot be copied, and the journal's segments have to stay.
  const readers = ["000", "001"].map((shard) => {
    const reader = new Database(join(image, `shards/${shard}/runs.db`), { readonly: true });
    reader.run("BEGIN");
    reader.query("SELECT count(*) FROM runs").get();
    return reader;
  });
  const next = await openSmall(image);
  const pending = { status: "pending", pending: ["the journal's segments"] };
  expect(await next.entity("alice").delete({ waitMs: 300 })).toMatchObject(pending);
  for (const reader of readers) reader.close();
  expect(await next.entity("alice").delete()).toMatchObject({ status: "erased", pending: [] });
});

test("an entity that cannot be folded can be held, planned and erased", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir);
  await filled(first, "alice-who-goes", 10);
  await first.close();
  const strict = defineAggregate({
    name: "account",
    version: 2,
    initialState: {},
    evolve: () => {
      throw new Error("this code knows no such event");
    },
  });
  const warp = await openSmall(dataDir, { aggregates: [strict] });
  const alice = warp.entity("alice-who-goes");
  expect(await codeOf(alice.read())).toBe("EVOLVE_FAILED");
  await alice.hold({ reason: "claim" });
  expect(await codeOf(alice.delete())).toBe("HELD");
  expect(await codeOf(alice.append(credited(1)))).toBe("EVOLVE_FAILED");
  await alice.releaseHold();
  expect(await alice.deletePlan()).toMatchObject({ events: 10, callerKeys: 10 });
  const [receipt, refused] = await Promise.all([alice.delete(), codeOf(alice.append(credited(1)))]);
  expect(receipt).toMatchObject({ status: "erased", removed: { events: 10 } });
  expect(["EVOLVE_FAILED", "ERASED"]).toContain(refused);
  expect(await codeOf(alice.append(credited(1)))).toBe("ERASED");
  await warp.whenTidy();
  expect(tracesOf(dataDir, ["alice-who-goes"])).toEqual([]);
  expect(await alice.delete()).toMatchObject({ status: "erased" });
});

test("an entity whose events are damaged can be erased", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir, { shards: 1 });
  await filled(first, "alice-who-goes", 10);
  await filled(first, "bob", 3);
  await first.close();
  const database = new Database(join(dataDir, "shards/000/runs.db"));
  const number = "(SELECT min(number) FROM runs)";
  database.run(`UPDATE runs SET data = zeroblob(length(data)) WHERE number = ${number}`);
  database.run(`DELETE FROM snapshots WHERE number = ${number}`);
  database.close();
  const warp = await openSmall(dataDir, { shards: 1 });
  const alice = warp.entity("alice-who-goes");
  expect(await codeOf(alice.read())).toBe("CORRUPT");
  expect(await alice.delete()).toMatchObject({ status: "erased", removed: { events: 10 } });
  expect(await warp.entity("bob").seq()).toBe(3);
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});

test("somebody who reads names.db of one shard from outside keeps no name of another shard", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { shards: 2, writers: 1 });
  const waits: (() => void)[] = [];
  const passed = () => new Promise<void>((pass) => void waits.push(pass));
  warp.erasureFollowers.register({ name: "slow", passed });
  const idsOf = (shard: number) =>
    Array.from({ length: 40 }, (_, i) => `who-goes-${i}`).filter((id) => shardOf(id, 2) === shard);
  const [held, heldLater] = idsOf(0).map((id) => warp.entity(id));
  const [free, freeLater] = idsOf(1).map((id) => warp.entity(id));
  if (!held || !heldLater || !free || !freeLater) throw new Error("each shard has two of so many ids");
  const erase = async (...entities: readonly Entity[]) => {
    for (const { id } of entities) await filled(warp, id);
    await Promise.all(entities.map((entity) => entity.delete({ waitMs: 0 })));
    // Nothing but the follower and the name is waited for.
    for (const entity of entities)
      while ((await entity.delete({ waitMs: 50 })).pending.join() !== "slow,its name");
  };
  const statuses = async (held: Entity, free: Entity) => {
    const gone = (await free.delete({ waitMs: 240_000 })).status;
    return [(await held.delete({ waitMs: 0 })).status, gone];
  };
  await erase(held, free);
  const firstWaits = waits.splice(0);
  await erase(heldLater, freeLater);
  const reader = new Database(join(dataDir, "shards/000/names.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM names").get();
  for (const pass of firstWaits) pass();
  expect(await statuses(held, free)).toEqual(["pending", "erased"]);
  // The first shard is waited for longer and longer; the other is not.
  for (const pass of waits) pass();
  expect(await statuses(heldLater, freeLater)).toEqual(["pending", "erased"]);
  reader.close();
  await warp.whenTidy();
  for (const entity of [held, heldLater]) expect((await entity.delete()).status).toBe("erased");
  const all = [held, heldLater, free, freeLater].map(({ id }) => id);
  expect(tracesOf(dataDir, all)).toEqual([]);
});

test("what a follower held up is finished by the next start", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  warp.erasureFollowers.register({ name: "never", passed: () => new Promise(() => {}) });
  const alice = await filled(warp, "alice");
  const deleting = alice.delete();
  await until(() => alice.residentSnapshot() === undefined);
  const closing = warp.close();
  expect(await deleting).toMatchObject({ status: "pending" });
  await closing;
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  const next = await openSmall(dataDir);
  expect(await codeOf(next.entity("alice").read())).toBe("ERASED");
  await next.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});

test.each(["reason", "by"])(
  "a %s that names the entity, or is more than a reference, is refused",
  async (name) => {
    const warp = await openSmall(freshDirectory());
    const alice = await filled(warp, "alice", 1);
    for (const text of ["for alice", "ALICE", "x".repeat(64), "naïve", "a\nb"])
      expect(await codeOf(alice.delete({ [name]: text }))).toBe("INVALID_ARGUMENT");
    expect(await alice.seq()).toBe(1);
  },
);

test("a call that erases leaves nothing of what it waited for", async () => {
  const warp = await openSmall(freshDirectory());
  const eraseAll = async (life: number): Promise<number> => {
    const handles = Array.from({ length: 300 }, (_, i) => warp.entity(`${life}-${i}`));
    await Promise.all(handles.map((handle) => handle.append(credited(1))));
    await Promise.all(handles.map((handle) => handle.delete({ waitMs: 240_000 })));
    await warp.whenTidy();
    Bun.gc(true);
    return heapStats().objectTypeCounts.Promise ?? 0;
  };
  await eraseAll(0);
  const before = await eraseAll(1);
  const after = await eraseAll(2);
  // Four for each were left.
  expect(after - before).toBeLessThan(300);
});

test("who is erased leaves memory with her id, and is known to be erased all the same", async () => {
  const warp = await openSmall(freshDirectory());
  await filled(warp, "bob", 1);
  const before = warp.pressure;
  const ids = Array.from({ length: 1500 }, (_, i) => `alice-${i}`);
  await Promise.all(ids.map((id) => warp.entity(id).append(credited(1))));
  expect(warp.pressure.residentEntities).toBe(before.residentEntities + ids.length);
  const handles = ids.map((id) => warp.entity(id));
  const receipts = await Promise.all(handles.map((handle) => handle.delete({ waitMs: 240_000 })));
  expect(receipts.every(({ status }) => status === "erased")).toBe(true);
  await until(() => warp.pressure.residentEntities === before.residentEntities);
  expect(warp.pressure.residentBytes).toBe(before.residentBytes);
  for (const entity of [handles[0], warp.entity("alice-1")])
    expect(await codeOf(entity?.append(credited(1)) ?? Promise.resolve())).toBe("ERASED");
  expect(await handles[2]?.append(credited(7), { expect: "none" })).toMatchObject({ ok: true, seq: 1 });
  expect(await warp.entity("bob").seq()).toBe(1);
});
