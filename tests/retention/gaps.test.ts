/**
 * Followers whose place is before what retention dropped are told that events are missing for them, and nobody else is.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import {
  checkDirectory,
  defineAggregate,
  restoreBackup,
  type Settings,
  type SubscribeQuery,
  verifyBackup,
  type Warp,
} from "../../src/index.ts";
import { freshDirectory, removeDirectories, rootKeyOf } from "../backup/sample.ts";
import { cleanUp, collect, openSmall, settled } from "../engine/sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

/** Keeps the newest two events of each entity. */
const account = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: {
    Credited: (state: { count: number }) => ({ count: state.count + 1 }),
    Debited: (state: { count: number }) => ({ count: state.count + 1 }),
  },
  retention: { keepLast: 2, beyond: "drop" },
});

function open(dataDir = join(freshDirectory(), "data"), settings: Partial<Settings> = {}): Promise<Warp> {
  return openSmall(dataDir, { aggregates: [account], shards: 1, ...settings });
}

/** Appends events of these types, each in a run of its own. */
async function fill(warp: Warp, id: string, ...types: string[]): Promise<void> {
  for (const type of types) {
    await warp.entity(id).append({ type, data: {} });
    await settled(warp);
  }
}

const credits = (count: number) => new Array<string>(count).fill("Credited");

/** What a subscription says until it has caught up, and the cursor then. */
async function told(warp: Warp, query: SubscribeQuery): Promise<{ said: string[]; cursor: string }> {
  const said: string[] = [];
  for await (const message of warp.subscribe(query)) {
    if (message.kind === "caughtUp") return { said, cursor: message.cursor };
    if (message.kind === "erased") said.push(`${message.entity} erased`);
    if (message.kind === "dropped") said.push(`${message.entity} dropped to ${message.droppedTo}`);
    if (message.kind === "events")
      for (const { entity, seq } of message.events) said.push(`${entity} ${seq}`);
  }
  throw new Error("it ended");
}

describe("a subscription", () => {
  test("that goes on from before what was dropped is told, and one from behind it is not", async () => {
    const dataDir = join(freshDirectory(), "data");
    let warp = await open(dataDir);
    await fill(warp, "alice", ...credits(3));
    const behind3 = await told(warp, { from: "start" });
    await fill(warp, "alice", ...credits(2));
    const behind5 = await told(warp, { from: "start" });
    await fill(warp, "alice", ...credits(2));
    await fill(warp, "bob", ...credits(2));
    expect(await warp.retain()).toMatchObject({ events: 5 });
    // Pages that others have just read may be in memory still.
    await warp.close();
    warp = await open(dataDir);
    for (const query of [{}, { entity: "alice" }, { prefix: "al" }]) {
      const all = await told(warp, query);
      expect(all.said.filter((one) => one.startsWith("alice"))).toEqual([
        "alice dropped to 5",
        "alice 6",
        "alice 7",
      ]);
    }
    const rest = ["alice 6", "alice 7", "bob 1", "bob 2"];
    expect((await told(warp, { from: behind3.cursor })).said).toEqual(["alice dropped to 5", ...rest]);
    expect((await told(warp, { from: behind5.cursor })).said).toEqual(rest);
    expect((await told(warp, { from: behind3.cursor, prefix: "b" })).said).toEqual(["bob 1", "bob 2"]);
    const { cursor } = await told(warp, {});
    expect((await told(warp, { from: cursor })).said).toEqual([]);
  });

  test("is told once of what was dropped while it stood still, and of more when more was", async () => {
    const warp = await open();
    await fill(warp, "alice", ...credits(6));
    const subscription = warp.subscribe({ from: "end" });
    expect((await subscription.next()).value).toMatchObject({ kind: "caughtUp" });
    await fill(warp, "alice", ...credits(4));
    await warp.retain();
    const said: string[] = [];
    for await (const message of subscription) {
      if (message.kind === "dropped") said.push(`dropped to ${message.droppedTo}`);
      if (message.kind === "events") for (const { seq } of message.events) said.push(String(seq));
      if (said.at(-1) === "10") break;
    }
    // The events, as far as it had taken them to itself before they were dropped, and once that the others are gone.
    const dropped = ["7", "8"];
    const had = dropped.filter((seq) => said.includes(seq));
    expect(had).toEqual(dropped.slice(0, had.length));
    expect(said).toEqual([...had, ...(had.length < 2 ? ["dropped to 8"] : []), "9", "10"]);
    await fill(warp, "alice", ...credits(5));
    await warp.retain();
    expect((await told(warp, {})).said).toEqual(["alice dropped to 13", "alice 14", "alice 15"]);
  });

  test("of some types is told of events of its types alone", async () => {
    const warp = await open();
    await fill(warp, "alice", "Debited", "Credited");
    const behindDebit = (await told(warp, {})).cursor;
    await fill(warp, "alice", ...credits(4));
    await warp.retain();
    const of = async (types: string[], from: string) => (await told(warp, { types, from })).said;
    expect(await of(["Debited"], "start")).toEqual(["alice dropped to 4"]);
    expect(await of(["Debited"], behindDebit)).toEqual([]);
    expect(await of(["Noted"], "start")).toEqual([]);
    expect(await of(["Credited"], behindDebit)).toEqual(["alice dropped to 4", "alice 5", "alice 6"]);
    expect(await of(["Credited", "Debited"], "start")).toEqual(["alice dropped to 4", "alice 5", "alice 6"]);
  });

  test("from a time is told of what was recorded then or later alone", async () => {
    const warp = await open();
    const times: number[] = [];
    for (let i = 0; i < 6; i++) {
      await Bun.sleep(3);
      await fill(warp, "alice", "Credited");
      times.push(
        (
          await warp
            .entity("alice")
            .storedEvents({ from: i + 1 })
            .next()
        ).value?.recordedAt ?? 0,
      );
    }
    await warp.retain();
    const from = async (time: number) => (await told(warp, { from: { time } })).said;
    expect(await from(times[3] ?? 0)).toEqual(["alice dropped to 4", "alice 5", "alice 6"]);
    expect(await from((times[3] ?? 0) + 1)).toEqual(["alice 5", "alice 6"]);
    expect(await from(times[4] ?? 0)).toEqual(["alice 5", "alice 6"]);
  });

  test("has what is left of a record behind what was dropped of it", async () => {
    const warp = await open();
    for (let i = 0; i < 2; i++) {
      await warp.atomically(["alice", "bob"], ([alice, bob]) => {
        alice?.append({ type: "Credited", data: {} });
        bob?.append({ type: "Noted", data: {} });
      });
      await settled(warp);
    }
    await fill(warp, "alice", ...credits(2));
    expect(await warp.retain()).toMatchObject({ events: 2 });
    const { said } = await told(warp, {});
    expect(said).toEqual(["bob 1", "alice dropped to 2", "bob 2", "alice 3", "alice 4"]);
  });

  test("is told of many entities, page by page", async () => {
    const warp = await open(undefined, { settle: { delayMs: 0 } });
    const ids = Array.from({ length: 4200 }, (_, i) => `id-${String(i).padStart(5, "0")}`);
    for (let round = 0; round < 3; round++) {
      await Promise.all(ids.map((id) => warp.entity(id).append({ type: "Credited", data: {} })));
      await settled(warp);
    }
    expect(await warp.retain()).toMatchObject({ events: 4200 });
    const { said } = await told(warp, {});
    expect(said).toHaveLength(12_600);
    expect(new Set(said.filter((one) => one.endsWith("dropped to 1"))).size).toBe(4200);
  });

  test("hears of an erasure, and no more of what was dropped before", async () => {
    const warp = await open();
    await fill(warp, "alice", ...credits(5));
    await warp.retain();
    expect(await warp.entity("alice").delete()).toMatchObject({ status: "erased" });
    expect((await told(warp, {})).said).toEqual([expect.stringContaining("erased")]);
  });
});

