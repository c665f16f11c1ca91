import { describe, expect, test } from "bun:test";
import { WarpError } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import type { AppendOutcome } from "../../target.ts";
import { ChunkAppender, type LeftOut } from "./appender.ts";
import type { Chunk } from "./chunks.ts";

/** A call that has reached the target and waits for the test to answer it. */
interface Call {
  readonly entity: string;
  readonly key: string;
  readonly data: readonly unknown[];
  readonly events: readonly NewEvent[];
  answer(outcome: AppendOutcome): void;
  fail(error: Error): void;
}

/** The far end of the interface, scripted: it does nothing until it is told to. */
class ScriptedTarget {
  readonly calls: Call[] = [];

  append(
    entity: string,
    events: readonly NewEvent[],
    options: { key?: string } = {},
  ): Promise<AppendOutcome> {
    return new Promise((resolve, reject) => {
      const data = events.map((event) => event.data);
      this.calls.push({ entity, key: options.key ?? "", data, events, answer: resolve, fail: reject });
    });
  }

  /** The calls since the last look, once everything that can run has run. */
  async newCalls(): Promise<Call[]> {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    return this.calls.splice(0);
  }
}

/** The chunk that begins on line `number` * 10. */
function chunk(number: number, groups: Record<string, readonly number[]>): Chunk {
  const events = Object.entries(groups).map(
    ([entity, data]) => [entity, data.map((n) => ({ type: "T", data: n }))] as const,
  );
  return { rows: 1, firstLine: number * 10, lastLine: number * 10 + 9, groups: new Map(events) };
}

const appended = (count: number, seq: number, duplicate = false): AppendOutcome => ({
  ok: true,
  count,
  seq,
  firstSeq: seq - count + 1,
  duplicate,
});

describe("the groups of chunks", () => {
  test("are sent at once, but those of one entity one after the other", async () => {
    const target = new ScriptedTarget();
    const appender = new ChunkAppender(target, "name");
    await appender.submit(chunk(1, { a: [1, 2], b: [3] }));
    await appender.submit(chunk(2, { a: [4], c: [5] }));
    const first = await target.newCalls();
    expect(first.map(({ entity, key, data }) => [entity, key, data])).toEqual([
      ["a", "import:name:1", [1, 2]],
      ["b", "import:name:1", [3]],
      ["c", "import:name:1", [5]],
    ]);
    first[0]?.answer(appended(2, 2));
    const second = await target.newCalls();
    expect(second.map(({ entity, key }) => [entity, key])).toEqual([["a", "import:name:2"]]);
    second[0]?.answer(appended(1, 3));
    first[1]?.answer(appended(1, 8));
    first[2]?.answer(appended(1, 1, true));
    await appender.finish();
    expect(appender.tally).toEqual({ events: 4, alreadyThere: 1, entitiesNew: 1 });
  });

  test("are under way for a few chunks only", async () => {
    const target = new ScriptedTarget();
    const appender = new ChunkAppender(target, "name");
    let submitted = 0;
    const all = (async () => {
      for (let number = 1; number <= 20; number++) {
        await appender.submit(chunk(number, { [`e${number}`]: [number] }));
        submitted++;
      }
    })();
    let sent = await target.newCalls();
    expect(sent).toHaveLength(8);
    for (let answered = 0; answered < 20; sent = await target.newCalls()) {
      expect(submitted).toBeLessThanOrEqual(answered + 8);
      answered += sent.length;
      for (const call of sent) call.answer(appended(1, 1));
    }
    await all;
    await appender.finish();
    expect(appender.tally.events).toBe(20);
  });

  test("are sent again when the target is overloaded", async () => {
    const target = new ScriptedTarget();
    const appender = new ChunkAppender(target, "name");
    await appender.submit(chunk(1, { a: [1] }));
    const [first] = await target.newCalls();
    first?.fail(new WarpError("OVERLOADED", "too much"));
    while (target.calls.length === 0) await Bun.sleep(1);
    const [again] = await target.newCalls();
    expect(again?.key).toBe("import:name:1");
    again?.answer(appended(1, 1));
    await appender.finish();
    expect(appender.tally.events).toBe(1);
  });

  test("are not sent any more after one has failed", async () => {
    const target = new ScriptedTarget();
    const appender = new ChunkAppender(target, "name");
    await appender.submit(chunk(1, { a: [1], b: [1] }));
    await appender.submit(chunk(2, { a: [2] }));
    const [a, b] = await target.newCalls();
    a?.fail(new WarpError("DISK_FULL", "no room"));
    b?.answer(appended(1, 1));
    expect(await target.newCalls()).toEqual([]);
    expect(appender.submit(chunk(3, { c: [3] }))).rejects.toThrow("no room");
    expect(appender.finish()).rejects.toThrow("no room");
    expect(await target.newCalls()).toEqual([]);
    expect(appender.tally.events).toBe(1);
  });

  test("that were imported before with other contents are told with their lines", async () => {
    const target = new ScriptedTarget();
    const appender = new ChunkAppender(target, "name");
    await appender.submit(chunk(3, { a: [1] }));
    const [call] = await target.newCalls();
    call?.fail(new WarpError("KEY_REUSED", "the key was used"));
    expect(appender.finish()).rejects.toThrow(
      '"name" was imported before with other contents or options (lines 30 to 39',
    );
    await target.newCalls();
  });

  test("of an erased entity are left out when there is somebody to tell, and else a failure", async () => {
    for (const told of [undefined, [] as LeftOut[]]) {
      const target = new ScriptedTarget();
      const appender = new ChunkAppender(target, "name", told && ((leftOut) => told.push(leftOut)));
      await appender.submit(chunk(1, { alice: [1, 2], bob: [3] }));
      await appender.submit(chunk(2, { bob: [4] }));
      const [alice, bob] = await target.newCalls();
      alice?.fail(new WarpError("ERASED", "she was erased", { erasedAt: 5 }));
      bob?.answer(appended(1, 1));
      const [next] = await target.newCalls();
      if (told === undefined) {
        expect(next).toBeUndefined();
        expect(appender.finish()).rejects.toThrow("she was erased");
        continue;
      }
      next?.answer(appended(1, 2));
      await appender.finish();
      expect(appender.tally.events).toBe(2);
      expect(told).toEqual([{ entity: "alice", subject: undefined, rows: 2, firstLine: 10, lastLine: 19 }]);
    }
  });

  test("are sent without what they say of a subject that was erased, under the same key", async () => {
    const target = new ScriptedTarget();
    const told: LeftOut[] = [];
    const appender = new ChunkAppender(target, "name", (leftOut) => told.push(leftOut));
    const of = (subject: string, data: number) => ({
      ...{ type: "T", data },
      personal: { subject, data: "Elm 1" },
    });
    const events = [of("alice", 1), of("bob", 2), of("carol", 3), { type: "T", data: 4 }];
    await appender.submit({ rows: 4, firstLine: 1, lastLine: 4, groups: new Map([["order", events]]) });
    for (const subject of ["alice", "carol"]) {
      const [call] = await target.newCalls();
      call?.fail(new WarpError("ERASED", "she was erased", { subject }));
    }
    const [last] = await target.newCalls();
    expect(last?.key).toBe("import:name:1");
    expect(last?.events).toEqual([
      { type: "T", data: 1 },
      of("bob", 2),
      { type: "T", data: 3 },
      { type: "T", data: 4 },
    ]);
    last?.answer(appended(4, 4));
    await appender.finish();
    expect(told.map(({ subject, rows }) => [subject, rows])).toEqual([
      ["alice", 1],
      ["carol", 1],
    ]);
  });
});
