import { Database } from "bun:sqlite";
import { afterAll, afterEach, describe, expect, spyOn, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { PeriodKeys } from "../core/period-keys.ts";
import { WarpError } from "../core/errors.ts";
import { bytesOf } from "../core/entry.ts";
import { readFeedPart } from "../core/feed.ts";
import { Names } from "./files/names.ts";
import type { EntriesPage } from "./messages.ts";
import { Reader } from "./read.ts";
import { SampleTail, sampleDirectory, sampleOptions } from "./sample.ts";
import { eventsOf, expectSettled, read, readPage } from "./sample-read.ts";
import { Writer } from "./writer.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** One entity whose runs have 1, 2, 3 … events. */
function settled(runs: number) {
  const directory = sampleDirectory();
  directories.push(directory);
  const options = sampleOptions(directory, { shards: [0] });
  const tail = new SampleTail(4 * 2 ** 20);
  const writer = new Writer(options, tail.memory);
  const entity = tail.entity(0, "alice");
  for (let run = 1; run <= runs; run++) {
    tail.append(
      [entity],
      Array.from({ length: run }, (_, i) => `"${run}.${i}"`),
    );
    writer.settle(tail.settleMessage());
  }
  return {
    options,
    tail,
    writer,
    entity,
    reader: new Reader(options),
    path: join(directory, "shards/000/runs.db"),
  };
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof WarpError ? error.code : String(error);
  }
  return "no error";
}

describe("a reader", () => {
  test("pages through every range of seqs in both directions, without a gap or a repetition", () => {
    const { entity, reader, writer } = settled(6);
    const last = entity.seq;
    for (let from = 0; from <= last + 1; from++) {
      for (let to = from - 1; to <= last + 2; to++) {
        for (const direction of ["forward", "backward"] as const) {
          for (const bytesMax of [1, 120, 1e6]) {
            const seqs: number[] = [];
            let bounds = { from, to };
            for (let page: EntriesPage; ; ) {
              page = readPage(reader, { number: 1, ...bounds, direction, bytesMax });
              const found = eventsOf(page, "alice").map(({ seq }) => seq);
              seqs[direction === "forward" ? "push" : "unshift"](...found);
              if (page.next === undefined) break;
              bounds = direction === "forward" ? { from: page.next, to } : { from, to: page.next };
            }
            // Whole runs: what is beyond the range is of the runs that overlap it.
            const wanted = entity.events.map((_, i) => i + 1).filter((seq) => seq >= from && seq <= to);
            expect(seqs).toEqual(seqs.toSorted((one, other) => one - other));
            expect(new Set(seqs).size).toBe(seqs.length);
            expect(seqs.filter((seq) => seq >= from && seq <= to)).toEqual(wanted);
            expect(seqs.length - wanted.length).toBeLessThan(12);
          }
        }
      }
    }
    reader.close();
    writer.close();
  });

  test("has nothing of an id, a number or a key that the shard does not know", () => {
    const { reader, writer } = settled(1);
    const aggregates = [{ name: "a", version: 1 }];
    expect(
      read<"load">(reader, { id: 1, op: "load", shard: 0, entity: "bob", aggregates }).found,
    ).toBeUndefined();
    const page = readPage(reader, { number: 99, from: 1, to: 9, direction: "forward", bytesMax: 1 });
    expect(page).toEqual({ bytes: new Uint8Array(0), firstSeq: 1, next: undefined });
    expect(read<"key">(reader, { id: 1, op: "key", shard: 0, number: 99, key: "k" }).found).toBeUndefined();
    reader.close();
    writer.close();
  });

  test("sees each settled round at once, and never holds a transaction open", () => {
    const { tail, entity, reader, writer } = settled(3);
    expectSettled(reader, entity);
    tail.append([entity], ['"new"']);
    writer.settle(tail.settleMessage());
    expectSettled(reader, entity);
    // A page that was cut short must not leave its statement running: TRUNCATE waits for readers, and gives up.
    readPage(reader, { number: 1, from: 1, to: 9, direction: "forward", bytesMax: 1 });
    readPage(reader, { number: 1, from: 1, to: 9, direction: "backward", bytesMax: 1 });
    writer.checkpointAll();
    expect(writer.checkpointedRound).toBe(tail.round);
    reader.close();
    writer.close();
  });

  test("lists names with their newest seq", () => {
    const { tail, reader, writer } = settled(2);
    const bob = tail.entity(0, "bob");
    tail.append([bob], []);
    writer.settle(tail.settleMessage());
    const { names } = read<"names">(reader, {
      id: 1,
      op: "names",
      shard: 0,
      prefix: "",
      after: undefined,
      limit: 10,
    });
    expect(names).toEqual([
      { entity: "alice", number: 1, seq: 3 },
      { entity: "bob", number: 2, seq: 0 },
    ]);
    expectSettled(reader, bob);
    reader.close();
    writer.close();
  });

  test("answers a missing run, a changed row and a wrong key with CORRUPT, and goes on", () => {
    const { options, reader, writer, path } = settled(4);
    writer.close();
    const page = (of: Reader) =>
      readPage(of, { number: 1, from: 1, to: 99, direction: "forward", bytesMax: 1e6 });
    const spoil = (sql: string) => {
      const database = new Database(path);
      database.run(sql);
      database.close();
    };
    expect(codeOf(() => page(reader))).toBe("no error");
    const periods = PeriodKeys.of([{ period: 1, key: new Uint8Array(32) }]).memory;
    const stranger = new Reader({ ...options, periods });
    expect(codeOf(() => page(stranger))).toBe("CORRUPT");
    stranger.close();
    spoil("UPDATE runs SET count = count + 1 WHERE seq = 7");
    expect(codeOf(() => page(reader))).toBe("CORRUPT");
    spoil("UPDATE runs SET count = count - 1 WHERE seq = 7");
    expect(codeOf(() => page(reader))).toBe("no error");
    spoil("DELETE FROM runs WHERE seq = 2");
    expect(codeOf(() => page(reader))).toBe("CORRUPT");
    expect(
      codeOf(() => readPage(reader, { number: 1, from: 1, to: 99, direction: "backward", bytesMax: 1e6 })),
    ).toBe("CORRUPT");
    expect(
      eventsOf(readPage(reader, { number: 1, from: 4, to: 6, direction: "forward", bytesMax: 1 }), "a")
        .length,
    ).toBe(3);
    spoil("DELETE FROM runs WHERE seq < 7");
    const backward = (from: number) =>
      readPage(reader, { number: 1, from, to: 99, direction: "backward", bytesMax: 1e6 });
    expect(codeOf(() => backward(7))).toBe("no error");
    expect(codeOf(() => backward(6))).toBe("CORRUPT");
    reader.close();
  });
});

