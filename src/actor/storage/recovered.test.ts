import { describe, expect, test } from "bun:test";
import { entryOfPart, writePart } from "../../core/append-record.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../../core/entry.ts";
import { partHeaderBytes } from "../../core/record.ts";
import { Tail } from "../../journal/tail.ts";
import { Filter } from "../../shard/files/filter.ts";
import { Recovered, type Unsettled } from "./recovered.ts";
import { ShardState } from "./shard-state.ts";

const added = { name: "Added", utf8: Buffer.from("Added"), version: 1 };

/** One shard that is settled up to position 10, and a tail with what the journal holds behind it. */
class Sample {
  readonly tail = new Tail(64 * 1024);
  readonly recovered = new Recovered([this.tail]);
  readonly settling = Promise.withResolvers<void>();
  readonly shard = new ShardState({
    ...{ index: 0, writer: 0, epoch: 1, settledPosition: 10, nextNumber: 100, lastRecordedAt: 0 },
    ...{ ids: Filter.forElements(10), keys: Filter.forElements(10), idHashKey: new Uint8Array(32) },
    ...{ erasedPosition: 0, erasedIds: new Float64Array(0), erasedAt: new Float64Array(0) },
  });

  constructor() {
    this.recovered.settleBehind(this.settling.promise);
  }

  /** An append of these values to an entity; with `id` it makes it. */
  take(number: number, firstSeq: number, values: readonly number[], id?: string): void {
    const entry = {
      ...{ count: values.length, types: [added], typeIndexes: undefined, occurred: undefined },
      ...{ data: JSON.stringify(values), isMsgpack: false },
    };
    const part = { number, firstSeq, id, key: undefined, delivery: undefined, outcome: undefined, entry };
    const at = this.tail.reserve(1000, 1, () => {});
    const end = writePart(this.tail.bytes, at, part, 1000, this.shard.nextPosition);
    this.tail.commit(end);
    this.shard.committedPosition = this.shard.nextPosition++;
    const idAt = id === undefined ? undefined : at + partHeaderBytes;
    this.recovered.note(this.shard, number, firstSeq, entryOfPart(this.tail.bytes, at), idAt);
  }

  behind(number: number, seq: number): Unsettled | "changed" | undefined {
    return this.recovered.behind(this.shard, number, seq);
  }
}

/** Seq and data of every event of the pages. */
function eventsOf(found: Unsettled | "changed" | undefined): unknown[] {
  if (found === undefined || found === "changed") return [found];
  return found.pages.flatMap(({ firstSeq, bytes: { buffer, byteOffset, length } }) => {
    const bytes = bytesOf(buffer, byteOffset, length);
    const events: unknown[] = [];
    let seq = firstSeq;
    for (let at = 0; at < length; at += entryLength(bytes, at)) {
      for (const event of readEntry(bytes, at, "e", seq)) events.push([event.seq, event.data]);
      seq += entryCount(bytes, at);
    }
    return events;
  });
}

describe("what the journal held", () => {
  test("completes what a shard's file has of an entity, and says where it lies", () => {
    const sample = new Sample();
    sample.take(7, 4, [1, 2]);
    sample.take(8, 1, [9], "new");
    sample.take(7, 6, [3]);
    const found = sample.behind(7, 3);
    expect(eventsOf(found)).toEqual([
      [4, 1],
      [5, 2],
      [6, 3],
    ]);
    expect(found).toMatchObject({ number: 7, seq: 6, tipPosition: 13 });
    expect(
      sample.tail.index.chain(found === undefined || found === "changed" ? 0 : found.tailRow, 10),
    ).toHaveLength(2);
    expect(sample.recovered.numberOf(sample.shard, "new")).toBe(8);
    expect(sample.recovered.numberOf(sample.shard, "other")).toBeUndefined();
    expect(eventsOf(sample.behind(8, 0))).toEqual([[1, 9]]);
    expect(sample.behind(9, 5)).toBeUndefined();
  });

  test("is not joined to a file that a round was settled into meanwhile, before or behind the reading", () => {
    const sample = new Sample();
    sample.take(7, 4, [1]);
    sample.take(7, 5, [2]);
    // The reader has seen a round that the main thread has not heard of.
    expect(eventsOf(sample.behind(7, 4))).toEqual([
      [4, 1],
      [5, 2],
    ]);
    // The main thread has heard of a round that the reader had not seen.
    sample.shard.settledPosition = 11;
    expect(sample.behind(7, 3)).toBe("changed");
    expect(eventsOf(sample.behind(7, 4))).toEqual([[5, 2]]);
    sample.shard.settledPosition = 12;
    expect(sample.behind(7, 4)).toBe("changed");
    expect(sample.behind(7, 5)).toBeUndefined();
  });

  test("is forgotten when it is settled, and fails who waits for it when the engine fails", async () => {
    const sample = new Sample();
    sample.take(7, 1, [1], "new");
    expect(sample.recovered.isSettled).toBe(false);
    sample.settling.resolve();
    await sample.recovered.whenSettled();
    expect(sample.recovered.isSettled).toBe(true);
    expect(sample.recovered.numberOf(sample.shard, "new")).toBeUndefined();
    const failing = new Sample();
    failing.settling.reject(new Error("the disk is full"));
    expect(failing.recovered.whenSettled()).rejects.toThrow("the disk is full");
    expect(failing.recovered.isSettled).toBe(false);
  });
});
