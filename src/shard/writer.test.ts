import { Database } from "bun:sqlite";
import { afterAll, describe, expect, spyOn, test } from "bun:test";
import { existsSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { DeliveryWindows } from "../core/delivery-windows.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { partOffset, recordHeaderBytes, recordKind, recordOffset } from "../core/record.ts";
import { Filter } from "./files/filter.ts";
import { Names } from "./files/names.ts";
import { Gather, type ShardBatch } from "./gather.ts";
import type { EntriesPage, ShardOpened, ShardWorkerOptions } from "./messages.ts";
import { Reader } from "./read.ts";
import {
  appendRandomly,
  SampleTail,
  sampleData,
  sampleDirectory,
  sampleOptions,
  sampleSeed,
  seededRandom,
} from "./sample.ts";
import { eventsOf, expectSettled, read, readPage } from "./sample-read.ts";
import { settleKeys, settleNames, settleRuns } from "./settle.ts";
import { Shard } from "./shard.ts";
import { Writer } from "./writer.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function freshOptions(change: Partial<ShardWorkerOptions> = {}): ShardWorkerOptions {
  const directory = sampleDirectory();
  directories.push(directory);
  return sampleOptions(directory, change);
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof WarpError ? error.code : String(error);
  }
  return "no error";
}

/** A filter of what was opened never denies what is there. */
function expectInFilters(opened: readonly ShardOpened[], tail: SampleTail): void {
  for (const { shard, ids, keys } of opened) {
    const [idFilter, keyFilter] = [new Filter(ids), new Filter(keys)];
    for (const entity of tail.entities.filter((candidate) => candidate.shard === shard)) {
      expect(idFilter.mayHave(entity.id)).toBe(true);
      for (const { key } of entity.callerKeys) expect(keyFilter.mayHave(key, entity.number)).toBe(true);
    }
  }
}