test("one entity that is far behind is replayed with what is missing of it", async () => {
  const warp = await open(undefined, { settle: { delayMs: 0 } });
  await fill(warp, "alice", ...credits(6));
  const others = Array.from({ length: 3000 }, (_, i) => warp.entity(`other-${i % 50}`));
  for (let i = 0; i < others.length; i += 100) {
    await Promise.all(others.slice(i, i + 100).map((one) => one.append({ type: "Noted", data: {} })));
  }
  await settled(warp);
  await warp.retain();
  expect((await told(warp, { entity: "alice" })).said).toEqual(["alice dropped to 4", "alice 5", "alice 6"]);
});

describe("a group", () => {
  test("is told once, before what is left of the entity, by the member that asks", async () => {
    const warp = await open();
    const first = warp.join("mailer", {});
    await fill(warp, "alice", "Credited");
    (await first.next()).value?.ack();
    await first.return();
    await fill(warp, "alice", ...credits(5));
    await warp.retain();
    const heard: string[] = [];
    const silent = warp.join("mailer", { window: 1 });
    let failures = 0;
    const member = warp.join("mailer", {
      onDropped: ({ entity, droppedTo }) => {
        if (failures++ === 0) throw new Error("not now");
        heard.push(`${entity} dropped to ${droppedTo}`);
      },
    });
    const work = async (of: typeof member) => {
      for await (const one of of) {
        heard.push(`${one.event.entity} ${one.event.seq} ${one.event.type}`);
        one.ack();
        if (one.event.seq === 6) break;
      }
    };
    await Promise.race([work(silent), work(member)]);
    expect(heard).toEqual(["alice dropped to 4", "alice 5 Credited", "alice 6 Credited"]);
    await silent.return();
    await member.return();
    const again: string[] = [];
    const later = warp.join("mailer", { onDropped: () => void again.push("dropped") });
    await fill(warp, "bob", "Credited");
    expect((await later.next()).value?.event.entity).toBe("bob");
    expect(again).toEqual([]);
  });

  test("passes over it when nobody asks", async () => {
    const warp = await open();
    await fill(warp, "alice", ...credits(5));
    await warp.retain();
    const member = warp.join("mailer", {});
    expect((await member.next()).value?.event).toMatchObject({ seq: 4, type: "Credited" });
  });

  test("is told in the place of a parked event that was dropped meanwhile", async () => {
    const warp = await open();
    await fill(warp, "alice", "Credited");
    const heard: number[] = [];
    const member = warp.join("mailer", { onDropped: ({ droppedTo }) => void heard.push(droppedTo) });
    (await member.next()).value?.park("later");
    while (warp.groups.parked("mailer").length === 0) await Bun.sleep(1);
    await fill(warp, "alice", ...credits(4));
    for (let seq = 2; seq <= 5; seq++) (await member.next()).value?.ack();
    await warp.retain();
    expect(await warp.groups.replay("mailer")).toBe(1);
    while (warp.groups.parked("mailer").length > 0) await Bun.sleep(1);
    expect(heard).toEqual([3]);
  });
});

