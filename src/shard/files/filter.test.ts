import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker as Thread } from "node:worker_threads";
import { sampleDirectory, seededRandom } from "../sample.ts";
import { elementHash, elementHashOfBytes, Filter } from "./filter.ts";
import { KeptFilter, readFilterFile } from "./filter-file.ts";

const directory = sampleDirectory();
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("a filter", () => {
  test("never says no of what was added, as text or as bytes", () => {
    const filter = Filter.forElements(1000);
    const texts = ["", "a", "alice", "größe", "🦊", "x".repeat(512), "\u0080"];
    for (const text of texts.slice(0, 4)) filter.add(text);
    for (const text of texts.slice(4)) {
      const bytes = Buffer.from(`..${text}..`);
      filter.addBytes(bytes, 2, bytes.length - 2);
    }
    for (const text of texts) expect(filter.mayHave(text)).toBe(true);
    expect(filter.mayHave("bob")).toBe(false);
  });

  test("hashes a text and its UTF-8 alike, and differently under each seed", () => {
    for (const text of ["key-1", "größe", "🦊🦊"]) {
      const bytes = Buffer.from(text);
      for (const seed of [0, 1, 2 ** 31, 2 ** 32, 2 ** 40 + 1]) {
        expect(elementHash(text, seed)).toEqual(elementHashOfBytes(bytes, 0, bytes.length, seed));
      }
      const hashes = [0, 1, 2, 2 ** 32, 2 ** 33].map((seed) => JSON.stringify(elementHash(text, seed)));
      expect(new Set(hashes).size).toBe(5);
    }
  });

  test("full and grown twice is wrong about fewer than 2 % of what was not added", () => {
    let filter = Filter.forElements(20_000);
    let added = 0;
    for (let layer = 0; layer < 3; layer++) {
      if (layer > 0) filter = filter.grown();
      for (let i = filter.newestCapacity; i > 0; i--) filter.add(`entity-${added++}`);
    }
    for (let i = 0; i < added; i += 7) expect(filter.mayHave(`entity-${i}`)).toBe(true);
    let wrong = 0;
    for (let i = 0; i < 100_000; i++) if (filter.mayHave(`entity-${added + i}`)) wrong++;
    expect(wrong).toBeLessThan(2000);
    let wrongKeys = 0;
    for (let i = 0; i < 100_000; i++) if (filter.mayHave("entity-1", i + 1)) wrongKeys++;
    expect(wrongKeys).toBeLessThan(2000);
  });

  test("that has grown still holds what is added to the smaller one", () => {
    const small = Filter.forElements(100);
    const grown = small.grown();
    new Filter(small.memory).add("late");
    expect(grown.mayHave("late")).toBe(true);
    grown.add("new");
    expect(small.mayHave("new")).toBe(false);
  });

  test("of two threads that add at once loses nothing", async () => {
    const filter = Filter.forElements(40_000);
    const script = `
      import { parentPort, workerData } from "node:worker_threads";
      import { Filter } from ${JSON.stringify(join(import.meta.dir, "filter.ts"))};
      const filter = new Filter(workerData);
      for (let i = 0; i < 20000; i++) filter.add("thread-" + i);
      parentPort.postMessage("done");`;
    const path = join(directory, "add.ts");
    writeFileSync(path, script);
    const thread = new Thread(path, { workerData: filter.memory });
    const done = new Promise((resolve) => thread.once("message", resolve));
    for (let i = 0; i < 20_000; i++) filter.add(`main-${i}`);
    await done;
    await thread.terminate();
    for (let i = 0; i < 20_000; i++) {
      if (!filter.mayHave(`main-${i}`) || !filter.mayHave(`thread-${i}`)) throw new Error(`lost ${i}`);
    }
  });
});

describe("a kept filter", () => {
  const fill = (kept: KeptFilter, from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const bytes = Buffer.from(`entity-${i}`);
      kept.addBytes(bytes, 0, bytes.length);
    }
  };

  test("comes back with its layers, its counts and the row it is complete to", () => {
    const path = join(directory, "grown.filter");
    const kept = KeptFilter.empty(path, 3, 0);
    expect(kept.isWorthSaving).toBe(true);
    kept.reserve(10_000);
    fill(kept, 0, 10_000);
    expect(kept.takeGrown()).toBe(false);
    kept.reserve(5_000);
    expect([kept.takeGrown(), kept.takeGrown()]).toEqual([true, false]);
    fill(kept, 10_000, 15_000);
    kept.save(14_999);
    expect(kept.isSaved).toBe(true);
    const loaded = KeptFilter.load(path, 3);
    expect(loaded?.completeTo).toBe(14_999);
    expect(loaded?.kept.filter.memory.layers.length).toBe(2);
    for (let i = 0; i < 15_000; i++) expect(loaded?.kept.filter.mayHave(`entity-${i}`)).toBe(true);
    expect(KeptFilter.load(path, 4)).toBeUndefined();
  });

  test("is worth saving again when a fiftieth is new, and a thousand", () => {
    const kept = KeptFilter.empty(join(directory, "fiftieth.filter"), 0, 0);
    fill(kept, 0, 1000);
    kept.save(1000);
    fill(kept, 1000, 2000);
    expect(kept.isWorthSaving).toBe(false);
    fill(kept, 2000, 2001);
    expect(kept.isWorthSaving).toBe(true);
    fill(kept, 2001, 100_000);
    kept.save(100_000);
    fill(kept, 100_000, 102_000);
    expect(kept.isWorthSaving).toBe(false);
    fill(kept, 102_000, 102_001);
    expect(kept.isWorthSaving).toBe(true);
  });

  test("is not used when any byte of its file is another, or some are missing", () => {
    const path = join(directory, "flipped.filter");
    const kept = KeptFilter.empty(path, 0, 0);
    fill(kept, 0, 100);
    kept.save(100);
    const whole = readFileSync(path);
    const seed = 20_261_101;
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    const offsets = [
      ...Array(48).keys(),
      ...Array.from({ length: 200 }, () => Math.floor(random() * whole.length)),
    ];
    for (const offset of offsets) {
      const bytes = Buffer.from(whole);
      bytes[offset] = (bytes[offset] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(path, bytes);
      expect(typeof readFilterFile(path)).toBe("string");
      expect(KeptFilter.load(path, 0)).toBeUndefined();
    }
    for (const length of [0, 7, 47, 48, whole.length - 1]) {
      writeFileSync(path, whole.subarray(0, length));
      expect(KeptFilter.load(path, 0)).toBeUndefined();
    }
  });
});
