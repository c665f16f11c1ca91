/**
 * Settings under which everything that is rare happens all the time: tiny segments, rounds, memory.
 */
import type { Settings } from "../../src/context.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { purse, trail } from "./aggregates.ts";

export const loadShards = 3;

export function loadSettings(dataDir: string): Settings {
  return {
    dataDir,
    context: "crash",
    shards: loadShards,
    aggregates: [purse, trail],
    writers: 2,
    journal: { segmentBytes: 64 * 1024, segmentsMax: 5 },
    memory: { residentBytes: 40_000, tailBytes: 1024 * 1024 },
    settle: { bytes: 24 * 1024, delayMs: 15 },
    logger: silentLogger,
  };
}

/** Everything stays in the journal until the context is closed. */
export function unsettledSettings(dataDir: string): Settings {
  return {
    ...loadSettings(dataDir),
    journal: { segmentBytes: 64 * 1024, segmentsMax: 64 },
    memory: { residentBytes: 100_000_000, tailBytes: 8 * 1024 * 1024 },
    settle: { bytes: 4 * 1024 * 1024, delayMs: 3_600_000 },
  };
}

/** Everything is settled soon, and stays in WALs and in the journal until the context is closed. */
export function uncheckedSettings(dataDir: string): Settings {
  return { ...unsettledSettings(dataDir), settle: { bytes: 8 * 1024, delayMs: 5 } };
}
