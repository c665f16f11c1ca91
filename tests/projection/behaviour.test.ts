/**
 * What a projection does when something is wrong with it, and that nobody else suffers.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-projection-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
/** Writes an application whose projections are these; each file is another module. */
function application(...projections: string[]): string {
  const path = join(root, `application-${++files}.ts`);
  writeFileSync(
    path,
    `import { defineProjection } from "warp";\nexport const projections = [\n${projections.map((one) => `defineProjection(${one})`).join(",\n")}\n];\n${projections.map((_, i) => `export const p${i} = projections[${i}];`).join("\n")}\n`,
  );
  return path;
}

const count = (more = "", on = "") => `{
  name: "count", tables: { count: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } }, ${more}
  on: { Up: ({ entity }, { count }) => count.add({ id: entity }, { n: 1 }), ${on} },
}`;
const failing = `Bad: ({ entity, data }, { count }) => { count.add({ id: entity }, { n: 1000 }); if (data.fails) throw new Error("no good"); },`;
const other = `{
  name: "other", tables: { others: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Up: ({ entity }, { others }) => others.add({ id: entity }, { n: 1 }) },
}`;
const up = { type: "Up", data: {} };
const bad = { type: "Bad", data: { fails: true } };

test("a failing event parks its entity, and the others go on", async () => {
  const feed = new MemoryFeed();
  const harness = await Harness.open({ feed, application: application(count("", failing), other) });
  feed.append("a", up, bad, up);
  feed.append("b", up);
  feed.append("a", up);
  feed.append("b", up);
  expect(await harness.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  expect(await harness.rows("SELECT id, n FROM others ORDER BY id")).toEqual([
    ["a", 3],
    ["b", 2],
  ]);
  expect(harness.status("count")).toMatchObject({ state: "live", parked: 1, lagRecords: 0 });
  const [held] = await harness.projections.parked("count");
  expect(held).toMatchObject({
    entity: "a",
    seq: 2,
    type: "Bad",
    error: expect.stringMatching(/^Error at application-\d+\.ts:\d+:\d+$/),
  });
  // It is held back still when it is tried again and fails again.
  expect(await harness.projections.unpark("count")).toHaveLength(1);
  expect(await harness.rows("SELECT n FROM count WHERE id = 'a'")).toEqual([[1]]);
  await harness.close();

  // With handlers that can, everything that was held back is taken, once.
  const mended = failing.replace('throw new Error("no good")', "0");
  const again = await Harness.open({
    feed,
    dataDir: harness.dataDir,
    application: application(count("", mended), other),
  });
  await until(() => again.status("count").state === "live", "live");
  expect(again.status("count").parked).toBe(1);
  feed.append("a", up);
  expect(await again.projections.unpark("count", "a")).toEqual([]);
  expect(await again.rows("SELECT n FROM count WHERE id = 'a'")).toEqual([[1004]]);
  expect(again.status("count").parked).toBe(0);
  await again.close();
});

test("what becomes durable while a held back entity is read again is taken once, and in order", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application(count("", failing)) });
  feed.append("a", up, bad, up);
  for (let i = 0; i < 120; i++) feed.append(i % 2 ? "a" : "b", up);
  expect(await first.rows("SELECT n FROM count WHERE id = 'a'")).toEqual([[1]]);
  await first.close();

  const mended = failing.replace('throw new Error("no good")', "0");
  const second = await Harness.open({
    feed,
    dataDir: first.dataDir,
    application: application(count("", mended)),
  });
  await until(() => second.status("count").state === "live", "live");
  const read = feed.read.bind(feed);
  let grows = 3;
  feed.read = async (shard, after) => {
    const page = await read(shard, after);
    if (grows-- > 0) {
      for (let i = 0; i < 20; i++) feed.append("a", up);
      feed.append("b", up);
      // Whatever would send them now has the time for it.
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    return page;
  };
  expect(await second.projections.unpark("count", "a")).toEqual([]);
  expect(await second.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["a", 1 + 1000 + 1 + 60 + 60],
    ["b", 63],
  ]);
  await second.close();
});

