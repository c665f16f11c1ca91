/**
 * What operators do with projections, in the moments in which it is awkward: ends in the middle of a rebuild, a swap that the
 * database refuses, a reader that holds the WAL; and what of a projection is in an export.
 */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { silentLogger } from "../../src/core/logger.ts";
import { start } from "../../src/index.ts";
import { defineProjection } from "../../src/projection/definition.ts";
import { SqliteSink } from "../../src/projection/sinks/sqlite.ts";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";
import { postgresProblem, startPostgres } from "./servers.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-operating-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
function application(projection: string): string {
  const path = join(root, `application-${++files}.ts`);
  writeFileSync(
    path,
    `import { defineProjection } from "warp";\nexport const projection = defineProjection(${projection});\n`,
  );
  return path;
}

const count = `{
  name: "count", tables: { count: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Up: ({ entity }, { count }) => count.add({ id: entity }, { n: 1 }) },
}`;
const up = { type: "Up", data: {} };

test("a rebuild that was asked for goes on after a restart", async () => {
  const feed = new MemoryFeed(1);
  const path = application(count);
  const first = await Harness.open({ feed, application: path });
  for (let i = 0; i < 200; i++) feed.append("a", up);
  expect(await first.rows("SELECT n FROM count")).toEqual([[200]]);
  // Paused it cannot catch up, so it is under way when the context ends.
  first.projections.pause("count");
  await first.projections.rebuild("count");
  expect(first.status("count").building).toEqual({ version: 1, progress: 0 });
  await first.close();
  const again = await Harness.open({ feed, application: path, dataDir: first.dataDir });
  expect(again.status("count").building).toEqual({ version: 1, progress: 0 });
  const before = await again.projections.placeFor(undefined, undefined, 240_000);
  again.projections.resume("count");
  await until(() => again.status("count").building === null, "the rebuilt rows are swapped in");
  expect(await again.projections.placeFor(undefined, undefined, 240_000)).not.toEqual(before);
  expect(await again.rows("SELECT n FROM count")).toEqual([[200]]);
  await again.close();
});

