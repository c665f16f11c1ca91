/**
 * Events that retention lets go: states and later history do not change, and what is missing is said wherever one looks.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Reading } from "../../src/actor/storage/reading.ts";
import { checkDirectory, defineAggregate, type Settings, type Warp, WarpError } from "../../src/index.ts";
import { freshDirectory, removeDirectories, restoredModel, rootKeyOf } from "../backup/sample.ts";
import {
  cleanUp,
  codeOf,
  collect,
  credited,
  openSmall,
  seededRandom,
  settled,
  until,
} from "../engine/sample.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

type AccountEvent = { type: "Credited"; data: { cents: number } };

/** An account that keeps its newest events; its state tells which events it has folded. */
function accountKeeping(retention: object, version = 1) {
  return defineAggregate<AccountEvent>()({
    name: "account",
    version,
    initialState: { cents: 0, count: 0 },
    evolve: {
      Credited: (state, { data }) => ({ cents: state.cents + data.cents, count: state.count + 1 }),
    },
    snapshotEvery: 10,
    retention: retention as { keepLast: number; beyond: "drop" },
  });
}

function open(dataDir: string, retention: object, settings: Partial<Settings> = {}): Promise<Warp> {
  return openSmall(dataDir, { aggregates: [accountKeeping(retention)], ...settings });
}

/** Appends events 1 … count, each of as many cents as its seq, in runs of their own. */
async function fill(warp: Warp, id: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await warp.entity(id).append(credited(i + 1));
    await settled(warp);
  }
}

const sumTo = (seq: number) => ({ cents: (seq * (seq + 1)) / 2, count: seq });

function findings(dataDir: string) {
  return [...checkDirectory({ dataDir })];
}

