/**
 * Who waits for rows, or for an erasure, hears of it: what comes in a moment in which nobody seems to listen, Workers that end, and
 * contexts that close.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Harness, removeDirectories, until } from "./harness.ts";
import { HeldFeed } from "./held-feed.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-waiting-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** An application of one projection that counts events by entity, and does what `handlers` say beside it. */
function counting(name: string, handlers = ""): string {
  const path = join(root, `${name}.ts`);
  writeFileSync(
    path,
    `import { existsSync, writeFileSync } from "node:fs";
import { defineProjection } from "warp";
export const counted = defineProjection({
  name: "${name}",
  tables: { ${name}: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Up: ({ entity }, { ${name} }) => ${name}.add({ id: entity }, { n: 1 }), ${handlers} },
});
`,
  );
  return path;
}
const up = { type: "Up", data: {} };
const soon = { timeoutMs: 10_000 };

test("what becomes durable in the moment in which a build finds nothing is taken in", async () => {
  const feed = new MemoryFeed(1);
  const harness = await Harness.open({ feed, application: counting("moment") });
  feed.append("a", up);
  expect(await harness.rows("SELECT n FROM moment")).toEqual([[1]]);
  await Bun.sleep(100);
  // Behind its look, and before it has heard that there was nothing.
  queueMicrotask(() => feed.append("a", up));
  harness.projections.resume("moment");
  await Bun.sleep(1);
  expect(await harness.rows("SELECT n FROM moment", [], soon)).toEqual([[2]]);
  await harness.close();
});

test("a build whose Worker fails while the next page is read goes on with that page", async () => {
  const feed = new HeldFeed(1);
  feed.pageRecords = 1;
  const failing = 'End: () => { setTimeout(() => { throw new Error("gone"); }); }';
  const harness = await Harness.open({ feed, application: counting("failing", failing) });
  feed.append("a", up);
  await harness.rows("SELECT 1");
  feed.hold(2, 0);
  feed.append("a", { type: "End", data: {} });
  feed.append("a", up);
  await until(() => harness.status("failing").state === "failed", "its Worker has failed");
  await until(() => ["building", "live"].includes(harness.status("failing").state), "the next one is opened");
  feed.letGo(2);
  expect(await harness.rows("SELECT n FROM failing", [], soon)).toEqual([[2]]);
  await harness.close();
});

test("a build whose Worker is ended by a handler goes on with another one", async () => {
  const feed = new MemoryFeed(1);
  const mark = JSON.stringify(join(root, "was-ended"));
  const exit = `End: () => { if (!existsSync(${mark})) { writeFileSync(${mark}, ""); process.exit(0); } }`;
  const harness = await Harness.open({ feed, application: counting("ending", exit) });
  feed.append("a", up);
  await harness.rows("SELECT 1");
  feed.append("a", { type: "End", data: {} });
  feed.append("a", up);
  expect(await harness.rows("SELECT n FROM ending", [], soon)).toEqual([[2]]);
  await harness.close();
});

test("who waits for an erasure that is being read when the context closes is told so", async () => {
  const feed = new HeldFeed(1);
  const harness = await Harness.open({ feed, application: counting("read") });
  feed.append("alice", up);
  await harness.rows("SELECT 1");
  harness.projections.pause("read");
  const { shard, position } = feed.erase("alice");
  feed.hold(position - 1, 0);
  const passed = Promise.all(harness.followers.all.map((one) => one.passed(shard, position)));
  const outcome = passed.then(
    () => "passed",
    ({ code }) => code,
  );
  await harness.close();
  feed.letGo(position - 1);
  expect(await Promise.race([outcome, Bun.sleep(5000)])).toBe("CLOSED");
});

test("who waits for rows when the context closes is told so", async () => {
  const feed = new MemoryFeed(1);
  const harness = await Harness.open({ feed, application: counting("still") });
  feed.append("a", up);
  await harness.rows("SELECT 1");
  harness.projections.pause("still");
  feed.append("a", up);
  const waiting = [harness.rows("SELECT n FROM still"), harness.projections.past({ shard: 0, position: 2 })];
  const codes = Promise.all(
    waiting.map((one) =>
      one.then(
        () => "done",
        ({ code }) => code,
      ),
    ),
  );
  await harness.close();
  expect(await Promise.race([codes, Bun.sleep(5000)])).toEqual(["CLOSED", "CLOSED"]);
});
