/**
 * One benchmark run: a context is opened, filled, measured between two yardsticks, verified and closed.
 *
 * - The yardsticks run while the engine has nothing to do, on the same file system.
 * - Every run ends by comparing a sample of the entities with what they were given; a difference fails it.
 * - A directory that this made for itself is removed; one that was named is kept, and must be new.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "../../../core/logger.ts";
import { start, type Warp } from "../../../index.ts";
import { UsageError } from "../../exit.ts";
import { DrivenEntities } from "./entities.ts";
import { type LoadResult, runLoad } from "./load.ts";
import { ledger, Payments } from "./payload.ts";
import { Random } from "./random.ts";
import { measureStateReads, type StateReads } from "./state-reads.ts";
import { meanOf, measureYardsticks, type Yardsticks } from "./yardsticks.ts";

export interface BenchSettings {
  readonly callers: number;
  readonly entities: number;
  /** Entities that are driven, chosen uniformly. */
  readonly active: number;
  /** Make all entities before the run. */
  readonly create: boolean;
  /** Open the context again once they are made, so that none of them is in memory. */
  readonly cold: boolean;
  readonly lookup: boolean;
  readonly batch: number;
  readonly bytes: number;
  readonly mixed: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Stop after so many events; undefined for no such end. */
  readonly events: number | undefined;
  /** Measure reads of states instead of appends. */
  readonly read: boolean;
  readonly mode: "actor" | "log";
  readonly durability: "fsync" | "os";
  readonly shards: number;
  readonly writers: number;
  readonly seed: number;
  /** Each of the two yardsticks; 0 for none. */
  readonly yardstickSeconds: number;
  /** Undefined for a temporary directory. */
  readonly dataDir: string | undefined;
}

export interface BenchResult {
  readonly settings: BenchSettings;
  readonly load?: LoadResult;
  readonly reads?: StateReads;
  /** Making the entities, if that was asked for. */
  readonly setup?: { readonly entities: number; readonly seconds: number };
  readonly yardsticks?: Yardsticks;
  /** eventsPerSecond / rowsPerSecond, and eventsPerSecond / (callers · syncsPerSecond). */
  readonly ratios?: { readonly toRows: number; readonly toSyncs: number };
  /** From the end of the load until nothing was left to settle and the process was idle. */
  readonly drainSeconds: number;
  readonly verifiedEntities: number;
  readonly closeSeconds: number;
  readonly processors: number;
}

export async function runBench(
  settings: BenchSettings,
  logger: Logger,
  signal: AbortSignal,
): Promise<BenchResult> {
  const named = settings.dataDir === undefined ? undefined : resolve(settings.dataDir);
  if (named !== undefined && existsSync(named) && readdirSync(named).length > 0) {
    throw new UsageError(`${settings.dataDir} is not empty; a run needs a new data directory`);
  }
  const scratch = mkdtempSync(named === undefined ? join(tmpdir(), "warp-bench-") : `${named}-bench-`);
  try {
    return await runIn(named ?? join(scratch, "data"), join(scratch, "yardstick"), settings, logger, signal);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runIn(
  dataDir: string,
  yardstickDir: string,
  settings: BenchSettings,
  logger: Logger,
  signal: AbortSignal,
): Promise<BenchResult> {
  const { mode, durability, shards, writers, seed, bytes, entities, active, lookup } = settings;
  const open = () =>
    start({ context: "bench", aggregates: [ledger], dataDir, mode, durability, shards, writers, logger });
  const random = new Random(seed);
  const payments = new Payments(bytes, seed + 1);
  let warp = await open();
  let driven = new DrivenEntities({ warp, entities, active, lookup });
  try {
    let setup: BenchResult["setup"];
    if (settings.create) {
      const begun = performance.now();
      await driven.create(payments);
      setup = { entities, seconds: secondsSince(begun) };
    }
    if (settings.cold) {
      await warp.close();
      warp = await open();
      driven = driven.reopened(warp);
    }
    // What making the entities left behind is not the run's memory.
    Bun.gc(true);
    const yardstick = async () => {
      const drainSeconds = await whenIdle(warp);
      const { yardstickSeconds } = settings;
      if (yardstickSeconds === 0) return { drainSeconds, measured: undefined };
      return {
        drainSeconds,
        measured: measureYardsticks({ directory: yardstickDir, bytes, seconds: yardstickSeconds }),
      };
    };
    const before = await yardstick();
    const reads = settings.read
      ? await measureStateReads(warp, driven, payments, random, settings.seconds)
      : undefined;
    const workerNames = [...Array.from({ length: writers }, (_, i) => `writer ${i}`), "journal", "reader"];
    const load = settings.read
      ? undefined
      : await runLoad({ ...settings, warp, driven, payments, random, signal, workerNames });
    const after = await yardstick();
    const verifiedEntities = await driven.verify(random);
    const closing = performance.now();
    await warp.close();
    const closeSeconds = secondsSince(closing);

    const yardsticks =
      before.measured === undefined || after.measured === undefined
        ? undefined
        : meanOf(before.measured, after.measured);
    return {
      settings,
      ...(load === undefined ? {} : { load }),
      ...(reads === undefined ? {} : { reads }),
      ...(setup === undefined ? {} : { setup }),
      ...(yardsticks === undefined ? {} : { yardsticks }),
      ...(yardsticks === undefined || load === undefined
        ? {}
        : { ratios: ratiosOf(load, yardsticks, settings.callers) }),
      drainSeconds: after.drainSeconds,
      verifiedEntities,
      closeSeconds,
      processors: availableParallelism(),
    };
  } finally {
    await warp.close();
  }
}

function ratiosOf(load: LoadResult, { rowsPerSecond, syncsPerSecond }: Yardsticks, callers: number) {
  const { eventsPerSecond } = load;
  return {
    toRows: eventsPerSecond / rowsPerSecond,
    toSyncs: eventsPerSecond / (callers * syncsPerSecond),
  };
}

const idlePollMs = 100;
const idleWaitMs = 60_000;

/** Waits until nothing is left to settle and the process does next to nothing; returns how long that took, seconds. */
async function whenIdle(warp: Warp): Promise<number> {
  const begun = performance.now();
  let isIdle = false;
  while (!isIdle && performance.now() - begun < idleWaitMs) {
    const usage = process.cpuUsage();
    const polled = performance.now();
    await Bun.sleep(idlePollMs);
    const { user, system } = process.cpuUsage(usage);
    const busy = (user + system) / 1000 / (performance.now() - polled);
    isIdle = warp.pressure.unsettledBytes === 0 && busy < 0.05;
  }
  return secondsSince(begun);
}

function secondsSince(begun: number): number {
  return (performance.now() - begun) / 1000;
}