test("skip leaves an event out and counts it", async () => {
  const feed = new MemoryFeed();
  const harness = await Harness.open({
    feed,
    application: application(count('onFailure: "skip",', failing)),
  });
  feed.append("a", up, bad, up);
  expect(await harness.rows("SELECT id, n FROM count")).toEqual([["a", 2]]);
  expect(harness.status("count")).toMatchObject({ skipped: 1, parked: 0 });
  await harness.close();
});

test("retry stands still at the event, says so, and goes on when the handler can", async () => {
  const feed = new MemoryFeed(1);
  const flag = join(root, "flag");
  const waits = `Bad: ({ entity }, { count }) => {
    if (!require("node:fs").existsSync(${JSON.stringify(flag)})) throw new Error("not yet");
    count.add({ id: entity }, { n: 10 }); },`;
  const harness = await Harness.open({
    feed,
    application: application(count('onFailure: "retry",', waits), other),
  });
  feed.append("a", up);
  feed.append("b", up, bad);
  feed.append("a", up);
  await until(() => harness.status("count").state === "retrying", "retrying");
  const error = {
    code: "PROJECTION_FAILED",
    message: expect.stringMatching(/^Error at application-\d+\.ts:/),
  };
  expect(harness.status("count")).toMatchObject({ error });
  await until(() => harness.status("other").lagRecords === 0, "the other one is up to date");
  expect(harness.status("count").lagRecords).toBe(2);
  expect(await harness.rows("SELECT id, n FROM count", [], { after: { shard: 0, position: 1 } })).toEqual([
    ["a", 1],
  ]);
  writeFileSync(flag, "");
  expect(await harness.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["a", 2],
    ["b", 11],
  ]);
  expect(harness.status("count")).toMatchObject({ state: "live", error: null });
  await harness.close();
});

test("a record is applied as a whole or not at all, and goes on after a restart", async () => {
  const feed = new MemoryFeed(1);
  const app = application(count());
  let harness = await Harness.open({ feed, application: app });
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 40; i++) feed.together(["a", [up]], ["b", [up, up]]);
    await harness.close();
    harness = await Harness.open({ feed, dataDir: harness.dataDir, application: app });
  }
  expect(await harness.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["a", 200],
    ["b", 400],
  ]);
  await harness.close();
});

test("a new version is built beside the old one and takes its place", async () => {
  const feed = new MemoryFeed();
  for (let i = 0; i < 500; i++) feed.append(`e${i % 7}`, up);
  const first = await Harness.open({ feed, application: application(count()) });
  const before = await first.rows("SELECT sum(n) FROM count");
  expect(before).toEqual([[500]]);
  await first.close();

  // Version 1 goes on while version 2, which counts in twos, is built.
  const two = count("version: 2,").replace("{ n: 1 }", "{ n: 2 }");
  const both = application(count("version: 1,"), two);
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: both });
  feed.append("e0", up);
  const seen = new Set<number>();
  await until(async () => {
    const [[sum] = []] = await second.rows("SELECT sum(n) FROM count");
    seen.add(Number(sum));
    return sum === 1002;
  }, "the new version is seen");
  expect([...seen].every((sum) => sum === 501 || sum === 1002)).toBe(true);
  expect(second.status("count")).toMatchObject({ version: 2, state: "live", building: null });
  await until(() => databases(second).length === 1, "the old rows are dropped");
  await second.close();
});

const databases = ({ dataDir }: Harness) =>
  readdirSync(join(dataDir, "projections")).filter((file) => file.endsWith(".db"));

