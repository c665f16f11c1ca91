/**
 * The rows of the table in docs/recovery.md that are about the journal: segments, key slots and blocks.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { limits } from "../src/core/limits.ts";
import { silentLogger } from "../src/core/logger.ts";
import { start } from "../src/index.ts";
import { blockKind } from "../src/journal/format.ts";
import { loadSettings } from "./crash/settings.ts";
import { error, identical } from "./faults/expected.ts";
import { loadInto, makeSample, openChanged, type Sample } from "./faults/flips.ts";
import {
  type Block,
  beginUse,
  blocksOf,
  garble,
  liveSegments,
  slotsOf,
  zero,
} from "./faults/journal-files.ts";

const seed = 20_261_122;
let closed: Sample;
/** All in the journal alone, over several segments. */
let unsettled: Sample;

beforeAll(async () => {
  closed = await makeSample(seed, "closed", { operations: 100 });
  unsettled = await makeSample(seed, "unsettled", { operations: 1200 });
});

afterAll(() => {
  for (const { home } of [closed, unsettled]) rmSync(home, { recursive: true });
});

test("R12 a retired segment is not looked at", async () => {
  const spoil = (dataDir: string) => {
    for (const name of ["0001", "0002"]) garble(join(dataDir, "journal", name), 8192, 4096);
  };
  expect(await openChanged(closed, spoil)).toEqual(identical);
});

test("R13 a damaged key slot is refused with its offset", async () => {
  const spoil = (dataDir: string) => garble(join(dataDir, "journal/keys"), 30, 4);
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/keys", '"offset":0'));
});

test("R14 a segment file that is missing and in use is refused", async () => {
  const lose = (dataDir: string) => rmSync(join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? ""));
  expect(await openChanged(unsettled, lose)).toEqual(error("CORRUPT", "journal/0"));
});

test("R15 a segment that was only just begun is empty", async () => {
  const begin = (dataDir: string) => beginUse(dataDir, "crash");
  expect(await openChanged(unsettled, begin)).toEqual(identical);
  const copySlot = (dataDir: string) => {
    const name = liveSegments(dataDir).at(-1)?.name ?? "";
    slotsOf(dataDir).copy(name, beginUse(dataDir, "crash"));
  };
  expect(await openChanged(unsettled, copySlot)).toEqual(error("CORRUPT", "journal/keys"));
});

test("R16 a segment that has blocks and lost its header is refused", async () => {
  const spoil = (dataDir: string) =>
    garble(join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? ""), 0, 64);
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", '"offset":0'));
});

/** Blocks with records: a load that was kept waiting for the processor has markers between them. */
function recordsOf(path: string): Block[] {
  return blocksOf(path).filter(({ kind }) => kind === blockKind.records);
}

/** The last blocks of the journal: the marker behind everything, and the records before it. */
function lastBlocks(dataDir: string): { path: string; records: Block; marker: Block } {
  const name = liveSegments(dataDir).at(-1)?.name ?? "";
  const path = join(dataDir, "journal", name);
  const [records, marker] = blocksOf(path).slice(-2);
  if (records === undefined || marker === undefined) throw new Error("the sample has no two blocks");
  return { path, records, marker };
}

test("R17 a torn write at the end was never acknowledged, and the journal ends before it", async () => {
  const tear = (dataDir: string) => {
    const { path, marker } = lastBlocks(dataDir);
    garble(path, marker.offset + 40, 16);
  };
  expect(await openChanged(unsettled, tear)).toEqual(identical);
});

test("R18 a bad block with a good one behind it is refused with its offset", async () => {
  const spoil = (dataDir: string) => {
    const name = liveSegments(dataDir)[0]?.name ?? "";
    const [, second] = recordsOf(join(dataDir, "journal", name));
    garble(join(dataDir, "journal", name), (second?.offset ?? 0) + 70, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R19 a bad block at the end of a segment that another one follows is refused", async () => {
  const spoil = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    // In its header: it may be a marker, which has no body.
    garble(path, (blocksOf(path).at(-1)?.offset ?? 0) + 40, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R20 a segment that is missing between two others is refused", async () => {
  const lose = (dataDir: string) => slotsOf(dataDir).clear(liveSegments(dataDir)[1]?.name ?? "");
  expect(liveSegments(join(unsettled.home, "data")).length).toBeGreaterThan(2);
  expect(await openChanged(unsettled, lose)).toEqual(error("CORRUPT", "journal/0"));
});

test("R21 behind a marker, damage to the last acknowledged record is told from a torn write", async () => {
  const spoil = (dataDir: string) => {
    const { path, records } = lastBlocks(dataDir);
    garble(path, records.offset + 70, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R22 before the marker, damage to the last acknowledged record is taken for a torn write", async () => {
  expect(limits.idleMarkerMs).toBe(50);
  const spoil = (dataDir: string) => {
    const { path, records, marker } = lastBlocks(dataDir);
    zero(path, marker.offset, 4096);
    garble(path, records.offset + 70, 1);
  };
  const outcome = await openChanged(unsettled, spoil);
  expect(outcome.kind).toBe("silent");
  expect(outcome.what).toContain("was acknowledged and is not there");
});

test('R23 under durability "os" the journal ends at the first bad block, whatever is behind it, and check finds it', async () => {
  const sample = await makeSample(seed, "unsettled", { durability: "os" });
  const spoil = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    garble(path, (recordsOf(path)[2]?.offset ?? 0) + 70, 1);
  };
  const warned: unknown[] = [];
  const logger = { ...silentLogger, warn: (...said: unknown[]) => void warned.push(said) };
  const outcome = await openChanged(sample, spoil, { durability: "os", logger });
  rmSync(sample.home, { recursive: true });
  // The start serves without what was acknowledged, and check has said so before.
  expect(outcome).toEqual({ kind: "found", what: expect.stringMatching(/^journal\/0.* stands behind it/) });
  expect(JSON.stringify(warned)).toMatch(/the journal has a hole.*"file":"journal\/0/);
});

test("R24 a segment that is shorter than its header says is refused", async () => {
  const cut = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    writeFileSync(path, readFileSync(path).subarray(0, 40_960));
  };
  expect(await openChanged(unsettled, cut)).toEqual(error("CORRUPT", "journal/0"));
});

test("R41 segments that no start has begun are made anew, in the size that is set now", async () => {
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(home, "data");
  await (await start(loadSettings(dataDir))).close();
  const inJournal = (name: string) => join(dataDir, "journal", name);
  // As a first start leaves it that finds the disk full behind its first segment, which was larger.
  writeFileSync(inJournal("keys"), Buffer.alloc(statSync(inJournal("keys")).size));
  writeFileSync(inJournal("0001"), Buffer.alloc(1024 * 1024));
  rmSync(inJournal("0002"));
  const order = { dataDir, seed, run: "b", callers: 10, operations: 100, isUnsettled: true, lingers: true };
  const lines = await loadInto(home, order);
  expect(liveSegments(dataDir).map(({ name }) => statSync(inJournal(name)).size)).toContain(64 * 1024);
  expect(await openChanged({ home, lines }, () => {})).toEqual(identical);
  rmSync(home, { recursive: true });
});
