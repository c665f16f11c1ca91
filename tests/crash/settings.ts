/**
 * Settings under which everything that is rare happens all the time: tiny segments, rounds, memory.
 */
import { join } from "node:path";
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

/** The same for a server, as flags. */
export function loadFlags(dataDir: string): string[] {
  const { context = "", shards, writers, journal, memory, settle } = loadSettings(dataDir);
  return [
    ...["--data", dataDir, "--context", context, "--shards", `${shards}`, "--writers", `${writers}`],
    ...["--journal-segment", `${journal?.segmentBytes}`, "--journal-segments", `${journal?.segmentsMax}`],
    ...["--memory-resident", `${memory?.residentBytes}`, "--memory-tail", `${memory?.tailBytes}`],
    ...["--settle-bytes", `${settle?.bytes}`, "--settle-delay", `${settle?.delayMs}ms`],
    ...["--app", join(import.meta.dir, "aggregates.ts")],
  ];
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