test("tables that changed without a new version are refused, visibly, and stay as they are", async () => {
  const feed = new MemoryFeed();
  feed.append("a", up);
  const first = await Harness.open({ feed, application: application(count(), other) });
  expect(await first.rows("SELECT n FROM count")).toEqual([[1]]);
  await first.close();
  const changed = count().replace('n: "integer"', 'n: "real"');
  const second = await Harness.open({
    feed,
    dataDir: first.dataDir,
    application: application(changed, other),
  });
  feed.append("a", up);
  await until(() => second.status("other").lagRecords === 0, "the other one goes on");
  expect(second.status("count")).toMatchObject({ state: "failed", error: { code: "CONFIG_MISMATCH" } });
  expect(await second.rows("SELECT n FROM others", [], { after: [] })).toEqual([[2]]);
  expect(await second.rows("SELECT n FROM count", [], { after: [] })).toEqual([[1]]);
  const late = second.rows("SELECT n FROM count", [], { timeoutMs: 100 });
  expect(late).rejects.toMatchObject({ code: "TIMEOUT", details: { projections: ["count"] } });
  await late.catch(() => {});
  await second.projections.rebuild("count");
  await until(async () => second.status("count").state === "live", "built again");
  expect(await second.rows("SELECT n FROM count")).toEqual([[2]]);
  await second.close();
});

test("paused it stands still, resumed it goes on, and both survive a restart", async () => {
  const feed = new MemoryFeed(1);
  const app = application(count(), other);
  const first = await Harness.open({ feed, application: app });
  feed.append("a", up);
  await first.rows("SELECT 1");
  first.projections.pause("count");
  feed.append("a", up);
  await until(() => first.status("other").lagRecords === 0, "the other one goes on");
  expect(first.status("count")).toMatchObject({ state: "paused", lagRecords: 1 });
  expect(first.status("count").lagMs).toBeGreaterThan(0);
  await first.close();
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: app });
  await until(() => second.status("count").state === "paused", "paused");
  expect(await second.rows("SELECT n FROM count", [], { after: [] })).toEqual([[1]]);
  second.projections.resume("count");
  expect(await second.rows("SELECT n FROM count")).toEqual([[2]]);
  await second.close();
});

test("rows ahead of a journal that lost its newest records are built again", async () => {
  const feed = new MemoryFeed(1);
  const app = application(count());
  for (let i = 0; i < 10; i++) feed.append("a", up);
  const first = await Harness.open({ feed, application: app });
  expect(await first.rows("SELECT n FROM count")).toEqual([[10]]);
  await first.close();
  feed.lose(0, 5);
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: app });
  await until(async () => (await second.rows("SELECT n FROM count"))[0]?.[0] === 5, "built again");
  await second.close();
});

test("rows ahead of what was recovered are built again, though other records have their positions by now", async () => {
  const feed = new MemoryFeed(1);
  const app = application(count());
  for (let i = 0; i < 10; i++) feed.append("a", up);
  const first = await Harness.open({ feed, application: app });
  expect(await first.rows("SELECT n FROM count")).toEqual([[10]]);
  await first.close();
  feed.lose(0, 5);
  feed.recoveredRecords = 5;
  for (let i = 0; i < 8; i++) feed.append("b", up);
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: app });
  await until(async () => (await second.rows("SELECT n FROM count"))[0]?.[0] === 5, "built again");
  expect(await second.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["a", 5],
    ["b", 8],
  ]);
  await second.close();
});

test("rows of another incarnation are built again", async () => {
  const feed = new MemoryFeed();
  const app = application(count());
  feed.append("a", up);
  const first = await Harness.open({ feed, application: app });
  expect(await first.rows("SELECT n FROM count")).toEqual([[1]]);
  await first.close();
  const restored = new MemoryFeed();
  restored.incarnation = "two";
  restored.append("b", up);
  const second = await Harness.open({ feed: restored, dataDir: first.dataDir, application: app });
  await until(async () => (await second.rows("SELECT id FROM count"))[0]?.[0] === "b", "built again");
  expect(await second.rows("SELECT id, n FROM count")).toEqual([["b", 1]]);
  await second.close();
});

