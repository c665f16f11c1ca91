/**
 * Plain SQL that the sink refuses: what was not taken is taken later, whatever comes between, and only its entity waits.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-refused-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
/** An application with one projection, which counts, and does this with plain SQL. */
function application(onFailure: string, sql: string): string {
  const path = join(root, `application-${++files}.ts`);
  writeFileSync(
    path,
    `import { defineProjection } from "warp";
     let tries = 0;
     export const count = defineProjection({
       name: "count", onFailure: "${onFailure}",
       tables: { count: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
       on: {
         Up: ({ entity, data }, { count }) => {
           if (data.fails) throw new Error("no good");
           count.add({ id: entity }, { n: 1 });
         },
         Sql: ({ entity, data }, { count }, run) => {
           tries++;
           count.add({ id: entity }, { n: 100 });
           ${sql}
         },
       },
     });\n`,
  );
  return path;
}

const refused = 'run("INSERT INTO nowhere VALUES (1)");';
const up = { type: "Up", data: {} };
const sql = { type: "Sql", data: {} };
const all = "SELECT id, n FROM count ORDER BY id";
const passed = (harness: Harness, { shard, position }: { shard: number; position: number }) =>
  Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));

test("an erasure while refused SQL is tried again does not go past its record", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application("retry", refused) });
  feed.append("alice", up);
  feed.append("bob", sql);
  feed.append("carol", up);
  await until(() => first.status("count").state === "retrying", "retrying");
  await passed(first, feed.erase("alice"));
  // The record of bob, that of carol, and the erasure.
  expect(first.status("count")).toMatchObject({ state: "retrying", lagRecords: 3 });
  await first.close();
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: application("retry", "") });
  expect(await second.rows(all)).toEqual([
    ["bob", 100],
    ["carol", 1],
  ]);
  await second.close();
});

test("a handler that fails when its refused record is taken alone is tried again", async () => {
  const feed = new MemoryFeed(1);
  const fickle = `if (tries === 1) ${refused} else if (tries < 4) throw new Error("not yet");`;
  const harness = await Harness.open({ feed, application: application("retry", fickle) });
  feed.append("bob", sql);
  feed.append("carol", up);
  expect(await harness.rows(all)).toEqual([
    ["bob", 100],
    ["carol", 1],
  ]);
  expect(harness.status("count")).toMatchObject({ state: "live", error: null });
  await harness.close();
});

test("a held back entity whose SQL is refused again stays held back, from the record at fault on", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application("park", refused) });
  feed.append("bob", up);
  feed.append("bob", sql);
  for (let i = 0; i < 3; i++) feed.append("bob", up);
  feed.append("carol", up);
  expect(await first.rows(all)).toEqual([
    ["bob", 1],
    ["carol", 1],
  ]);
  for (let i = 0; i < 2; i++) {
    expect(await first.projections.unpark("count")).toMatchObject([{ entity: "bob", seq: 2, type: "Sql" }]);
    feed.append("carol", up);
    expect(await first.rows(all)).toContainEqual(["carol", 2 + i]);
    expect(first.status("count")).toMatchObject({ state: "live", parked: 1, error: null });
  }
  await first.close();

  // What goes well now is taken, and the entity is held back by what does not.
  const later = `if (data.bad) ${refused} else run(\`UPDATE \${count} SET n = n + 1000 WHERE id = ?\`, [entity]);`;
  feed.append("bob", { type: "Sql", data: { bad: true } }, up);
  const second = await Harness.open({
    feed,
    dataDir: first.dataDir,
    application: application("park", later),
  });
  await until(() => second.status("count").state === "live", "live");
  expect(await second.projections.unpark("count")).toMatchObject([{ entity: "bob", seq: 6, type: "Sql" }]);
  expect(await second.rows(all)).toContainEqual(["bob", 1104]);
  expect(second.status("count")).toMatchObject({ state: "live", parked: 1 });
  await second.close();

  const third = await Harness.open({ feed, dataDir: first.dataDir, application: application("park", "") });
  await until(() => third.status("count").state === "live", "live");
  expect(await third.projections.unpark("count")).toEqual([]);
  expect(await third.rows(all)).toContainEqual(["bob", 1205]);
  expect(third.status("count")).toMatchObject({ state: "live", parked: 0 });
  await third.close();
});

test("events that are left out are counted once, also in a batch that is refused", async () => {
  const feed = new MemoryFeed(1);
  const fails = { type: "Up", data: { fails: true } };
  feed.append("alice", fails, up);
  feed.append("bob", sql);
  feed.append("carol", fails, fails);
  const first = await Harness.open({ feed, application: application("skip", refused) });
  expect(await first.rows(all)).toEqual([["alice", 1]]);
  expect(first.status("count").skipped).toBe(4);
  await first.close();
  const second = await Harness.open({ feed, dataDir: first.dataDir, application: application("skip", "") });
  await until(() => second.status("count").state === "live", "live");
  expect(second.status("count").skipped).toBe(4);
  await second.close();
});
