/**
 * Which build queries see and what they wait for: rows that nobody feeds any more, rebuilds that meet, and swaps under a waiting query.
 */
import { heapStats } from "bun:jsc";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Harness, removeDirectories } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-swapping-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
function application(...projections: string[]): string {
  const path = join(root, `application-${++files}.ts`);
  const lines = projections.map((one, i) => `export const p${i} = defineProjection(${one});\n`);
  writeFileSync(path, `import { defineProjection } from "warp";\n${lines.join("")}`);
  return path;
}

const count = (name: string, more = "") => `{
  name: "${name}", ${more} tables: { ${name}: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Up: ({ entity }, { ${name} }) => ${name}.add({ id: entity }, { n: 1 }) },
}`;
const up = { type: "Up", data: {} };

test("a projection that is not declared any more holds up no query, and its rows can be read", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application(count("kept"), count("gone")) });
  feed.append("a", up);
  expect(await first.rows("SELECT n FROM gone")).toEqual([[1]]);
  await first.close();
  const { dataDir } = first;
  const second = await Harness.open({ feed, dataDir, application: application(count("kept")) });
  feed.append("a", up);
  const read = async () => ({
    unasked: await second.rows("SELECT n FROM kept", [], { after: [], timeoutMs: 20_000 }),
    kept: await second.rows("SELECT n FROM kept", [], { timeoutMs: 20_000 }),
    gone: await second.rows("SELECT n FROM gone", [], { timeoutMs: 20_000 }),
  });
  expect(await read()).toMatchObject({ kept: [[2]], gone: [[1]] });
  // Somebody who only cleans its rows brings them no further either.
  const { shard, position } = feed.erase("b");
  await Promise.all(second.followers.all.map((follower) => follower.passed(shard, position)));
  feed.append("a", up);
  expect(await read()).toMatchObject({ kept: [[3]], gone: [[1]] });
  await second.close();
});

test("queries that time out leave nothing behind", async () => {
  const feed = new MemoryFeed(1);
  const harness = await Harness.open({ feed, application: application(count("paused")) });
  feed.append("a", up);
  await harness.rows("SELECT 1");
  harness.projections.pause("paused");
  feed.append("a", up);
  const ask = async (times: number) => {
    for (let i = 0; i < times; i++) {
      await harness.projections.placeFor(undefined, [2], 1).then(
        () => expect.unreachable(),
        ({ code }) => expect(code).toBe("TIMEOUT"),
      );
    }
    Bun.gc(true);
    return heapStats().objectTypeCounts.Promise ?? 0;
  };
  const before = await ask(20);
  expect((await ask(400)) - before).toBeLessThan(200);
  await harness.close();
});