test("what a handler gives to a table is checked when it gives it", async () => {
  const feed = new MemoryFeed(1);
  const tries = `{
    name: "tries",
    tables: { tries: { columns: { id: "text", n: "integer", note: "text?", on: "boolean?", more: "json?" }, key: ["id"], subjects: ["id"] } },
    onFailure: "skip",
    on: {
      Try: ({ data }, { tries }) => tries.upsert(data),
      Twice: ({ data }, { tries }) => { tries.insert(data); tries.insert(data); },
      Later: async ({ data }, { tries }) => tries.upsert(data),
      Read: ({ entity, data }, { tries }) => tries.upsert({ ...tries.get({ id: data.from }), id: data.to }),
      Gone: ({ data }, { tries }) => tries.delete(data),
    },
  }`;
  const harness = await Harness.open({ feed, application: application(tries) });
  const good = { id: "a", n: 1, note: "x", on: true, more: { deep: [1, null] } };
  feed.append("e", { type: "Try", data: good });
  for (const data of [
    { ...good, n: 1.5 },
    { ...good, id: 1 },
    { id: "b" },
    { ...good, stranger: 1 },
    { ...good, on: 1 },
  ]) {
    feed.append("e", {
      type: "Try",
      data: { ...data, ...("id" in data && data.id === "a" ? { id: "wrong" } : {}) },
    });
  }
  feed.append("e", { type: "Twice", data: { id: "c", n: 1 } });
  feed.append("e", { type: "Later", data: { id: "d", n: 1 } });
  feed.append(
    "e",
    { type: "Read", data: { from: "a", to: "f" } },
    { type: "Read", data: { from: "f", to: "g" } },
  );
  feed.append("e", { type: "Try", data: { id: "h", n: 7 } }, { type: "Gone", data: { id: "h" } });
  feed.append("e", { type: "Read", data: { from: "h", to: "i" } });
  const { id: _, ...rest } = { ...good, on: 1, more: '{"deep":[1,null]}' };
  expect(await harness.rows("SELECT * FROM tries ORDER BY id")).toEqual(
    ["a", "f", "g"].map((id) => [id, ...Object.values(rest)]),
  );
  expect(harness.status("tries").skipped).toBe(8);
  await harness.close();
});

test("an erasure removes the rows of its subject, in the order of the feed, and leaves no byte", async () => {
  const feed = new MemoryFeed(1);
  const app = application(
    `{ name: "moves", tables: { moves: { columns: { sender: "text", seq: "integer", receiver: "text", note: "text" }, key: ["sender", "seq"], subjects: ["sender", "receiver"] } },
       on: { Moved: ({ entity, seq, data }, { moves }) => moves.insert({ sender: entity, seq, ...data }) } }`,
    `{ name: "sum", tables: { sums: { columns: { id: "integer", n: "integer" }, key: ["id"], shared: true, onErase: "rebuild" } },
       on: { Moved: (_, { sums }) => sums.add({ id: 1 }, { n: 1 }) } }`,
    `{ name: "kept", tables: { kept: { columns: { id: "integer", n: "integer" }, key: ["id"], shared: true, onErase: "keep" } },
       on: { Moved: (_, { kept }) => kept.add({ id: 1 }, { n: 1 }) } }`,
  );
  const harness = await Harness.open({ feed, application: app });
  const moved = (receiver: string) => ({
    type: "Moved",
    data: { receiver, note: `secret-note-to-${receiver}` },
  });
  feed.append("alice", moved("bob"), moved("carol"));
  feed.append("bob", moved("carol"));
  feed.append("carol", moved("alice"));
  expect(await harness.rows("SELECT count(*) FROM moves")).toEqual([[4]]);
  const { shard, position } = feed.erase("alice");
  feed.append("alice", moved("bob"));
  expect(harness.followers.all.map(({ name }) => name).sort()).toEqual([
    "projection kept",
    "projection moves",
    "projection sum",
  ]);
  await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
  expect(await harness.rows("SELECT sender, receiver FROM moves ORDER BY sender")).toEqual([
    ["alice", "bob"],
    ["bob", "carol"],
  ]);
  expect(await harness.rows("SELECT n FROM sums")).toEqual([[3]]);
  expect(await harness.rows("SELECT n FROM kept")).toEqual([[5]]);
  const { shard: again, position: at } = feed.erase("alice");
  await Promise.all(harness.followers.all.map((follower) => follower.passed(again, at)));
  expect(await harness.rows("SELECT sender, receiver FROM moves ORDER BY sender")).toEqual([
    ["bob", "carol"],
  ]);
  const folder = join(harness.dataDir, "projections");
  for (const file of readdirSync(folder)) {
    expect({ file, has: readFileSync(join(folder, file)).includes("alice") }).toEqual({ file, has: false });
  }
  await harness.close();
});

