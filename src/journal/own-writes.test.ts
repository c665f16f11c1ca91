import { afterAll, afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { limits } from "../core/limits.ts";
import { BlockWriter } from "./block-writer.ts";
import { OwnWrites, smallTurn, smallTurnBytes } from "./own-writes.ts";
import { Sample } from "./sample.ts";

const base = mkdtempSync(join(tmpdir(), "warp-own-writes-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

/** Of this thread: a Worker has modules of its own. */
const writes = spyOn(BlockWriter.prototype, "write");
afterEach(() => writes.mockClear());

const nextPass = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A journal of which this thread has just written a turn itself, and what it took. */
async function withOwnWrite(): Promise<{ sample: Sample; texts: string[] }> {
  const sample = new Sample(join(base, String(++count)));
  const texts: string[] = [];
  // The Worker may still be on its way to sleep, or the disk slow for a moment.
  while (writes.mock.calls.length === 0) {
    const text = `<${texts.length}>`;
    texts.push(text);
    sample.take(text);
    await sample.journal.whenIdle();
    await nextPass();
  }
  return { sample, texts };
}

describe("turns that the main thread writes", () => {
  test("are small ones; they are durable, in order, and come back with those of the Worker", async () => {
    const { sample, texts } = await withOwnWrite();
    // A segment has room for 15 of these: many of them have to be begun meanwhile, by the Worker.
    for (let turn = 0; turn < 300 || writes.mock.calls.length < 20; turn++) {
      for (let i = turn % 10 === 9 ? smallTurn : 1; i > 0; i--) {
        const text = `<${texts.length}>`;
        texts.push(text);
        sample.take(text, texts.length % 2);
      }
      const written = writes.mock.calls.length;
      await sample.journal.whenIdle();
      if (turn % 10 === 9) expect(writes.mock.calls.length).toBe(written);
    }
    expect(sample.durable).toEqual(texts);
    const ids = sample.turns.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    expect(sample.turns.at(-1)?.use).toBeGreaterThan(3);
    sample.retires = false;
    const last = Array.from({ length: 20 }, (_, i) => `[${i}]`);
    for (const text of last) {
      sample.take(text);
      await sample.journal.whenIdle();
    }
    await sample.journal.close();
    expect(sample.failures).toEqual([]);
    expect(sample.replayed()).toEndWith(last.join(""));
  });

  test("are followed by the Worker's marker when nothing comes any more", async () => {
    const { sample } = await withOwnWrite();
    const start = performance.now();
    while (sample.blocks().at(-1) !== 0) await nextPass();
    expect(performance.now() - start).toBeLessThan(100 * limits.idleMarkerMs);
    const last = sample.lastSequence;
    await sample.journal.close();
    expect(sample.blocks(last)).toEqual([0]);
  });

  test("fail the journal when the disk does: unknown, not retried, and nothing is written behind them", async () => {
    const { sample, texts } = await withOwnWrite();
    writes.mockImplementation(() => {
      throw Object.assign(new Error("input/output error"), { code: "EIO" });
    });
    while (sample.failures.length === 0) {
      sample.take("lost");
      await sample.journal.whenIdle();
      await nextPass();
    }
    writes.mockRestore();
    const blocks = sample.blocks();
    // Longer than it takes until an idle journal says so on disk.
    await Bun.sleep(3 * limits.idleMarkerMs);
    sample.take("late");
    await sample.journal.whenIdle();
    await sample.journal.close();
    expect(sample.failures.map(({ code }) => code)).toEqual(["IO_ERROR"]);
    expect(sample.journal.unacknowledged()).toContain("lost");
    expect(sample.durable).not.toContain("late");
    expect(sample.durable.slice(0, texts.length)).toEqual(texts);
    expect(sample.blocks()).toEqual(blocks);
  });
});

describe("the main thread writes", () => {
  /** The clock, and the thread's processor time, which stand still but for what a test says. */
  let nowMs = 1000;
  let usedMs = 0;
  let held: { mockRestore(): void }[] = [];
  beforeEach(() => {
    held = [
      spyOn(performance, "now").mockImplementation(() => nowMs),
      spyOn(process, "threadCpuUsage").mockImplementation(() => ({ user: usedMs * 1000, system: 0 })),
    ];
  });
  afterEach(() => {
    for (const one of held) one.mockRestore();
  });

  /** As when turns were written, in passes of their own, that took so long each. */
  async function afterTurns(turns: number, ms: number, busyMs = 0): Promise<OwnWrites> {
    const writing = new OwnWrites();
    for (let i = 0; i < turns; i++) {
      writing.note(ms);
      nowMs += ms + busyMs;
      usedMs += busyMs;
      await nextPass();
    }
    return writing;
  }

  test("small turns alone, one in a pass of the event loop", async () => {
    const writing = new OwnWrites();
    expect(writing.isFor(smallTurn - 1, smallTurnBytes - 1)).toBe(true);
    expect(writing.isFor(smallTurn, 1)).toBe(false);
    expect(writing.isFor(1, smallTurnBytes)).toBe(false);
    expect(writing.waits(() => undefined)).toBe(false);
    writing.note(0.1);
    expect(writing.isFor(1, 1)).toBe(false);
    const called = await new Promise((resolve) => {
      expect(writing.waits(() => resolve(writing.isFor(1, 1)))).toBe(true);
    });
    expect(called).toBe(true);
  });

  test("on a quick disk", async () => {
    expect((await afterTurns(200, 0.4)).isFor(1, 1)).toBe(true);
    expect((await afterTurns(64, 0.6)).isFor(1, 1)).toBe(false);
    expect((await afterTurns(1, 20)).isFor(1, 1)).toBe(false);
  });

  test("while it has little else to do, and tries again later", async () => {
    const writing = await afterTurns(64, 0.1, 1);
    nowMs += 98;
    expect(writing.isFor(1, 1)).toBe(false);
    nowMs += 2;
    expect(writing.isFor(1, 1)).toBe(true);
  });

  test("unless others read more often than it writes", async () => {
    const writing = await afterTurns(10, 0.1);
    for (let reads = 0; reads < 18; reads++) writing.noteRead();
    expect(writing.isFor(1, 1)).toBe(true);
    writing.noteRead();
    expect(writing.isFor(1, 1)).toBe(false);
  });
});
