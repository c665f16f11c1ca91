/**
 * How a backup cuts what it has into objects: none is much larger than a full one, and nothing is in two of them.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { DirectoryTarget } from "../../src/backup/target/directory-target.ts";
import { StopFlag } from "../../src/backup/work/stop-flag.ts";
import { mergeSmall } from "../../src/backup/writing/merge.ts";
import { SegmentDraft } from "../../src/backup/writing/segment-draft.ts";
import { type ChainedSegment, readChain, readHead } from "../../src/backup/reading/chain.ts";
import { encodeObject } from "../../src/backup/format/container.ts";
import { headObject } from "../../src/backup/format/objects.ts";
import { tables } from "../../src/backup/format/tables.ts";
import { defineAggregate, restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import { cleanUp, codeOf, openSmall, settled } from "../engine/sample.ts";
import {
  filesUnder,
  freshDirectory,
  modelOf,
  removeDirectories,
  restoredModel,
  rootKeyOf,
} from "./sample.ts";
import { backUpShard, WatchedTarget } from "./one-shard.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

const segmentBytes = 256 * 1024;

/** Keeps the newest text: a state that is larger than what an event adds to it. */
const noted = defineAggregate({
  name: "noted",
  version: 1,
  initialState: { text: "", notes: 0 },
  evolve: {
    Noted: (state, { data }) => ({ text: data.text ?? state.text, notes: state.notes + 1 }),
  },
  snapshotEvery: 3,
});

const settings = { shards: 1, aggregates: [noted] };

function segmentsOf(target: string): number[] {
  return filesUnder(target)
    .filter((object) => object.includes("/segments/"))
    .map((object) => statSync(join(target, object)).size);
}

/** What the rows of a shard take. */
function rowBytes(dataDir: string): number {
  const database = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  const sum = (table: string) =>
    database.query<{ n: number }, []>(`SELECT sum(length(data)) AS n FROM ${table}`).get()?.n ?? 0;
  const bytes = ["runs", "snapshots", "callerKeys"].reduce((total, table) => total + sum(table), 0);
  database.close();
  return bytes;
}

async function filled(dataDir: string, target: string): Promise<Warp> {
  const warp = await openSmall(dataDir, settings);
  await warp.backup(target);
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 60; i++) {
      const text = randomBytes(12 * 1024).toString("base64");
      const data = round === 0 ? { text } : { round, filler: text.slice(0, 1024) };
      await warp.entity(`customer-${i}`).append({ type: "Noted", data }, { key: `${round}` });
      // What is settled together stays together.
      if (i % 5 === 0) await settled(warp);
    }
  }
  // Little else than caller keys.
  for (let i = 0; i < 60; i++) {
    const events = Array.from({ length: 40 }, (_, k) =>
      warp.entity(`guest-${k}`).append({ type: "Noted", data: {} }, { key: `${i}` }),
    );
    await Promise.all(events);
  }
  await settled(warp);
  return warp;
}

test("states and caller keys are cut into segments like runs, and no state is in two of them", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await filled(dataDir, target);
  const model = await modelOf(warp);
  await warp.close();
  // One that is interrupted behind its first segment leaves nothing but what the next one removes.
  const stop = new StopFlag();
  const watched = new WatchedTarget(target, (call) => {
    if (call === "put") stop.set();
  });
  expect(await codeOf(backUpShard(dataDir, watched, segmentBytes, stop))).toBe("ABORTED");
  expect(segmentsOf(target).length).toBe(1);
  const { segments } = await backUpShard(dataDir, new DirectoryTarget(target), segmentBytes);
  expect(segments).toBeGreaterThan(2);
  const sizes = segmentsOf(target);
  expect(Math.max(...sizes)).toBeLessThan(1.5 * segmentBytes);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1.3 * rowBytes(dataDir));
  await verifyBackup({ target, rootKey });
  expect(await restoredModel(target, rootKey.file, {}, settings)).toEqual(model);
  const to = join(freshDirectory(), "restored");
  await restoreBackup({ target, to, rootKey });
  const snapshots = (of: string) => {
    const database = new Database(join(of, "shards/000/runs.db"), { readonly: true });
    const rows = database
      .query("SELECT number, aggregate, version, seq FROM snapshots ORDER BY 1, 2")
      .values();
    const keys = database.query("SELECT id, number, firstSeq FROM callerKeys ORDER BY 1").values();
    database.close();
    return { rows, keys };
  };
  expect(snapshots(to)).toEqual(snapshots(dataDir));
});

test("segments that end where they begin are merged like others", async () => {
  const target = new DirectoryTarget(freshDirectory());
  const draft = new SegmentDraft();
  const of = { shard: 0, incarnation: "i" };
  const point = {
    position: 7,
    nextNumber: 1,
    lastRecordedAt: 0,
    epoch: 1,
    lastCallerKey: 0,
    deliveriesAt: 0,
  };
  let chain: readonly ChainedSegment[] = [];
  for (let i = 0; i < 9; i++) {
    draft.add(tables.deliveries, [i, 0, 0, 0, new Uint8Array(8)]);
    const from = i === 0 ? 0 : point.position;
    chain = [...chain, await draft.write(target, { ...of, from, previous: chain.at(-1)?.header.id }, point)];
  }
  chain = await mergeSmall(target, chain, draft.bytesMax);
  const segment = chain.at(-1)?.header.id;
  const head = { kind: "head", ...of, ...point, segment, ledger: 0, periods: [1], at: 1 } as const;
  await target.replace(headObject(0), [encodeObject(head)]);
  const found = await readHead(target, 0);
  expect(found).toEqual(head);
  const { segments, leftOver } = await readChain(target, head);
  expect([segments.map(({ header }) => header.rows), leftOver]).toEqual([[1, 8], []]);
  expect(segments.map(({ object }) => object)).toEqual(chain.map(({ object }) => object));
});