test("what a file knew before is enough to open it, and check is content", async () => {
  const dataDir = join(freshDirectory(), "data");
  const warp = await open(dataDir);
  await fill(warp, "alice", ...credits(5));
  await warp.retain();
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  const file = new Database(join(dataDir, "shards", "000", "runs.db"));
  file.run("DROP INDEX basesByPosition");
  file.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  const again = await open(dataDir);
  expect((await told(again, {})).said).toEqual(["alice dropped to 3", "alice 4", "alice 5"]);
});

test("a restored context says it too", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await open(dataDir);
  await fill(warp, "alice", ...credits(5));
  await warp.retain();
  await fill(warp, "alice", "Debited");
  await warp.backup(target);
  const to = join(directory, "restored");
  const rootKey = rootKeyOf(dataDir);
  await restoreBackup({ target, to, rootKey });
  const restored = await open(to, { rootKey });
  expect((await told(restored, {})).said).toEqual(["alice dropped to 3", "alice 4", "alice 5", "alice 6"]);
  await restored.close();
  expect([...checkDirectory({ dataDir: to, rootKey })]).toEqual([]);
});

test("a restored context has of a gap that grew what the context has, and says no more", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await open(dataDir);
  // The newest dropped event of each type at a position of its own, then both at one.
  await fill(warp, "alice", "Debited", ...credits(3));
  await warp.retain();
  await warp.backup(target);
  await warp.entity("alice").appendBatch(["Debited", "Credited"].map((type) => ({ type, data: {} })));
  await settled(warp);
  await fill(warp, "alice", ...credits(2));
  await warp.retain();
  await warp.backup(target);
  const to = join(directory, "restored");
  const rootKey = rootKeyOf(dataDir);
  await restoreBackup({ target, to, rootKey });
  const restored = await open(to, { rootKey });
  const basesOf = (path: string) => {
    const database = new Database(join(path, "shards/000/runs.db"), { readonly: true });
    try {
      return database.query("SELECT number, aggregate, version, seq FROM bases ORDER BY 1, 2").values();
    } finally {
      database.close();
    }
  };
  expect(basesOf(to)).toEqual(basesOf(dataDir));
  for (const types of [undefined, ["Debited"], ["Credited"]]) {
    const { said } = await told(restored, { types });
    expect(said).toEqual((await told(warp, { types })).said);
  }
});

test("a restore brings back what the target has behind its gap, also what retention dropped once it was there", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const kept = defineAggregate({
    name: "account",
    initialState: { count: 0 },
    evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
    retention: { keepLast: 3, beyond: "backup-only" },
  });
  const warp = await open(dataDir, { aggregates: [kept] });
  await fill(warp, "alice", ...credits(10));
  await warp.backup(join(directory, "older"));
  expect(await warp.retain()).toMatchObject({ events: 7 });
  await warp.backup(target);
  await fill(warp, "alice", ...credits(10));
  expect(await warp.retain()).toMatchObject({ events: 3 });
  await warp.backup(target);
  const rootKey = rootKeyOf(dataDir);
  expect(await verifyBackup({ target, rootKey })).toMatchObject({ entities: 1 });
  const to = join(directory, "restored");
  expect(await restoreBackup({ target, to, rootKey })).toMatchObject({ events: 13 });
  expect([...checkDirectory({ dataDir: to, rootKey })]).toEqual([]);
  const restored = await open(to, { rootKey, aggregates: [kept] });
  const seqs = (await collect(restored.entity("alice").events())).map(({ seq, type }) => `${seq} ${type}`);
  const there = Array.from({ length: 13 }, (_, i) => `${i + 8} Credited`);
  expect(seqs).toEqual(["7 $dropped", ...there]);
  expect(await restored.entity("alice").read(kept)).toEqual({ count: 20 });
  expect(await restored.entity("alice").stateAt({ seq: 9 })).toEqual({ count: 9 });
});
