import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { SweptEntity } from "../messages.ts";
import { SampleTail, sampleDirectory, sampleOptions } from "../sample.ts";
import { shardDirectory } from "../shard.ts";
import { Writer } from "../writer.ts";

const directory = sampleDirectory();
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let directories = 0;

function freshWriter(shards: readonly number[], tailBytes: number) {
  const options = sampleOptions(join(directory, String(++directories)), { shards });
  const tail = new SampleTail(tailBytes);
  return { writer: new Writer(options, tail.memory), tail, dataDir: options.dataDir };
}

/** Text that does not get smaller. */
const noise = (bytes: number) => `"${randomBytes((bytes * 3) / 4).toString("base64")}"`;

/** Sweeps until nothing is left; the number of slices, and what was swept. */
function sweepAll(
  writer: Writer,
  rowsMax: number,
  bytesMax: number,
): { slices: number; swept: SweptEntity[] } {
  const swept: SweptEntity[] = [];
  for (let slices = 1; ; slices++) {
    const { hasMore, entities } = writer.sweep(rowsMax, bytesMax);
    swept.push(...entities);
    if (!hasMore) return { slices, swept };
  }
}

test("a slice ends by bytes as well as by rows, and removes a row at least", () => {
  const { writer, tail } = freshWriter([0, 1], 1 << 24);
  const large = [tail.entity(0, "large"), tail.entity(1, "large too")];
  // Each is a run, and one beside another.
  for (let i = 0; i < 20; i++) for (const entity of large) tail.append([entity], [noise(256 * 1024)], true);
  const small = [1, 2, 3].map((i) => tail.entity(0, `small ${i}`));
  for (const entity of small) tail.append([entity], ["1"]);
  const snapshots = [...large, ...small].map(({ shard, number }) => {
    const state = randomBytes(number === 1 ? 400_000 : 10);
    return { shard, number, aggregate: "a", version: 1, seq: 1, state };
  });
  writer.settle(tail.settleMessage(snapshots));
  for (const entity of [...large, ...small]) tail.erase(entity);
  writer.settle(tail.settleMessage());

  const { slices, swept } = sweepAll(writer, 2000, 1 << 20);
  expect(slices).toBeGreaterThanOrEqual(8);
  expect(slices).toBeLessThanOrEqual(13);
  const removed = swept.map(({ shard, number, runs, callerKeys, snapshots }) =>
    [shard, number, runs, callerKeys, snapshots].join(" "),
  );
  expect(removed.toSorted()).toEqual(["0 1 20 20 1", "0 2 1 0 1", "0 3 1 0 1", "0 4 1 0 1", "1 1 20 20 1"]);
  writer.close();
});

test("the bytes of a single row, and of states, are no reason not to remove them", () => {
  const { writer, tail } = freshWriter([0], 1 << 22);
  const entity = tail.entity(0, "entity");
  const states = (seq: number) => [
    { shard: 0, number: 1, aggregate: "a", version: 1, seq, state: randomBytes(100_000) },
  ];
  for (let seq = 1; seq <= 3; seq++) {
    tail.append([entity], [noise(300_000)]);
    writer.settle(tail.settleMessage(states(seq)));
  }
  tail.erase(entity);
  writer.settle(tail.settleMessage());
  const { slices, swept } = sweepAll(writer, 2000, 1);
  expect(slices).toBe(4);
  expect(swept).toMatchObject([{ number: 1, events: 3, runs: 3, snapshots: 1 }]);
  writer.close();
});

test("a slice of few rows goes on where the last one ended", () => {
  const { writer, tail } = freshWriter([0, 1], 1 << 20);
  const entities = [tail.entity(0, "a"), tail.entity(1, "b"), tail.entity(1, "c")];
  for (let round = 0; round < 10; round++) {
    for (const entity of entities) tail.append([entity], ["1"], true);
    writer.settle(tail.settleMessage());
  }
  for (const entity of entities) tail.erase(entity);
  writer.settle(tail.settleMessage());
  const { slices, swept } = sweepAll(writer, 7, 1 << 30);
  expect(slices).toBeGreaterThanOrEqual(9);
  expect(swept.map(({ runs, callerKeys }) => [runs, callerKeys])).toEqual([
    [10, 10],
    [10, 10],
    [10, 10],
  ]);
  writer.close();
});