test("an erasure cleans a projection that is paused, stands still or is not declared any more", async () => {
  const feed = new MemoryFeed(1);
  const dull = count('onFailure: "retry",', failing);
  const first = await Harness.open({
    feed,
    application: application(dull, other, count().replaceAll("count", "gone")),
  });
  feed.append("alice", up, up);
  feed.append("bob", up);
  await first.rows("SELECT 1");
  await first.close();

  const second = await Harness.open({ feed, dataDir: first.dataDir, application: application(dull, other) });
  second.projections.pause("other");
  feed.append("bob", bad);
  await until(() => second.status("count").state === "retrying", "retrying");
  expect(second.status("gone").state).toBe("frozen");
  const { shard, position } = feed.erase("alice");
  await Promise.all(second.followers.all.map((follower) => follower.passed(shard, position)));
  for (const table of ["count", "others", "gone"]) {
    expect(await second.rows(`SELECT id, n FROM ${table}`, [], { after: [] })).toEqual([["bob", 1]]);
  }
  await second.close();
});

test("an erasure rebuilds shared rows also of an entity whose first events are not in the feed", async () => {
  const feed = new MemoryFeed(1);
  const shared = count().replace('subjects: ["id"]', 'shared: true, onErase: "rebuild"');
  for (let i = 0; i < 10; i++) feed.append("old", up);
  feed.append("b", up);
  // Retention has dropped the beginning.
  const read = feed.read.bind(feed);
  feed.read = (shard, after) => read(shard, Math.max(after, 5));
  const first = await Harness.open({ feed, application: application(shared) });
  expect(await first.rows("SELECT id, n FROM count ORDER BY id")).toEqual([
    ["b", 1],
    ["old", 5],
  ]);
  const { shard, position } = feed.erase("old");
  await Promise.all(first.followers.all.map((follower) => follower.passed(shard, position)));
  expect(await first.rows("SELECT id, n FROM count")).toEqual([["b", 1]]);
  await first.close();
});

test("what says why an event was left out has no value of it, and read models are their owner's alone", async () => {
  const feed = new MemoryFeed(1);
  const notes = `{
    name: "notes", tables: { notes: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
    on: { Note: ({ data }, { notes }) => notes.insert(data) },
  }`;
  const harness = await Harness.open({ feed, application: application(notes) });
  const note = (id: string, n: unknown) => ({ type: "Note", data: { id, n } });
  feed.append("a", note("secret", 1), note("secret", 1));
  feed.append("b", note("b", "secret"));
  feed.append("c", note("c", 1.5));
  expect(await harness.rows("SELECT id FROM notes")).toEqual([["secret"]]);
  const errors = (await harness.projections.parked("notes")).map(({ error }) => error);
  expect(errors.sort()).toEqual([
    "notes has a row with this key already",
    "notes.n takes integer, not real",
    "notes.n takes integer, not text",
  ]);
  expect(statSync(join(harness.dataDir, "projections")).mode & 0o777).toBe(0o700);
  await harness.close();
});

test("a handler that never returns stands still alone, and the end does not wait for it", async () => {
  const feed = new MemoryFeed(1);
  const endless = `{
    name: "endless", tables: { never: { columns: { id: "text" }, key: ["id"], subjects: ["id"] } },
    on: { Up: () => { for (;;) {} } },
  }`;
  const harness = await Harness.open({ feed, application: application(count(), endless) });
  feed.append("a", up);
  await until(() => harness.status("count").lagRecords === 0, "the other one goes on");
  await until(() => harness.status("endless").lagMs > 100, "its lag grows");
  expect(await harness.rows("SELECT n FROM count", [], { after: [] })).toEqual([[1]]);
  await harness.close();
});
