import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sample } from "./sample.ts";

const base = mkdtempSync(join(tmpdir(), "warp-journal-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

function newSample(segmentsMax?: number, scale?: number): Sample {
  return new Sample(join(base, String(++count)), segmentsMax, scale);
}

describe("the journal", () => {
  test("can be closed while it waits for a segment that is never retired", async () => {
    const sample = newSample(2);
    sample.retires = false;
    for (let i = 0; i < 8; i++) expect(sample.take(`${i}`.repeat(20_000), i % 2)).toBe(true);
    // Two segments of two blocks each; the fifth waits.
    while (sample.durable.length < 4) await new Promise((resolve) => setImmediate(resolve));
    await sample.journal.close();
    expect(sample.failures).toEqual([]);
    expect(sample.replayed()).toHaveLength(80_000);
  });

  test("makes what is appended together durable together, in order, with all tails in one block", async () => {
    const sample = newSample();
    sample.retires = false;
    const texts = Array.from({ length: 50 }, (_, i) => `<${i}>`);
    for (const [index, text] of texts.entries()) sample.take(text, index % 2);
    expect(sample.durable).toEqual([]);
    await sample.journal.whenIdle();
    expect(sample.durable).toEqual(texts);
    expect(sample.turns.length).toBe(1);
    await sample.journal.close();
    const of = (tail: number) => texts.filter((_, index) => index % 2 === tail).join("");
    expect(sample.replayed()).toBe(of(0) + of(1));
  });

  test("cuts turns that grow too large for a block, and keeps their order", async () => {
    const sample = newSample();
    const texts = Array.from({ length: 40 }, (_, i) => String.fromCharCode(48 + i).repeat(5000));
    for (const text of texts) expect(sample.take(text)).toBe(true);
    await sample.journal.whenIdle();
    expect(sample.durable).toEqual(texts);
    expect(sample.turns.length).toBeGreaterThan(5);
    expect(sample.turns.map(({ id }) => id)).toEqual(sample.turns.map((_, i) => i + 1));
    await sample.journal.close();
  });

  test("waits when the ring is full, and goes on when a segment is retired", async () => {
    const sample = newSample(2);
    sample.retires = false;
    let taken = 0;
    // Two segments hold four blocks of this size; the fifth finds no room.
    for (; taken < 4; taken++) {
      sample.take(`${taken}`.repeat(28_000));
      await sample.journal.whenIdle();
    }
    expect(sample.turns.map(({ use }) => use)).toEqual([1, 1, 2, 2]);
    sample.take("x".repeat(28_000));
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(sample.durable.length).toBe(4);
    sample.journal.retire(1);
    await sample.journal.whenIdle();
    expect(sample.turns.at(-1)).toMatchObject({ use: 3, texts: 1 });
    await sample.journal.close();
    expect(sample.failures).toEqual([]);
  });

  test("tells a main thread that never rests what is durable, once and in order, when it is polled", async () => {
    const sample = newSample();
    sample.take("first");
    await sample.journal.whenIdle();
    const texts = Array.from({ length: 200 }, (_, i) => `<${i}>`);
    for (const text of texts) sample.take(text);
    // Nothing but this loop runs: neither the event loop nor a microtask. What waits behind the first turn goes with it.
    while (sample.durable.length < 2) sample.journal.poll();
    expect(sample.durable).toEqual(["first", ...texts].slice(0, sample.durable.length));
    sample.journal.poll();
    await sample.journal.whenIdle();
    expect(sample.durable).toEqual(["first", ...texts]);
    expect(sample.turns.map(({ id }) => id)).toEqual(sample.turns.map((_, i) => i + 1));
    await sample.journal.close();
  });

  test("sends what is large while its callers go on, without a break between them", async () => {
    const sample = newSample(4, 64);
    const texts: string[] = [];
    // Callers that come one behind another; the event loop has no turn in between. Those that find no room append nothing.
    for (let calls = 0; sample.durable.length === 0 && calls < 5_000_000; calls++) {
      const text = `<${calls}>`.padEnd(10_000, "x");
      if (sample.take(text)) texts.push(text);
      else {
        sample.journal.complete("nothing");
        texts.push("nothing");
      }
      await Promise.resolve();
    }
    expect(sample.durable.length).toBeGreaterThan(10);
    await sample.journal.whenIdle();
    expect(sample.durable).toEqual(texts);
    expect(sample.turns.map(({ id }) => id)).toEqual(sample.turns.map((_, i) => i + 1));
    await sample.journal.close();
  });

  test("completes what appended nothing behind what it waits for", async () => {
    const sample = newSample();
    sample.take("record");
    sample.journal.complete("answer");
    await sample.journal.whenIdle();
    expect(sample.durable).toEqual(["record", "answer"]);
    sample.journal.complete("alone");
    await sample.journal.whenIdle();
    expect(sample.durable.at(-1)).toBe("alone");
    await sample.journal.close();
  });

  test("fails once, says so, and keeps what it did not acknowledge, when its files are gone", async () => {
    const sample = newSample();
    sample.take("good");
    await sample.journal.whenIdle();
    rmSync(sample.directory, { recursive: true });
    // The open segment can still be written; the next one cannot be made or opened.
    let texts = 0;
    while (sample.failures.length === 0 && texts < 100) {
      sample.take(`${texts++}`.padEnd(28_000, "."));
      await sample.journal.whenIdle();
    }
    expect(sample.failures.length).toBe(1);
    expect(sample.durable.length + sample.journal.unacknowledged().length).toBe(texts + 1);
    sample.take("late");
    await sample.journal.whenIdle();
    expect(sample.durable).not.toContain("late");
  });
});
