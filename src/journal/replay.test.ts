import { afterAll, describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PeriodKeys } from "../core/period-keys.ts";
import { WarpError } from "../core/errors.ts";
import { seededRandom } from "../shard/sample.ts";
import { blockBytes, blockKind, segmentHeaderBytes, slotBytes } from "./format.ts";
import { replayJournal } from "./replay.ts";
import { createKeySlots } from "./ring-files.ts";
import { Segments, type SegmentsOptions } from "./segments.ts";

const base = mkdtempSync(join(tmpdir(), "warp-journal-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

const segmentBytes = 64 * 1024;
const periodKey = new Uint8Array(32).fill(3);

interface Written {
  readonly directory: string;
  readonly bodies: string[];
  /** Segment and offset of each block. */
  readonly places: { readonly segment: number; readonly offset: number; readonly bytes: number }[];
}

function freshDirectory(): string {
  const directory = join(base, String(++count));
  mkdirSync(directory);
  createKeySlots(directory, 4);
  for (let id = 1; id <= 4; id++) writeFileSync(join(directory, `000${id}`), Buffer.alloc(segmentBytes));
  return directory;
}

function options(directory: string, change: Partial<SegmentsOptions> = {}): SegmentsOptions {
  const start = {
    periods: PeriodKeys.of([{ period: 1, key: periodKey }]).memory,
    retiredUse: 0,
    lastUse: 0,
    lastSequence: 0,
  };
  return { directory, context: "c", durability: "fsync", segmentBytes, ...start, ...change };
}

/** Writes blocks of these sizes, switching segments when one is full. */
function write(sizes: readonly number[], change: Partial<SegmentsOptions> = {}): Written {
  const directory = freshDirectory();
  const segments = new Segments(options(directory, change));
  segments.addSegments(4);
  segments.advance();
  const bodies: string[] = [];
  const places: Written["places"] = [];
  let segment = 1;
  let offset: number = segmentHeaderBytes;
  for (const [index, size] of sizes.entries()) {
    if (!segments.hasRoom(size)) {
      expect(segments.advance()).toBe(true);
      segment++;
      offset = segmentHeaderBytes;
    }
    const body = String(index % 10).repeat(size);
    // In two pieces, as a turn that wrapped around a tail is.
    const half = Math.floor(size / 2);
    segments.write(blockKind.records, [Buffer.from(body.slice(0, half)), Buffer.from(body.slice(half))]);
    bodies.push(body);
    places.push({ segment, offset, bytes: blockBytes(size) });
    offset += blockBytes(size);
  }
  segments.close();
  return { directory, bodies, places };
}

function replay(directory: string, context = "c") {
  const keyOf = (period: number) => (period === 1 ? periodKey : undefined);
  const blocks = replayJournal({ directory, context, keyOf });
  const bodies: string[] = [];
  let step = blocks.next();
  for (; !step.done; step = blocks.next()) bodies.push(step.value.toString());
  return { bodies, ...step.value };
}

function failureOf(directory: string, context?: string): { code: string; file: unknown; offset: unknown } {
  try {
    replay(directory, context);
  } catch (thrown) {
    if (thrown instanceof WarpError) {
      return { code: thrown.code, file: thrown.details.file, offset: thrown.details.offset };
    }
    throw thrown;
  }
  throw new Error("the replay did not fail");
}

function change(written: Written, name: string, offset: number, bytes: Uint8Array | number): string {
  const path = join(written.directory, name);
  const contents = readFileSync(path);
  if (typeof bytes === "number") contents[offset] = (contents[offset] ?? 0) ^ bytes;
  else contents.set(bytes, offset);
  writeFileSync(path, contents);
  return written.directory;
}

const sizes = [10, 5000, 1, 20_000, 9000, 30_000, 100, 40_000, 7];
const nameOf = (written: Written, block: number) => `000${written.places[block]?.segment}`;
const offsetOf = (written: Written, block: number) => written.places[block]?.offset ?? 0;

describe("replay", () => {
  test("gives back every block in order, over several segments", () => {
    const written = write(sizes);
    const found = replay(written.directory);
    expect(found.bodies).toEqual(written.bodies);
    expect(found).toMatchObject({ segments: 4, segmentBytes, lastSequence: sizes.length, torn: undefined });
    expect([found.cleanStop, found.cutShort]).toEqual([false, false]);
    expect(new Set(written.places.map(({ segment }) => segment)).size).toBe(3);
  });

  test("of an empty journal is nothing, and a clean stop", () => {
    expect(replay(freshDirectory())).toMatchObject({ bodies: [], blocks: 0, cleanStop: true, lastUse: 0 });
  });

  test("ends before a torn last block and says where, wherever it is torn", () => {
    const written = write([10, 9000, 12_000]);
    const offset = offsetOf(written, 2);
    for (let sector = offset; sector < offset + 12_000; sector += 512) {
      const directory = freshDirectory();
      for (const name of ["keys", "0001"]) copyFileSync(join(written.directory, name), join(directory, name));
      const torn = { ...written, directory };
      change(torn, "0001", sector, Buffer.alloc(512));
      const found = replay(directory);
      expect(found.bodies).toEqual(written.bodies.slice(0, 2));
      // Without its first sector nothing is there that could be told from a segment's old content.
      if (sector >= offset + 4096) expect(found.torn).toEqual({ file: "journal/0001", offset });
    }
  });

  test("refuses a damaged block with a good one behind it, and names file and offset", () => {
    const seed = Number(process.env.SEED ?? 5);
    const random = seededRandom(seed);
    for (let block = 0; block < sizes.length - 1; block++) {
      const written = write(sizes);
      const name = nameOf(written, block);
      const offset = offsetOf(written, block);
      change(written, name, offset + Math.floor(random() * (64 + (sizes[block] ?? 0))), 0x10);
      expect(failureOf(written.directory)).toEqual({ code: "CORRUPT", file: `journal/${name}`, offset });
    }
  });

  test("under durability os ends at the damage, and says so", () => {
    const written = write(sizes, { durability: "os" });
    change(written, nameOf(written, 3), offsetOf(written, 3) + 100, 1);
    const found = replay(written.directory);
    expect(found.bodies).toEqual(written.bodies.slice(0, 3));
    expect(found.cutShort).toBe(true);
  });

  test("under durability os tells a hole from an end: where it is, and which block stands behind it", () => {
    for (let block = 0; block < sizes.length; block++) {
      const written = write(sizes, { durability: "os" });
      change(written, nameOf(written, block), offsetOf(written, block) + 64, 1);
      const place = { file: `journal/${nameOf(written, block)}`, offset: offsetOf(written, block) };
      const isLast = block === sizes.length - 1;
      const found = replay(written.directory);
      expect(found.hole).toEqual(isLast ? undefined : { ...place, behind: block + 2 });
      expect(found.bodies).toEqual(written.bodies.slice(0, block));
    }
    expect(replay(write(sizes, { durability: "os" }).directory)).toMatchObject({
      cutShort: true,
      hole: undefined,
    });
  });

  test("refuses damaged and missing files of the ring", () => {
    const cases: [string, (written: Written) => unknown, string][] = [
      ["a segment in use is gone", ({ directory }) => rmSync(join(directory, "0002")), "journal/0002"],
      ["a segment is short", ({ directory }) => truncateSync(join(directory, "0001"), 8192), "journal/0001"],
      ["a header is damaged", (written) => change(written, "0002", 20, 1), "journal/0002"],
      ["a slot is damaged", (written) => change(written, "keys", slotBytes + 30, 1), "journal/keys"],
      ["slots are missing", ({ directory }) => rmSync(join(directory, "keys")), "journal/keys"],
      ["a block is of another place", (written) => moveBlock(written, 0, 1), "journal/0001"],
    ];
    for (const [why, damage, file] of cases) {
      const written = write(sizes);
      damage(written);
      expect([why, failureOf(written.directory)]).toMatchObject([why, { code: "CORRUPT", file }]);
    }
  });

  test("does not open under another context", () => {
    expect(failureOf(write([10]).directory, "other")).toMatchObject({
      code: "CORRUPT",
      file: "journal/keys",
    });
  });

  test("takes a use whose header never reached the disk for one without blocks", () => {
    const written = write([10, 20]);
    change(written, "0001", 0, Buffer.alloc(segmentBytes));
    expect(replay(written.directory)).toMatchObject({ bodies: [], lastUse: 1 });
  });

  test("finds damage to the last records of a segment that is full: there was room for the marker behind them", () => {
    const directory = freshDirectory();
    const segments = new Segments(options(directory));
    segments.addSegments(4);
    segments.advance();
    let blocks = 0;
    for (; segments.hasRoom(4000); blocks++) segments.write(blockKind.records, [Buffer.alloc(4000)]);
    segments.mark(blockKind.idle);
    // Behind that marker there is no room for another one, nor need of it.
    segments.mark(blockKind.stop);
    segments.close();
    const sector = slotBytes;
    expect((blocks + 2) * sector).toBe(segmentBytes);
    expect(replay(directory).blocks).toBe(blocks + 1);
    const offset = blocks * sector;
    change({ directory, bodies: [], places: [] }, "0001", offset + 70, 1);
    expect(failureOf(directory)).toEqual({ code: "CORRUPT", file: "journal/0001", offset });
  });

  test("has its last block on the disk when it ends, also if the system alone had it because a sync had failed", () => {
    for (const written of [write(sizes), write([60_000])]) {
      const last = written.bodies.length - 1;
      const { offset, bytes } = written.places[last] ?? { offset: 0, bytes: 0 };
      const keyOf = () => periodKey;
      const blocks = replayJournal({ directory: written.directory, context: "c", keyOf, rewritesLast: true });
      const bodies: string[] = [];
      for (const block of blocks) {
        bodies.push(block.toString());
        if (bodies.length > last) change(written, nameOf(written, last), offset, Buffer.alloc(bytes));
      }
      expect(bodies).toEqual(written.bodies);
      expect(replay(written.directory)).toMatchObject({ bodies, torn: undefined });
    }
  });

  test("does not look at what is retired, and goes on behind it", () => {
    const written = write([10, 20]);
    const segments = new Segments(options(written.directory, { retiredUse: 1, lastUse: 1, lastSequence: 2 }));
    segments.addSegments(4);
    segments.advance();
    segments.write(blockKind.records, [Buffer.from("new")]);
    segments.mark(blockKind.stop);
    segments.close();
    expect(replay(written.directory)).toMatchObject({ bodies: ["new"], lastUse: 2, cleanStop: true });
  });

  test("finds the same beginning again when a start ended while it retired what is behind a hole", () => {
    const written = write(sizes, { durability: "os" });
    change(written, nameOf(written, 3), offsetOf(written, 3) + 70, 1);
    const first = replay(written.directory);
    expect(first).toMatchObject({ bodies: written.bodies.slice(0, 3), lastUse: 3, cutShort: true });
    const after = { retiredUse: first.lastUse, lastUse: first.lastUse, lastSequence: first.lastSequence };
    const sync = fs.fdatasyncSync;
    for (let starts = 1; starts <= 2; starts++) {
      const power = spyOn(fs, "fdatasyncSync").mockImplementation((file) => {
        sync(file);
        throw new Error("the power fails");
      });
      try {
        expect(() => new Segments(options(written.directory, after))).toThrow("the power fails");
      } finally {
        power.mockRestore();
      }
      expect(replay(written.directory)).toEqual(first);
    }
  });

  test("goes through what several processes left, in order, until each use is retired", () => {
    const written = write(sizes);
    // Torn, and never acknowledged: what comes next takes its sequence.
    const lost = sizes.length - 1;
    change(written, nameOf(written, lost), offsetOf(written, lost) + 70, 1);
    const first = replay(written.directory);
    expect(first).toMatchObject({ retiredUse: 0, lastUse: 3, lastSequence: lost });
    const segments = new Segments(options(written.directory, { lastUse: 3, lastSequence: lost }));
    segments.addSegments(4);
    expect(segments.advance()).toBe(true);
    segments.write(blockKind.records, [Buffer.from("new")]);
    // Every segment is in use until the oldest is retired.
    expect(segments.advance()).toBe(false);
    const second = replay(written.directory);
    expect(second.bodies).toEqual([...written.bodies.slice(0, lost), "new"]);
    expect(second).toMatchObject({ retiredUse: 0, lastUse: 4, lastSequence: lost + 1, torn: undefined });
    segments.retire(1);
    expect(segments.advance()).toBe(true);
    segments.close();
    const inFirst = written.places.filter(({ segment }) => segment === 1).length;
    const third = replay(written.directory);
    expect(third.bodies).toEqual([...written.bodies.slice(inFirst, lost), "new"]);
    expect(third).toMatchObject({ retiredUse: 1, lastUse: 5 });
  });
});

/** Puts a copy of one block over another of the same length in sectors. */
function moveBlock(written: Written, from: number, to: number): void {
  const path = join(written.directory, "0001");
  const contents = readFileSync(path);
  const { offset = 0, bytes = 0 } = written.places[from] ?? {};
  change(written, "0001", offsetOf(written, to), contents.subarray(offset, offset + bytes));
}