test("deleted rows are not called purged while a reader keeps them in the WAL", async () => {
  const projection = defineProjection({
    name: "purged",
    tables: { note: { columns: { id: "text", text: "text" }, key: ["id"], subjects: ["id"] } },
    on: { Noted: () => undefined },
  });
  const path = join(root, "purged.db");
  const sink = new SqliteSink(path, { number: 1, projection, incarnation: "one" });
  let batch = (await sink.open()) ?? 0;
  const [table] = projection.tables;
  if (table === undefined) throw new Error("there is a table");
  const changes = [{ key: ["a"], row: ["a", "a secret of hers"] }];
  await sink.commit({
    batch: batch++,
    writer: "w",
    rows: [{ table, changes }],
    statements: [],
    erased: undefined,
  });
  await sink.commit({ batch: batch++, writer: "w", rows: [], statements: [], erased: "a" });
  const reader = new Database(path, { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM note").get();
  expect(sink.purge()).rejects.toMatchObject({ code: "SINK_UNAVAILABLE" });
  reader.run("COMMIT");
  reader.close();
  await sink.purge();
  expect(statSync(`${path}-wal`).size).toBe(0);
  await sink.close();
});

test("what is closed is past no erasure: the next start is asked again", async () => {
  const feed = new MemoryFeed(1);
  feed.append("alice", up);
  const harness = await Harness.open({ feed, application: application(count) });
  await harness.close();
  const { shard, position } = feed.erase("alice");
  const followers = harness.followers.all;
  expect(followers.map(({ name }) => name)).toEqual(["projection count"]);
  const passed = Promise.all(followers.map((follower) => follower.passed(shard, position)));
  expect(passed).rejects.toMatchObject({ code: "CLOSED" });
  await passed.catch(() => {});
});

test("a purge copies the rows into a file beside them, not into memory", () => {
  const child = [process.execPath, join(import.meta.dir, "purge-child.ts"), join(root, "large.db")];
  const { stdout, exitCode } = Bun.spawnSync(child, { stderr: "inherit" });
  expect(exitCode).toBe(0);
  // Two caches of 16 MiB, and not the 64 MiB of the rows.
  expect(Number(stdout.toString())).toBeLessThan(56 * 2 ** 20);
});

test("an entity that is held back is taken again over several commits, each event once", async () => {
  const feed = new MemoryFeed(1);
  const mixed = (fails: boolean) => `{
    name: "mixed", tables: { mixed: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
    on: {
      Held: () => { if (${fails}) throw new Error("later"); },
      Add: ({ entity }, { mixed }) => mixed.add({ id: entity }, { n: 1 }),
      Sql: ({ entity }, { mixed }, run) => run(\`UPDATE \${mixed} SET n = n * 3 WHERE id = ?\`, [entity]),
      Bad: ({ entity }, { mixed }) => { mixed.add({ id: entity }, { n: 1000 }); throw new Error("never"); },
    },
  }`;
  const first = await Harness.open({ feed, application: application(mixed(true)) });
  feed.append("a", { type: "Held", data: {} });
  // Plain SQL runs behind the rows of a batch, so a table that is used after it begins another one.
  for (const type of ["Add", "Sql", "Add", "Sql", "Add"]) feed.append("a", { type, data: {} });
  feed.append("b", { type: "Add", data: {} });
  expect(await first.rows("SELECT id, n FROM mixed")).toEqual([["b", 1]]);
  await first.close();
  const again = await Harness.open({ feed, application: application(mixed(false)), dataDir: first.dataDir });
  await until(() => again.status("mixed").state === "live", "live");
  feed.append("a", { type: "Bad", data: {} });
  feed.append("a", { type: "Add", data: {} });
  const [held] = await again.projections.unpark("mixed");
  expect(held).toMatchObject({ entity: "a", seq: 7, type: "Bad" });
  // ((1 × 3) + 1) × 3 + 1
  expect(await again.rows("SELECT n FROM mixed WHERE id = 'a'")).toEqual([[13]]);
  expect(await again.projections.unpark("mixed")).toHaveLength(1);
  expect(await again.rows("SELECT n FROM mixed WHERE id = 'a'")).toEqual([[13]]);
  await again.close();
});

test("an export has the rows that are about the entity, up to what it was asked behind", async () => {
  const warp = await start({
    dataDir: join(root, "data"),
    context: "exported",
    application: join(import.meta.dir, "application.ts"),
    logger: silentLogger,
  });
  const pay = (id: string, to: string) =>
    warp.entity(id).append({ type: "Paid", data: { cents: 5, to, day: "monday" } });
  await pay("bob", "alice");
  await pay("alice", "carol");
  await pay("bob", "carol");
  const held = async () => {
    let text = "";
    for await (const piece of warp.entity("alice").export()) text += piece;
    const lines = text.trim().split("\n");
    return lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === "held");
  };
  const total = { purse: "alice", cents: 5, payments: 1, name: null };
  const ofPayments = [
    { purse: "alice", seq: 1, cents: 5, receiver: "carol", day: "monday" },
    { purse: "bob", seq: 1, cents: 5, receiver: "alice", day: "monday" },
  ];
  const expected = [
    { kind: "held", by: "projection totals", table: "total", row: total },
    ...ofPayments.map((row) => ({ kind: "held", by: "projection payments", table: "payment", row })),
  ];
  const sorted = (lines: unknown[]) => lines.map((line) => JSON.stringify(line)).sort();
  expect(sorted(await held())).toEqual(sorted(expected));
  await warp.close();
  // Rows of projections that the application does not declare any more are hers as well.
  const without = await start({ dataDir: join(root, "data"), context: "exported", logger: silentLogger });
  let text = "";
  for await (const piece of without.entity("alice").export()) text += piece;
  expect(text.match(/"kind":"held"/g)).toHaveLength(3);
  await without.close();
});

if (postgresProblem === undefined) {
  test("a swap that the database refuses is told, and done when it can be", async () => {
    const server = await startPostgres();
    const feed = new MemoryFeed(1);
    const versions = (table: string, version: number) => `{
      name: "swapped", version: ${version}, sink: "elsewhere",
      tables: { ${table}: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
      on: { Up: ({ entity }, tables) => tables.${table}.add({ id: entity }, { n: ${version} }) },
    }`;
    const sinks = { elsewhere: server.url };
    const first = await Harness.open({ feed, application: application(versions("before", 1)), sinks });
    for (let i = 0; i < 20; i++) feed.append("a", up);
    expect(await first.rows("SELECT n FROM before", [], { sink: "elsewhere" })).toEqual([["20"].map(Number)]);
    await first.close();
    const sql = new SQL(server.url, { max: 1 });
    // Something of somebody else has the name of the new table.
    await sql.unsafe("CREATE TABLE tests.after (x BIGINT)");
    const { dataDir } = first;
    const second = await Harness.open({
      feed,
      application: application(versions("after", 2)),
      sinks,
      dataDir,
    });
    await until(() => second.status("swapped").error?.code === "PROJECTION_FAILED", "it says why");
    expect(second.status("swapped").building).toMatchObject({ version: 2 });
    expect(second.status("swapped").error?.message).toMatch(/^PostgreSQL refused: SQLSTATE \w{5}$/);
    await sql.unsafe("DROP TABLE tests.after");
    second.projections.resume("swapped");
    await until(() => second.status("swapped").building === null, "swapped in");
    expect(await second.rows("SELECT n FROM after", [], { sink: "elsewhere" })).toEqual([[40]]);
    await second.close();
    await sql.close();
    await server.end();
  });
}
