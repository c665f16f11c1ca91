/**
 * Backups in the middle of a verification or a restore of the same target, at the moments that matter.
 */
import { afterEach, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { decodeObject, encodeBlock, encodeEnd, encodeHeader } from "../../src/backup/format/container.ts";
import {
  type RootHeader,
  rootObject,
  type SegmentHeader,
  segmentObject,
} from "../../src/backup/format/objects.ts";
import { BlockDraft, tables } from "../../src/backup/format/tables.ts";
import { blocksOf } from "../../src/backup/reading/beside-backups.ts";
import type { ChainedSegment } from "../../src/backup/reading/chain.ts";
import { restoreShard } from "../../src/backup/reading/shard-restore.ts";
import { verifyShard } from "../../src/backup/reading/verify.ts";
import { type BackupTarget, openTarget } from "../../src/backup/target/target.ts";
import type { ShardRestored, ShardVerified } from "../../src/backup/work/messages.ts";
import { readRootKey } from "../../src/core/keyring.ts";
import type { Warp } from "../../src/index.ts";
import { cleanUp, codeOf, credited, openSmall } from "../engine/sample.ts";
import { filesUnder, freshDirectory, removeDirectories, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

type OnGet = (object: string) => Promise<void>;

/** Before each object is read as a whole, its name is told and waited for. */
function watched(path: string, onGet: OnGet): BackupTarget {
  const target = openTarget(path);
  return {
    name: target.name,
    put: (object, parts) => target.put(object, parts),
    replace: (object, parts) => target.replace(object, parts),
    size: (object) => target.size(object),
    list: (folder) => target.list(folder),
    delete: (object) => target.delete(object),
    get: async (object, bytesMax) => {
      if (bytesMax === undefined) await onGet(object);
      return await target.get(object, bytesMax);
    },
  };
}

interface Sample {
  readonly warp: Warp;
  readonly target: string;
  /** Backs up one more event of one of three entities, so many times. */
  readonly backUp: (times: number) => Promise<void>;
  readonly verify: (onGet: OnGet) => Promise<ShardVerified>;
  readonly restore: (onGet: OnGet) => Promise<ShardRestored>;
}

/** A shard with as many backups. */
async function sampleOf(backups: number): Promise<Sample> {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  let events = 0;
  const backUp = async (times: number) => {
    for (let i = 0; i < times; i++) {
      await warp.entity(`customer-${events++ % 3}`).append(credited(events));
      await warp.backup(target);
    }
  };
  await backUp(backups);
  const rootBytes = await openTarget(target).get(rootObject);
  const root = decodeObject<RootHeader>(rootBytes ?? Buffer.alloc(0), rootObject);
  const { context, incarnation, keyring } = root;
  const rootKey = readRootKey({ rootKey: rootKeyOf(dataDir), dataDir: "" });
  const task = { target, shard: 0, context, incarnation, rootKey };
  const ignore = () => undefined;
  return {
    ...{ warp, target, backUp },
    verify: (onGet) => verifyShard(watched(target, onGet), { ...task, type: "verify" }, ignore),
    restore: (onGet) => {
      const dataDir = join(freshDirectory(), "restored");
      const of = { dataDir, shards: 1, keyring, at: undefined, entity: undefined };
      return restoreShard(watched(target, onGet), { ...task, ...of, type: "restore" }, ignore);
    },
  };
}

const blank: SegmentHeader = {
  ...{
    kind: "segment",
    shard: 0,
    incarnation: "i",
    id: "",
    from: 0,
    previous: undefined,
    pieces: 1,
    bytes: 0,
  },
  ...{ rows: 0, position: 0, nextNumber: 1, lastRecordedAt: 0, epoch: 1, lastCallerKey: 0, deliveriesAt: 0 },
};
const isSegment = (object: string) => object.includes("/segments/");
const nothing = async () => undefined;

/** Does something before the segment in this place is read, once. */
function beforeSegment(place: number, work: () => Promise<void>): OnGet {
  let seen = 0;
  return async (object) => {
    if (isSegment(object) && seen++ === place) await work();
  };
}

test("segments that are merged while they are read are read on in what they were merged into", async () => {
  // All of eight; some with newer ones; more than eight times eight, with newer ones.
  for (const [backups, more, place] of [
    [7, 1, 0],
    [5, 3, 3],
    [60, 9, 2],
  ] as const) {
    const { backUp, verify, restore } = await sampleOf(backups);
    const verified = await verify(nothing);
    expect(await verify(beforeSegment(place, () => backUp(more)))).toEqual(verified);
    const restored = await restore(nothing);
    expect(await restore(beforeSegment(place, () => backUp(8)))).toEqual(restored);
  }
});

test("a segment that keeps its name when it is merged has its own rows, and no others", async () => {
  const target = openTarget(join(freshDirectory(), "target"));
  const segments: ChainedSegment[] = [];
  const put = async (of: Partial<SegmentHeader>, numbers: readonly number[]) => {
    const header = { ...blank, ...of, rows: numbers.length };
    const blocks = numbers.flatMap((number) => {
      const draft = new BlockDraft(tables.holds);
      draft.add([number, Buffer.from("x")]);
      return encodeBlock(draft.take());
    });
    const object = segmentObject(0, { from: 0, to: 0, id: header.id });
    await target.replace(object, [encodeHeader(header), ...blocks, encodeEnd(numbers.length)]);
    return { object, header };
  };
  segments.push(await put({ id: "a" }, [1, 2]), await put({ id: "b", previous: "a" }, [3]));
  const read = async () => {
    const numbers: number[] = [];
    for (const at of [0, 1]) {
      for await (const { block } of blocksOf(target, segments, at)) numbers.push(block.numbers[0]?.[0] ?? 0);
    }
    return numbers;
  };
  expect(await read()).toEqual([1, 2, 3]);
  await put({ id: "b", pieces: 2 }, [1, 2, 3]);
  await target.delete(segmentObject(0, { from: 0, to: 0, id: "a" }));
  expect(await read()).toEqual([1, 2, 3]);
});

test("an erasure between the ledger and the keys begins the shard again", async () => {
  const { warp, target, verify, restore } = await sampleOf(3);
  const erasing = (id: string): OnGet => {
    let isErased = false;
    return async (object) => {
      if (isErased || !object.includes("/keys/")) return;
      isErased = true;
      expect(await warp.entity(id).delete()).toMatchObject({ status: "erased" });
      await warp.backup(target);
    };
  };
  expect(await verify(erasing("customer-0"))).toMatchObject({ entities: 2, erased: 1 });
  expect(await restore(erasing("customer-1"))).toMatchObject({ entities: 1, erased: 2 });
});

test("damage is told as damage, however many backups are made meanwhile", async () => {
  const { target, backUp, verify, restore } = await sampleOf(3);
  const [object = ""] = filesUnder(target).filter(isSegment);
  appendFileSync(join(target, object), "x");
  for (const read of [verify, restore]) {
    const reading = read((name) => (name === object ? backUp(1) : nothing()));
    const failure = await reading.then(String, (thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: "CORRUPT", details: { object } });
  }
});

test("a shard that a backup changes each time it is read is ABORTED, to be read again later", async () => {
  const { warp, target, verify } = await sampleOf(1);
  let erased = 0;
  const reading = verify(async (object) => {
    if (!object.includes("/keys/")) return;
    const id = `guest-${erased++}`;
    await warp.entity(id).append(credited(1));
    expect(await warp.entity(id).delete()).toMatchObject({ status: "erased" });
    await warp.backup(target);
  });
  expect(await codeOf(reading)).toBe("ABORTED");
  expect(erased).toBe(8);
});
