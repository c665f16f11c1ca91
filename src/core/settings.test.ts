import { describe, expect, test } from "bun:test";
import { WarpError } from "./errors.ts";
import { limits } from "./limits.ts";
import { recordSizes, resolveSettings, type StorageSettings } from "./settings.ts";

const dataDir = "data";

describe("settings", () => {
  test("have the defaults of the limits", () => {
    expect(resolveSettings({ dataDir })).toMatchObject({
      context: undefined,
      shards: undefined,
      mode: "actor",
      durability: "fsync",
      tailBytes: limits.arenaBytes,
      segmentBytes: limits.segmentBytes,
      segmentsMax: limits.segmentsMax,
      settleBytes: limits.settleBytes,
      settleSmallBytes: 1.25 * limits.settleBytes,
      settleDelayMs: limits.settleDelayMs,
      residentBytes: limits.residentBytes,
      create: true,
    });
    const { blockBytesMax, recordBytesMax } = limits;
    expect(recordSizes(limits.segmentBytes, limits.arenaBytes)).toEqual({ blockBytesMax, recordBytesMax });
  });

  test("derive what must fit into what, for every size allowed", () => {
    for (const segmentBytes of [64, 128, 4096, 32 * 1024, 1024 * 1024].map((kiB) => kiB * 1024)) {
      for (const tailBytes of [1, 3, 64, 1024].map((miB) => miB * 1024 * 1024)) {
        const resolved = resolveSettings({ dataDir, journal: { segmentBytes }, memory: { tailBytes } });
        const { settleBytes, settleSmallBytes } = resolved;
        const { blockBytesMax, recordBytesMax } = recordSizes(resolved.segmentBytes, resolved.tailBytes);
        expect(blockBytesMax + 3 * limits.sectorBytes).toBeLessThanOrEqual(segmentBytes);
        expect(2 * blockBytesMax).toBeLessThanOrEqual(tailBytes);
        expect(2 * recordBytesMax).toBeLessThanOrEqual(blockBytesMax);
        expect(4 * settleBytes).toBeLessThanOrEqual(tailBytes);
        expect(2 * settleSmallBytes).toBeLessThanOrEqual(tailBytes);
      }
    }
  });

  test("take a tail of any whole number of bytes", () => {
    for (const tailBytes of [50_000_001, 50_000_002, 50_000_003]) {
      const { settleBytes, settleSmallBytes } = resolveSettings({ dataDir, memory: { tailBytes } });
      expect([settleBytes, settleSmallBytes]).toEqual([12_500_000, 15_625_000]);
    }
  });

  const wrong: [string, unknown][] = [
    ["dataDir", { dataDir: "" }],
    ["dataDir", {}],
    ["mode", { dataDir, mode: "fast" }],
    ["durability", { dataDir, durability: "none" }],
    ["memory.tailBytes", { dataDir, memory: { tailBytes: 1024 } }],
    ["memory.residentBytes", { dataDir, memory: { residentBytes: -1 } }],
    ["journal.segmentBytes", { dataDir, journal: { segmentBytes: 65_537 } }],
    ["journal.segmentBytes", { dataDir, journal: { segmentBytes: 4096 } }],
    ["journal.segmentsMax", { dataDir, journal: { segmentsMax: 1 } }],
    ["settle.bytes", { dataDir, settle: { bytes: 0 } }],
    ["settle.delayMs", { dataDir, settle: { delayMs: Number.NaN } }],
    ["writers", { dataDir, writers: 0.5 }],
  ];
  test.each(wrong)("with a wrong %s are refused by its name", (name, given) => {
    try {
      resolveSettings(given as StorageSettings);
      throw new Error("they were taken");
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(WarpError);
      expect(thrown).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(name) });
    }
  });
});