describe("a page of the feed", () => {
  const spies: { mockRestore(): void }[] = [];
  afterEach(() => {
    for (const spy of spies.splice(0)) spy.mockRestore();
  });

  /** Calls `work` before each look at names.db. */
  function beforeNames(work: () => void): void {
    const original = Names.prototype.idOf;
    const spy = spyOn(Names.prototype, "idOf").mockImplementation(function (this: Names, number: number) {
      work();
      return original.call(this, number);
    });
    spies.push(spy);
  }

  function feedOf(reader: Reader, to: number): string[] {
    const { upTo, bytes } = read<"feed">(reader, {
      ...{ id: 1, op: "feed", shard: 0, after: 0, to, bytesMax: 1e6 },
    });
    expect(upTo).toBe(to);
    const page = bytesOf(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
    const ids: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const part = readFeedPart(page, at);
      ids.push(part.entity);
      at += part.length;
    }
    return ids;
  }

  test("leaves out who is erased and released while it is read, one after the other and together", () => {
    const { tail, writer, reader } = settled(1);
    const others = Array.from({ length: 6 }, (_, i) => tail.entity(0, `other-${i}`));
    for (const entity of others) tail.append([entity], ['"1"']);
    writer.settle(tail.settleMessage());
    const to = tail.positionOf(0);
    const due = [others.slice(0, 1), others.slice(1, 2), others.slice(2, 5)];
    let isErasing = false;
    beforeNames(() => {
      // The writer looks at names too.
      if (isErasing) return;
      isErasing = true;
      const erased = due.shift() ?? [];
      for (const entity of erased) tail.erase(entity);
      if (erased.length > 0) writer.settle(tail.settleMessage());
      while (writer.sweep(2000, 1e6).hasMore);
      const numbers = erased.map(({ number }) => number);
      if (numbers.length > 0) expect(writer.release([{ shard: 0, numbers }])).toEqual([0]);
      isErasing = false;
    });
    expect(feedOf(reader, to)).toEqual(["alice", "other-5"]);
    expect(due).toEqual([]);
    reader.close();
    writer.close();
  });

  test("is CORRUPT when somebody who is not erased has no name", () => {
    const { options, tail, writer, reader } = settled(1);
    writer.close();
    const names = new Database(join(options.dataDir, "shards/000/names.db"));
    names.run("DELETE FROM names");
    names.close();
    expect(codeOf(() => feedOf(reader, tail.positionOf(0)))).toBe("CORRUPT");
    reader.close();
  });
});