describe("keepLast", () => {
  test("drops what is older, says so in history, and changes no state", async () => {
    const dataDir = join(freshDirectory(), "data");
    let warp = await open(dataDir, { keepLast: 5, beyond: "drop" });
    await fill(warp, "alice", 20);
    await fill(warp, "bob", 3);
    expect(await warp.retain()).toEqual({ entities: 1, runs: 15, events: 15, failed: 0 });
    expect(await warp.retain()).toEqual({ entities: 0, runs: 0, events: 0, failed: 0 });
    for (let life = 0; life < 2; life++) {
      const alice = warp.entity("alice");
      expect(await alice.read("account")).toEqual(sumTo(20));
      const [mark, ...events] = await collect(alice.events());
      expect(mark).toMatchObject({ entity: "alice", seq: 15, type: "$dropped", data: { from: 1, to: 15 } });
      expect(mark?.recordedAt).toBeGreaterThan(0);
      expect(events.map(({ seq, data }) => [seq, data])).toEqual(
        [16, 17, 18, 19, 20].map((seq) => [seq, { cents: seq }]),
      );
      const seqs = async (query: object) =>
        (await collect(alice.events(query))).map(({ seq, type }) => [seq, type]);
      expect(await seqs({ direction: "backward", from: 14 })).toEqual([
        ...[20, 19, 18, 17, 16].map((seq) => [seq, "Credited"]),
        [15, "$dropped"],
      ]);
      expect(await seqs({ from: 16, to: 17 })).toEqual([
        [16, "Credited"],
        [17, "Credited"],
      ]);
      expect(await collect(alice.events({ from: 3, to: 6 }))).toMatchObject([
        { seq: 6, type: "$dropped", data: { from: 3, to: 6 } },
      ]);
      expect(await collect(alice.events({ from: 3, to: 6, direction: "backward" }))).toMatchObject([
        { seq: 6, type: "$dropped", data: { from: 3, to: 6 } },
      ]);
      expect(await seqs({ limit: 1 })).toEqual([[15, "$dropped"]]);
      expect((await collect(warp.entity("bob").events())).map(({ seq }) => seq)).toEqual([1, 2, 3]);
      await warp.close();
      expect(findings(dataDir)).toEqual([]);
      warp = await open(dataDir, { keepLast: 5, beyond: "drop" });
    }
  });

  test("stateAt goes on from what was dropped, and says so before it", async () => {
    const warp = await open(join(freshDirectory(), "data"), { keepLast: 5, beyond: "drop" });
    await fill(warp, "alice", 12);
    const events = await collect(warp.entity("alice").events());
    await warp.retain();
    const alice = warp.entity("alice");
    for (let seq = 7; seq <= 12; seq++) expect(await alice.stateAt({ seq })).toEqual(sumTo(seq));
    for (const moment of [{ seq: 6 }, { seq: 0 }, { recorded: 1 }, { occurred: 1 }]) {
      const failure = await alice.stateAt(moment).then(String, (thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(WarpError);
      expect(failure).toMatchObject({ code: "EVENTS_DROPPED", details: { entity: "alice", droppedTo: 7 } });
    }
    const recorded = events[9]?.recordedAt ?? 0;
    expect(await alice.stateAt({ recorded })).toEqual(
      sumTo(events.filter((e) => e.recordedAt <= recorded).length),
    );
  });

  test("what is appended later is dropped later, and the mark moves on", async () => {
    const warp = await open(join(freshDirectory(), "data"), { keepLast: 2, beyond: "drop" });
    for (let round = 1; round <= 4; round++) {
      await fill(warp, "alice", 5);
      await warp.retain();
      const all = await collect(warp.entity("alice").events());
      const to = round * 5 - 2;
      expect(all.map(({ seq, type }) => [seq, type])).toEqual([
        [to, "$dropped"],
        [to + 1, "Credited"],
        [to + 2, "Credited"],
      ]);
    }
    expect(await warp.entity("alice").read("account")).toMatchObject({ count: 20 });
  });
});

describe("who keeps events", () => {
  test("an aggregate without retention that folds them, and nobody that folds them", async () => {
    const audit = defineAggregate({
      name: "audit",
      initialState: { seen: 0 },
      evolve: { Noted: (state) => ({ seen: state.seen + 1 }) },
    });
    const settings = { aggregates: [accountKeeping({ keepLast: 0, beyond: "drop" }), audit] };
    const warp = await openSmall(join(freshDirectory(), "data"), settings);
    for (const type of ["Credited", "Credited", "Noted", "Credited", "Credited"]) {
      await warp.entity("alice").append({ type, data: { cents: 1 } });
      await settled(warp);
      await warp.entity("bob").append({ type: type === "Noted" ? "Unknown" : type, data: { cents: 1 } });
      await settled(warp);
    }
    expect(await warp.retain()).toEqual({ entities: 2, runs: 4, events: 4, failed: 0 });
    for (const id of ["alice", "bob"]) {
      expect((await collect(warp.entity(id).events())).map(({ seq }) => seq)).toEqual([2, 3, 4, 5]);
    }
  });

  test("keepDays keeps what is young", async () => {
    const warp = await open(join(freshDirectory(), "data"), { keepDays: 1, beyond: "drop" });
    await fill(warp, "alice", 5);
    expect(await warp.retain()).toMatchObject({ events: 0 });
    await warp.close();
  });

  test("the newest run stays, whatever the rule", async () => {
    const warp = await open(join(freshDirectory(), "data"), { keepDays: 0, keepLast: 0, beyond: "drop" });
    await fill(warp, "alice", 3);
    await Bun.sleep(2);
    expect(await warp.retain()).toMatchObject({ events: 2 });
    expect((await collect(warp.entity("alice").events())).map(({ seq }) => seq)).toEqual([2, 3]);
  });
});

test("a new version of an aggregate says that it cannot fold again; one that folds nothing of it can", async () => {
  const dataDir = join(freshDirectory(), "data");
  const retention = { keepLast: 2, beyond: "drop" };
  const warp = await open(dataDir, retention);
  await fill(warp, "alice", 10);
  await warp.retain();
  await warp.close();
  const other = defineAggregate({
    name: "other",
    version: 3,
    initialState: { notes: 0 },
    evolve: { Noted: (state) => ({ notes: state.notes + 1 }) },
  });
  const same = await openSmall(dataDir, { aggregates: [accountKeeping(retention), other] });
  expect(await same.entity("alice").read("account")).toEqual(sumTo(10));
  expect(await same.entity("alice").read("other")).toEqual({ notes: 0 });
  await same.close();
  const newer = await openSmall(dataDir, { aggregates: [accountKeeping(retention, 2)] });
  const failure = await newer
    .entity("alice")
    .read()
    .then(String, (thrown: unknown) => thrown);
  expect(failure).toMatchObject({
    code: "EVENTS_DROPPED",
    details: { entity: "alice", aggregate: "account", version: 2, droppedTo: 8 },
  });
  // Others are not concerned, and history can be read.
  expect(await newer.entity("bob").append(credited(1))).toMatchObject({ ok: true });
});

test("an entity that cannot be folded keeps its events, and the search goes on with the others", async () => {
  const dataDir = join(freshDirectory(), "data");
  const retention = { keepLast: 2, beyond: "drop" };
  const warp = await open(dataDir, retention, { shards: 1 });
  await fill(warp, "alice", 6);
  await warp.retain();
  await fill(warp, "alice", 2);
  await fill(warp, "bob", 6);
  await warp.close();
  const warnings: unknown[] = [];
  const logger = {
    info: () => undefined,
    warn: (message: string, fields?: object) => warnings.push([message, fields]),
    error: () => undefined,
  };
  // Alice's dropped events would have to be folded by the new version.
  const newer = await openSmall(dataDir, { aggregates: [accountKeeping(retention, 2)], logger, shards: 1 });
  expect(await newer.retain()).toEqual({ entities: 1, runs: 4, events: 4, failed: 1 });
  expect(warnings).toMatchObject([
    [expect.stringContaining("cannot be folded"), { entities: 1, first: { code: "EVENTS_DROPPED" } }],
  ]);
  await newer.close();
  const older = await open(dataDir, retention, { shards: 1 });
  const seqs = (await collect(older.entity("alice").storedEvents())).map(({ seq }) => seq);
  expect(seqs.slice(-4)).toEqual([5, 6, 7, 8]);
  expect(await older.entity("alice").read("account")).toMatchObject({ count: 8 });
});

describe("with backups", () => {
  test("backup-only waits for a backup, and a restore brings the events back", async () => {
    const directory = freshDirectory();
    const dataDir = join(directory, "data");
    const target = join(directory, "target");
    const warp = await open(dataDir, { keepLast: 3, beyond: "backup-only" });
    await fill(warp, "alice", 10);
    expect(await warp.retain()).toMatchObject({ events: 0 });
    const whole = (await collect(warp.entity("alice").storedEvents())).map(
      ({ position: _, ...event }) => event,
    );
    await warp.backup(target);
    expect(await warp.retain()).toMatchObject({ events: 7 });
    await warp.backup(target);
    const restored = await restoredModel(
      target,
      rootKeyOf(dataDir).file,
      {},
      { aggregates: [accountKeeping({ keepLast: 3, beyond: "backup-only" })] },
    );
    expect(restored.get("alice")).toEqual(whole as never);
  });

  test("what was dropped before it was backed up stays dropped in a restore, and the state is right", async () => {
    const directory = freshDirectory();
    const dataDir = join(directory, "data");
    const target = join(directory, "target");
    const retention = { keepLast: 3, beyond: "drop" };
    const aggregates = [accountKeeping(retention)];
    const warp = await open(dataDir, retention);
    await fill(warp, "alice", 10);
    await warp.backup(target);
    await fill(warp, "alice", 10);
    await fill(warp, "bob", 10);
    await warp.retain();
    await warp.backup(target);
    const restored = await restoredModel(target, rootKeyOf(dataDir).file, {}, { aggregates });
    for (const id of ["alice", "bob"]) {
      const expected = (await collect(warp.entity(id).storedEvents())).map(
        ({ position: _, ...event }) => event,
      );
      expect(restored.get(id)).toEqual(expected as never);
    }
  });

  test("events that may go while a backup is made go when it is done, and the backup has them", async () => {
    const directory = freshDirectory();
    const dataDir = join(directory, "data");
    const target = join(directory, "target");
    const retention = { keepLast: 3, beyond: "drop" };
    const aggregates = [accountKeeping(retention)];
    const warp = await open(dataDir, retention, { shards: 1 });
    await warp.backup(target);
    await fill(warp, "alice", 9);
    const whole = (await collect(warp.entity("alice").storedEvents())).map(
      ({ position: _, ...event }) => event,
    );
    // A backup reads the holds when the keys are in the target and no event is: here it waits for who writes to them.
    const holds = join(target, "shard-000/holds");
    rmSync(holds);
    expect(Bun.spawnSync(["mkfifo", holds]).exitCode).toBe(0);
    const backup = warp.backup(target);
    await until(() => existsSync(join(target, "shard-000/keys/000001")));
    const retaining = warp.retain();
    // The shard writer has time for an order of retention's before each of these is settled.
    for (const id of ["bob", "carol"]) await fill(warp, id, 3);
    writeFileSync(holds, "");
    await backup;
    expect(await retaining).toMatchObject({ events: 6 });
    const restored = await restoredModel(target, rootKeyOf(dataDir).file, {}, { aggregates });
    expect(restored).toEqual(new Map([["alice", whole as never]]));
    await warp.backup(target);
    const later = await restoredModel(target, rootKeyOf(dataDir).file, {}, { aggregates });
    expect([...later.keys()]).toEqual(["alice", "bob", "carol"]);
  });
});

test("a load of several pages whose later ones are dropped meanwhile begins again", async () => {
  const dataDir = join(freshDirectory(), "data");
  const unsnapped = { ...accountKeeping({ keepLast: 5, beyond: "drop" }), snapshotEvery: 1000 };
  const settings = { aggregates: [unsnapped] };
  let warp = await openSmall(dataDir, settings);
  const note = "x".repeat(90_000);
  for (let seq = 1; seq <= 30; seq++) {
    await warp.entity("alice").append({ type: "Credited", data: { cents: seq, note } });
    await settled(warp);
  }
  await warp.close();
  warp = await openSmall(dataDir, settings);
  const { entries } = Reading.prototype;
  let retained: unknown;
  const reading = spyOn(Reading.prototype, "entries").mockImplementation(async function (
    this: Reading,
    request,
  ) {
    // The first page is there, and what the second one would begin with goes.
    reading.mockRestore();
    retained = await warp.retain();
    return entries.call(this, request);
  });
  expect(await warp.entity("alice").read("account")).toEqual(sumTo(30));
  expect(retained).toMatchObject({ events: 25 });
});

test("an entity with dropped events can be erased: nothing of it is left", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const warp = await open(dataDir, { keepLast: 3, beyond: "drop" }, { shards: 1 });
  await fill(warp, "alice", 10);
  await warp.retain();
  expect(await warp.entity("alice").delete()).toMatchObject({ status: "erased" });
  await warp.close();
  expect(findings(dataDir)).toEqual([]);
  const database = readFileSync(join(dataDir, "shards/000/runs.db"));
  expect(database.includes("alice")).toBe(false);
});

test(`beside appends, readers and restarts nothing is lost but what may go (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const dataDir = join(freshDirectory(), "data");
  const retention = { keepLast: 4, beyond: "drop" };
  const counts = new Map<string, number>();
  let warp = await open(dataDir, retention);
  for (let round = 0; round < 5; round++) {
    let isDone = false;
    const retaining = (async () => {
      while (!isDone) await warp.retain();
    })();
    for (let step = 0; step < 40; step++) {
      const id = `customer-${Math.floor(random() * 6)}`;
      const events = Array.from({ length: 1 + Math.floor(random() * 3) }, () => credited(1));
      await warp.entity(id).appendBatch(events);
      counts.set(id, (counts.get(id) ?? 0) + events.length);
      if (random() < 0.2) await settled(warp);
      if (random() < 0.3) await expectWhole(warp, id, counts.get(id) ?? 0);
    }
    isDone = true;
    await retaining;
    if (random() < 0.5) {
      await warp.close();
      expect(findings(dataDir)).toEqual([]);
      warp = await open(dataDir, retention);
    }
    for (const [id, count] of counts) await expectWhole(warp, id, count);
  }
});

/** The history of an entity is a mark and the rest of it, or all of it, without a gap. */
async function expectWhole(warp: Warp, id: string, count: number): Promise<void> {
  const events = await collect(warp.entity(id).events());
  let due = 1;
  for (const { seq, type, data } of events) {
    if (type === "$dropped") {
      expect(data).toEqual({ from: due, to: seq });
      expect(seq).toBeLessThanOrEqual(count - 4);
    } else expect(seq).toBe(due);
    due = seq + 1;
  }
  expect(due).toBe(count + 1);
  expect(await warp.entity(id).read("account")).toEqual({ cents: count, count });
}

test("a definition with a retention that says nothing, or something else, is refused", async () => {
  for (const retention of [
    {},
    { keepLast: -1, beyond: "drop" },
    { keepLast: 1 },
    { keepDays: 1, beyond: "x" },
    5,
  ]) {
    expect(await codeOf(() => accountKeeping(retention as object))).toBe("APPLICATION_INVALID");
  }
});
