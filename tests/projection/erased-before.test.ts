/**
 * What others said of an entity before it was erased makes no rows about it, whenever a build takes it: from a backlog, behind
 * the erasure, or from the beginning. What they say afterwards does.
 */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-erased-before-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const application = join(root, "application.ts");
writeFileSync(
  application,
  `import { defineProjection } from "warp";
   export const payments = defineProjection({
     name: "payments",
     tables: {
       payment: { columns: { payer: "text", seq: "integer", receiver: "text" }, key: ["payer", "seq"], subjects: ["payer", "receiver"] },
       received: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] },
     },
     on: {
       Paid: ({ entity, seq, data }, { payment, received }) => {
         payment.insert({ payer: entity, seq, receiver: data.to });
         received.add({ id: data.to }, { n: 1 });
       },
     },
   });\n`,
);

let feed: MemoryFeed;
let harness: Harness;
beforeEach(() => {
  // "a" and "c" share a shard, "b" and "d" the other.
  feed = new MemoryFeed(2);
});

const pay = (payer: string, to: string) => feed.append(payer, { type: "Paid", data: { to } });
const erase = async (id: string) => {
  const { shard, position } = feed.erase(id);
  await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
};
const payments = () => harness.rows("SELECT payer, receiver FROM payment ORDER BY payer, seq");
const received = () => harness.rows("SELECT id, n FROM received ORDER BY id");

test("a backlog that is taken after an erasure brings nothing back, also after a restart", async () => {
  harness = await Harness.open({ feed, application });
  pay("b", "a");
  expect(await payments()).toEqual([["b", "a"]]);
  harness.projections.pause("payments");
  pay("a", "b");
  pay("a", "c");
  pay("c", "b");
  await erase("b");
  harness.projections.resume("payments");
  expect(await payments()).toEqual([["a", "c"]]);
  harness.projections.pause("payments");
  pay("a", "d");
  await erase("d");
  await harness.close();
  harness = await Harness.open({ feed, application, dataDir: harness.dataDir });
  harness.projections.resume("payments");
  pay("c", "d");
  expect(await payments()).toEqual([
    ["a", "c"],
    ["c", "d"],
  ]);
  expect(await received()).toEqual([
    ["a", 1],
    ["c", 1],
    ["d", 1],
  ]);
  await harness.close();
});

test("what comes behind an erasure, from another shard, brings nothing back, be it that the id has begun again", async () => {
  const other = { type: "Other", data: {} };
  const read = feed.read.bind(feed);
  let isHeld = false;
  feed.read = async (shard, after) => {
    const page = await read(shard, after);
    return isHeld && shard === feed.shardOf("b") ? { ...page, upTo: after } : page;
  };
  feed.append("a", other);
  harness = await Harness.open({ feed, application });
  const isBehind = (records: number) => () => harness.status("payments").lagRecords === records;
  await until(isBehind(0), "up to date");
  isHeld = true;
  pay("b", "a");
  const { shard, position } = feed.erase("a");
  feed.append("a", other);
  await until(isBehind(1), "past the erasure");
  isHeld = false;
  pay("c", "d");
  await until(isBehind(0), "up to date");
  // Nobody was told of the erasure before.
  await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
  expect(await payments()).toEqual([["c", "d"]]);
  pay("b", "a");
  expect(await received()).toEqual([
    ["a", 1],
    ["d", 1],
  ]);
  await harness.close();
});

test("a rebuild brings nothing back, and a new life of the id has its own rows", async () => {
  harness = await Harness.open({ feed, application });
  pay("a", "b");
  pay("c", "b");
  pay("b", "c");
  await payments();
  await erase("b");
  pay("b", "a");
  pay("c", "b");
  const expected = [
    ["b", "a"],
    ["c", "b"],
  ];
  expect(await payments()).toEqual(expected);
  await harness.projections.rebuild("payments");
  await until(() => harness.status("payments").building === null, "built again");
  expect(await payments()).toEqual(expected);
  expect(await received()).toEqual([
    ["a", 1],
    ["b", 1],
  ]);
  await harness.close();
});
