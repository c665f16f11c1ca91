/**
 * The engine in this process, as what a run drives.
 */
import type { Logger } from "../../../core/logger.ts";
import { start } from "../../../index.ts";
import { ledger } from "./payload.ts";
import { Processor } from "./processors/processor.ts";
import { measureStateReads } from "./state-reads.ts";
import type { Subject } from "./subject.ts";

export interface EngineSettings {
  readonly dataDir: string;
  readonly mode: "actor" | "log";
  readonly durability: "fsync" | "os";
  readonly shards: number;
  readonly writers: number;
}

/** Names of an engine's Workers, in the order in which it starts them. */
export function workerNamesOf(writers: number): string[] {
  return [...Array.from({ length: writers }, (_, i) => `writer ${i}`), "journal", "reader"];
}

export async function openInProcess(settings: EngineSettings, logger: Logger): Promise<Subject> {
  const warp = await start({ ...settings, context: "bench", aggregates: [ledger], logger });
  const workerNames = workerNamesOf(settings.writers);
  return {
    source: warp,
    async measure() {
      const backlogStartBytes = warp.pressure.unsettledBytes;
      const processor = new Processor(workerNames);
      return async () => ({
        processor: processor.use(),
        rssBytes: process.memoryUsage.rss(),
        backlogStartBytes,
        backlogEndBytes: warp.pressure.unsettledBytes,
        residentEntities: warp.pressure.residentEntities,
      });
    },
    stateReads: (driven, payments, random, seconds) =>
      measureStateReads(warp, driven, payments, random, seconds),
    close: () => warp.close(),
  };
}