describe("a writer", () => {
  test("settles what a reader then gives back, round by round, like a plain model", () => {
    const random = seededRandom(sampleSeed());
    const options = freshOptions();
    const tail = new SampleTail(8 * 2 ** 20);
    const writer = new Writer(options, tail.memory);
    const reader = new Reader(options);
    for (let round = 1; round <= 12; round++) {
      appendRandomly(tail, random, Math.floor(random() * 60));
      writer.settle(tail.settleMessage());
      for (const entity of tail.entities) expectSettled(reader, entity);
      if (round % 5 === 0) writer.checkpointAll();
    }
    const opened = writer.describe();
    expectInFilters(opened, tail);
    for (const { shard, settledPosition } of opened) expect(settledPosition).toBe(tail.positionOf(shard));
    writer.close();
    const again = new Writer({ ...options, create: false }, tail.memory);
    const positions = (all: readonly ShardOpened[]) =>
      all.map(({ settledPosition, nextNumber, lastRecordedAt }) => [
        settledPosition,
        nextNumber,
        lastRecordedAt,
      ]);
    expect(positions(again.describe())).toEqual(positions(opened));
    expectInFilters(again.describe(), tail);
    again.close();
    for (const entity of tail.entities) expectSettled(reader, entity);
    reader.close();
  });

  test("has names on the disk before their runs while they are ahead of the journal", () => {
    const random = seededRandom(78);
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(8 * 2 ** 20);
    const directory = join(options.dataDir, "shards/000");
    const round = (): string[] => {
      const run = spyOn(Database.prototype, "run");
      const writer = new Writer(options, tail.memory);
      const opened = run.mock.calls.length;
      const entity = tail.entity(0, `entity ${tail.entities.length}`);
      tail.append([entity], [sampleData(random)]);
      writer.settle(tail.settleMessage());
      const said = run.mock.calls.slice(opened).map(([sql]) => sql);
      run.mockRestore();
      writer.close();
      return said.filter((sql) => sql.startsWith("PRAGMA synchronous"));
    };
    expect(round()).toEqual([]);
    // As after a power failure that took a journal without syncs.
    const names = Names.open({ directory, shard: 0, access: "write", durability: "os", cacheBytes: 1e6 });
    names.settle(names.namedPosition + 100, 0, () => {});
    names.close();
    expect(round()).toEqual(["PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"]);
    expect(round()).toEqual(["PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"]);
  });

  test("changes nothing when it settles the same records again, and takes up where it stopped", () => {
    const random = seededRandom(77);
    const options = freshOptions();
    const tail = new SampleTail(8 * 2 ** 20);
    const first = new Writer(options, tail.memory);
    appendRandomly(tail, random, 80);
    first.settle(tail.settleMessage());
    appendRandomly(tail, random, 40);
    first.abandon();
    const second = new Writer(options, tail.memory);
    second.settle(tail.replayMessage());
    expect(second.settle(tail.replayMessage())).toEqual({ runs: 0, bytes: 0 });
    expectInFilters(second.describe(), tail);
    const reader = new Reader(options);
    for (const entity of tail.entities) expectSettled(reader, entity);
    reader.close();
    second.close();
  });

  test("stopped between any two steps settles the rest after the next start", () => {
    const steps = [
      (shard: Shard, batch: ShardBatch) => settleKeys(shard, batch),
      (shard: Shard, batch: ShardBatch, gather: Gather) => settleNames(shard, batch, gather),
      (shard: Shard, batch: ShardBatch, gather: Gather) =>
        settleRuns(shard, batch, gather, { snapshots: [], deliveries: [] }, new Map()),
    ];
    for (let done = 0; done <= steps.length; done++) {
      const random = seededRandom(done + 1);
      const options = freshOptions();
      const tail = new SampleTail(4 * 2 ** 20);
      const before = new Writer(options, tail.memory);
      appendRandomly(tail, random, 40);
      before.settle(tail.settleMessage());
      before.abandon();
      appendRandomly(tail, random, 60);
      const gather = new Gather(options.shards);
      const shards = options.shards.map((shard) => Shard.open(shard, options));
      const batches = gather.take(new Uint8Array(tail.memory), tail.settleMessage().ranges, (shard) => {
        const { runs, names } = shards[shard] as Shard;
        return { settled: runs.meta.position, named: names.namedPosition, nextNumber: names.nextNumber };
      });
      for (const batch of batches) {
        for (const step of steps.slice(0, done)) step(shards[batch.shard] as Shard, batch, gather);
      }
      for (const shard of shards) shard.close();

      const after = new Writer({ ...options, create: false }, tail.memory);
      after.settle(tail.replayMessage());
      const reader = new Reader(options);
      for (const entity of tail.entities) expectSettled(reader, entity);
      expectInFilters(after.describe(), tail);
      reader.close();
      after.close();
    }
  });

  test("a round without new entities moves the position of names too, so that a start settles nothing twice", () => {
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    const alice = tail.entity(0, "alice");
    for (let round = 1; round <= 3; round++) {
      tail.append([alice], [`{"round":${round}}`]);
      writer.settle(tail.settleMessage());
      expect(writer.describe()[0]).toMatchObject({ settledPosition: round, namedPosition: round });
    }
    writer.close();
  });

  test("names again what a power failure took from names.db, under the keys that are there", () => {
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(2 ** 20);
    const first = new Writer(options, tail.memory);
    first.settle({ ...tail.settleMessage() });
    first.close();
    const directory = join(options.dataDir, "shards", "000");
    const namesBefore = Bun.spawnSync(["cp", join(directory, "names.db"), join(directory, "names.old")]);
    expect(namesBefore.exitCode).toBe(0);
    const second = new Writer(options, tail.memory);
    tail.append([tail.entity(0, "alice")], ['{"a":1}'], true);
    tail.append([tail.entity(0, "bob")], ['{"b":1}']);
    second.settle(tail.settleMessage());
    second.close();
    Bun.spawnSync(["mv", join(directory, "names.old"), join(directory, "names.db")]);
    unlinkSync(join(directory, "ids.filter"));

    const third = new Writer({ ...options, create: false }, tail.memory);
    expect(third.describe()[0]).toMatchObject({ settledPosition: 2, namedPosition: 0, nextNumber: 3 });
    third.settle(tail.replayMessage());
    const reader = new Reader(options);
    for (const entity of tail.entities) expectSettled(reader, entity);
    expectInFilters(third.describe(), tail);
    reader.close();
    third.close();
  });

  test("cuts runs at their limit, and keeps an entry that is larger whole", () => {
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(16 * 2 ** 20);
    const writer = new Writer(options, tail.memory);
    const entity = tail.entity(0, "large");
    const random = seededRandom(5);
    const big = (bytes: number) =>
      `"${Array.from({ length: bytes / 8 }, () => random().toString(36).slice(2, 10).padEnd(8, "x")).join("")}"`;
    for (let i = 0; i < 6; i++) tail.append([entity], [big(100_000)]);
    tail.append([entity], [big(900_000)]);
    tail.append([entity], [big(8)]);
    const { runs } = writer.settle(tail.settleMessage());
    // Two of 100,000 fit in 256 KiB, so three runs of them, the large one, and the one behind it.
    expect(runs).toBe(5);
    expect(limits.runBytesMax).toBe(256 * 1024);
    const reader = new Reader(options);
    const seen: string[] = [];
    let page: EntriesPage | undefined;
    do {
      const from: number = page?.next ?? 1;
      page = readPage(reader, { number: 1, from, to: 99, direction: "forward", bytesMax: 1 });
      seen.push(...eventsOf(page, "large").map(({ data }) => data));
    } while (page.next !== undefined);
    expect(seen).toEqual(entity.events);
    reader.close();
    writer.close();
  });

  test("keeps the newest snapshot of each aggregate, and gives the events after the oldest", () => {
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    const entity = tail.entity(0, "alice");
    const snapshot = (aggregate: string, version: number, seq: number) => ({
      shard: 0,
      number: 1,
      aggregate,
      version,
      seq,
      state: Buffer.from(`${aggregate} ${version} at ${seq}`),
    });
    for (let i = 0; i < 4; i++) tail.append([entity], [`{"i":${i}}`]);
    writer.settle(tail.settleMessage([snapshot("account", 1, 2), snapshot("profile", 1, 4)]));
    for (let i = 4; i < 8; i++) tail.append([entity], [`{"i":${i}}`]);
    writer.settle(tail.settleMessage([snapshot("account", 1, 6), snapshot("account", 1, 5)]));
    writer.settle(tail.settleMessage([snapshot("profile", 2, 7)]));
    const reader = new Reader(options);
    const load = (...aggregates: { name: string; version: number }[]) => {
      const { found } = read(reader, { id: 1, op: "load", shard: 0, entity: "alice", aggregates });
      return {
        snapshots: found?.snapshots.map(({ state }) => Buffer.from(state).toString()),
        seqs: found === undefined ? [] : eventsOf(found.entries, "alice").map(({ seq }) => seq),
      };
    };
    const account = { name: "account", version: 1 };
    expect(load(account)).toEqual({ snapshots: ["account 1 at 6"], seqs: [5, 6, 7, 8] });
    expect(load(account, { name: "profile", version: 2 }).snapshots).toEqual([
      "account 1 at 6",
      "profile 2 at 7",
    ]);
    expect(load({ name: "profile", version: 1 })).toEqual({ snapshots: [], seqs: [1, 2, 3, 4, 5, 6, 7, 8] });
    expect(load(account, { name: "other", version: 1 }).seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(load()).toEqual({ snapshots: [], seqs: [] });
    reader.close();
    writer.close();
  });

  test("stores delivery windows, replaces them, and forgets sessions that have ended", () => {
    const options = freshOptions({ shards: [0, 1] });
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    const began = 1_700_000_000_000;
    const window = (shard: number, sessionNumber: number, usedAt: number, ...numbers: number[]) => ({
      shard,
      sessionStart: sessionNumber > 2 ** 52 ? began - limits.deliveryTtlMs : began,
      sessionNumber,
      usedAt,
      results: new Uint8Array(Float64Array.from(numbers).buffer),
    });
    const changed = (one: ReturnType<typeof window>): DeliveryWindows => {
      const stored = new Float64Array(one.results.buffer);
      const numbers = Float64Array.of(one.sessionStart, one.sessionNumber, stored.length, ...stored);
      return { shard: one.shard, usedAt: one.usedAt, numbers };
    };
    tail.append([tail.entity(0, "a")], ['{"a":1}']);
    const ended = window(0, 2 ** 52 + 1, began - 1, 0, 1, 1, 1, 1);
    const first = window(0, 1, began, 0, 1, 1, 1, 1);
    const second = window(0, 1, began + 1, 0, 1, 1, 1, 1, 2, 2, 1, 2);
    const other = window(1, 1, 1, 0);
    writer.settle({ ...tail.settleMessage(), deliveries: [changed(ended), changed(first), changed(other)] });
    writer.settle({ ...tail.settleMessage(), deliveries: [changed(second)] });
    writer.close();
    const again = new Writer(options, tail.memory);
    expect(again.describe().map(({ deliveries }) => deliveries)).toEqual([[second], [other]]);
    again.close();
  });

  test("keeps delivery windows until what is durable is so much newer, not what is under way", () => {
    const options = freshOptions({ shards: [0] });
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    const began = 1_700_000_000_000;
    const settle = (sessionNumber: number, usedAt: number) => {
      tail.append([tail.entity(0, `of ${sessionNumber}`)], ['{"a":1}']);
      const numbers = Float64Array.of(began, sessionNumber, 5, 0, 1, 1, 1, 1);
      writer.settle({ ...tail.settleMessage(), deliveries: [{ shard: 0, usedAt, numbers }] });
    };
    settle(1, began);
    // A record of a clock that is days ahead is being written, and will not be there after a crash.
    settle(2, began + 3 * limits.deliveryTtlMs);
    writer.close();
    const again = new Writer(options, tail.memory);
    expect(again.describe()[0]?.deliveries.map(({ sessionNumber }) => sessionNumber)).toEqual([1, 2]);
    again.close();
  });

  test("hands over the delivery windows that were used last, as far as they fit, and says when the others began", () => {
    const options = freshOptions({ shards: [0], deliveryBytes: 100 });
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    const began = 1_700_000_000_000;
    tail.append([tail.entity(0, "a")], ['{"a":1}']);
    for (let number = 1; number <= 4; number++) {
      const numbers = Float64Array.of(began - number, number, 5, 0, 1, 1, 1, 1);
      writer.settle({ ...tail.settleMessage(), deliveries: [{ shard: 0, usedAt: began + number, numbers }] });
    }
    const [opened] = writer.describe();
    expect(opened?.deliveries.map(({ sessionNumber }) => sessionNumber)).toEqual([3, 4]);
    expect(opened?.deliveriesAbsentTo).toBe(began - 1);
    writer.close();
  });

  test("says which round is wholly in main files, and only that", () => {
    const options = freshOptions();
    const tail = new SampleTail(2 ** 20);
    const writer = new Writer(options, tail.memory);
    expect(writer.checkpointedRound).toBe(0);
    tail.append([tail.entity(0, "a")], ["1"]);
    writer.settle(tail.settleMessage());
    expect(writer.checkpointedRound).toBe(0);
    tail.append([tail.entity(1, "b")], ["1"]);
    writer.settle(tail.settleMessage());
    writer.checkpointAll();
    expect(writer.checkpointedRound).toBe(2);
    writer.settle(tail.settleMessage());
    expect(writer.checkpointedRound).toBe(3);
    writer.close();
  });

  test("refuses gaps, foreign shards, unknown kinds and damaged lengths as CORRUPT, and stores nothing of them", () => {
    const last = recordOffset;
    const edits: ((view: DataView, at: number) => void)[] = [
      (view, at) => view.setFloat64(at + last.position, 5, true),
      (view, at) => view.setFloat64(at + last.position, 3, true),
      (view, at) => view.setFloat64(at + last.position, Number.NaN, true),
      (view) => view.setFloat64(last.position, 2, true),
      (view, at) => view.setUint16(at + last.shard, 9, true),
      (view, at) => view.setUint8(at + last.kind, recordKind.erase),
      (view, at) => view.setUint8(at + last.kind, 200),
      (view, at) => view.setUint32(at + last.length, 0, true),
      (view, at) => view.setUint32(at + last.length, 2 ** 31, true),
      (view, at) => view.setUint32(at + last.length, view.getUint32(at, true) - 1, true),
      (view, at) => view.setUint32(at + last.parts, 2, true),
      (view, at) => view.setUint32(at + recordHeaderBytes + partOffset.length, 40, true),
      (view, at) => view.setUint32(at + recordHeaderBytes + partOffset.entry, 2 ** 30, true),
      (view, at) => view.setFloat64(at + recordHeaderBytes + partOffset.firstSeq, 3, true),
      (view, at) => view.setFloat64(at + recordHeaderBytes + partOffset.firstSeq, 5, true),
    ];
    for (const edit of edits) {
      const options = freshOptions({ shards: [0] });
      const tail = new SampleTail(2 ** 20);
      const writer = new Writer(options, tail.memory);
      const entity = tail.entity(0, "a");
      for (let i = 0; i < 3; i++) tail.append([entity], ["1"]);
      const at = tail.bytes;
      tail.append([entity], ["1"]);
      edit(new DataView(tail.memory), at);
      expect(`${edit}: ${codeOf(() => writer.settle(tail.settleMessage()))}`).toBe(`${edit}: CORRUPT`);
      expect(writer.describe()[0]).toMatchObject({ settledPosition: 0, namedPosition: 0, nextNumber: 1 });
      writer.abandon();
    }
  });

  test("refuses a seq that does not follow the rounds before", () => {
    for (const wrongSeq of [3, 5]) {
      const options = freshOptions({ shards: [0] });
      const tail = new SampleTail(2 ** 20);
      const writer = new Writer(options, tail.memory);
      const entity = tail.entity(0, "a");
      for (let i = 0; i < 3; i++) tail.append([entity], ["1"]);
      writer.settle(tail.settleMessage());
      const at = tail.bytes;
      tail.append([entity], ["1"]);
      new DataView(tail.memory).setFloat64(at + recordHeaderBytes + partOffset.firstSeq, wrongSeq, true);
      expect(codeOf(() => writer.settle(tail.settleMessage()))).toBe("CORRUPT");
      writer.abandon();
    }
  });
});

describe("the files of a shard", () => {
  test("are made with the data directory only; a missing one later is CORRUPT and not made anew", () => {
    for (const name of ["vault", "names.db", "runs.db"]) {
      const options = freshOptions({ shards: [0] });
      const path = join(options.dataDir, "shards", "000", name);
      const tail = new SampleTail(2 ** 20);
      expect(codeOf(() => new Writer({ ...options, create: false }, tail.memory))).toBe("CORRUPT");
      const writer = new Writer(options, tail.memory);
      tail.append([tail.entity(0, "a")], ["1"]);
      writer.settle(tail.settleMessage());
      writer.close();
      unlinkSync(path);
      for (const create of [true, false]) {
        expect(codeOf(() => new Writer({ ...options, create }, tail.memory))).toBe("CORRUPT");
        expect(existsSync(path)).toBe(false);
      }
    }
  });

  test("of another shard or context do not open", () => {
    const options = freshOptions({ shards: [0] });
    new Writer(options, new SharedArrayBuffer(16)).close();
    const context = { ...options, context: "other" };
    expect(codeOf(() => new Writer(context, new SharedArrayBuffer(16)))).toBe("CONFIG_MISMATCH");
    Bun.spawnSync(["mv", join(options.dataDir, "shards/000"), join(options.dataDir, "shards/004")]);
    const shard = { ...options, shards: [4] };
    expect(codeOf(() => new Writer(shard, new SharedArrayBuffer(16)))).toBe("CONFIG_MISMATCH");
  });
});