test("rows of many entities go in the order in which they came, whoever they are of", () => {
  const { writer, tail, dataDir } = freshWriter([0], 1 << 20);
  const entities = ["a", "b", "c"].map((id) => tail.entity(0, id));
  for (let round = 0; round < 10; round++) {
    for (const entity of entities) tail.append([entity], ["1"], true);
    writer.settle(tail.settleMessage());
  }
  for (const entity of entities.slice(0, 2)) tail.erase(entity);
  writer.settle(tail.settleMessage());
  // Of the first rounds everything of the two is gone, of later ones nothing.
  const seqsLeft = (table: string, column: string) => {
    const runs = new Database(join(shardDirectory(dataDir, 0), "runs.db"), { readonly: true });
    const rows = runs.query<{ n: number; least: number }, []>(
      `SELECT number AS n, min(${column}) AS least FROM ${table} WHERE number < 3 GROUP BY number ORDER BY number`,
    );
    const least = rows.all().map((row) => row.least);
    runs.close();
    return least;
  };
  writer.sweep(8, 1 << 20);
  expect(seqsLeft("runs", "seq")).toEqual([5, 5]);
  expect(seqsLeft("callerKeys", "firstSeq")).toEqual([1, 1]);
  writer.sweep(12, 1 << 20);
  expect(seqsLeft("runs", "seq")).toEqual([]);
  writer.sweep(6, 1 << 20);
  expect(seqsLeft("callerKeys", "firstSeq")).toEqual([4, 4]);
  const { hasMore, entities: swept } = writer.sweep(100, 1 << 20);
  expect(hasMore).toBe(false);
  expect(swept.map(({ runs, callerKeys }) => [runs, callerKeys])).toEqual([
    [10, 10],
    [10, 10],
  ]);
  writer.close();
});

test("a sweep ends a shard before it goes on with others, whatever becomes due there meanwhile", () => {
  const { writer, tail } = freshWriter([0, 1, 2], 1 << 20);
  const erase = (shard: number, id: string) => {
    const entity = tail.entity(shard, id);
    tail.append([entity], ["1"]);
    writer.settle(tail.settleMessage());
    tail.erase(entity);
    writer.settle(tail.settleMessage());
  };
  const sweptShards = (rowsMax: number) => writer.sweep(rowsMax, 1 << 20).entities.map(({ shard }) => shard);
  for (const id of ["a", "b"]) erase(1, id);
  expect(sweptShards(1)).toEqual([]);
  erase(0, "c");
  erase(2, "d");
  expect(sweptShards(100)).toEqual([1, 1, 2, 0]);
  erase(1, "e");
  erase(0, "f");
  expect(sweptShards(100)).toEqual([0, 1]);
  for (const id of ["g", "h", "i", "j", "k", "l"]) for (const shard of [1, 2]) erase(shard, `${id}${shard}`);
  // Six rows and two entities, the four others, and what is left of the slice.
  expect(sweptShards(8)).toEqual([1, 1]);
  expect(sweptShards(8)).toEqual([1, 1, 1, 1]);
  expect(sweptShards(100)).toEqual([2, 2, 2, 2, 2, 2]);
  writer.close();
});

test("names are released in every shard but those where a reader is in the way", () => {
  const { writer, tail, dataDir } = freshWriter([0, 1, 2], 1 << 20);
  const entities = [0, 1, 2].map((shard) => tail.entity(shard, `entity-${shard}`));
  for (const entity of entities) tail.append([entity], ["1"]);
  writer.settle(tail.settleMessage());
  for (const entity of entities) tail.erase(entity);
  writer.settle(tail.settleMessage());
  sweepAll(writer, 2000, 1 << 20);
  const reader = new Database(join(shardDirectory(dataDir, 1), "names.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM names").get();
  const erased = entities.map(({ shard, number }) => ({ shard, numbers: [number] }));
  expect(writer.release(erased)).toEqual([0, 2]);
  reader.close();
  expect(writer.release(erased.slice(1, 2))).toEqual([1]);
  writer.close();
});
