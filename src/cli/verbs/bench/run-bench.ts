/**
 * One benchmark run: a context is opened in this process or behind a server, filled, measured between two yardsticks,
 * verified and closed.
 *
 * - The yardsticks run while the engine has nothing to do, on the same file system.
 * - Every run ends by comparing a sample of the entities with what they were given; a difference fails it.
 * - A directory that this made for itself is removed; one that was named is kept, and must be new.
 * - On a server that was there before, it drives entities of a name of its own, and leaves them there.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "../../../core/logger.ts";
import { UsageError } from "../../exit.ts";
import { DrivenEntities } from "./entities.ts";
import { openInProcess } from "./in-process.ts";
import { type LoadResult, runLoad } from "./load.ts";
import { openChild, openServer } from "./over-tcp.ts";
import { Payments } from "./payload.ts";
import { Random } from "./random.ts";
import type { StateReads } from "./state-reads.ts";
import type { ServerFacts, Subject } from "./subject.ts";
import { meanOf, measureYardsticks, type Yardsticks } from "./yardsticks.ts";

export interface BenchSettings {
  /** Run the engine in this process, and not in a server. */
  readonly inProcess: boolean;
  /** HOST:PORT of a server that runs; undefined for one of the run's own. */
  readonly addr: string | undefined;
  /** Where that server answers HTTP, for its metrics; undefined when they are not to be asked for. */
  readonly http: string | undefined;
  readonly callers: number;
  readonly entities: number;
  /** Entities that are driven, all alike unless `zipf`. */
  readonly active: number;
  /** Make all entities before the run. */
  readonly create: boolean;
  /** Open the context again once they are made, so that none of them is in memory. */
  readonly cold: boolean;
  readonly lookup: boolean;
  /** Events that each driven entity has before the run. */
  readonly history: number;
  /** Over TCP; calls are spread over them. */
  readonly connections: number;
  /** Keep the main thread of the run's own server and the client on processors of their own. */
  readonly apart: boolean;
  readonly batch: number;
  readonly bytes: number;
  readonly mixed: number;
  /** Entities are chosen by Zipf's law instead of all alike. */
  readonly zipf: boolean;
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
  /** What was driven over TCP, and what the ids of the entities begin with. */
  readonly server?: ServerFacts & { readonly entityPrefix: string };
  readonly load?: LoadResult;
  readonly reads?: StateReads;
  /** Making the entities, if that was asked for. */
  readonly setup?: { readonly entities: number; readonly seconds: number };
  readonly yardsticks?: Yardsticks;
  /** eventsPerSecond / rowsPerSecond, and eventsPerSecond / (callers · syncsPerSecond). */
  readonly ratios?: { readonly toRows: number; readonly toSyncs: number };
  /** From the end of the load until nothing was left to settle and engine and client were idle; undefined if untold. */
  readonly drainSeconds: number | undefined;
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
  const { mode, durability, shards, writers, seed, bytes, entities, active, lookup, addr } = settings;
  const engine = { dataDir, mode, durability, shards, writers };
  const open = (): Promise<Subject> => {
    if (settings.inProcess) return openInProcess(engine, logger);
    const { connections, apart } = settings;
    if (addr === undefined) return openChild(engine, connections, apart);
    return openServer(addr, settings.http, connections);
  };
  const prefix = addr === undefined ? "entity-" : `bench-${Date.now().toString(36)}-`;
  const random = new Random(seed);
  const payments = new Payments(bytes, seed + 1);
  let subject = await open();
  let driven = new DrivenEntities({ source: subject.source, prefix, entities, active, lookup });
  try {
    let setup: BenchResult["setup"];
    if (settings.create) {
      const begun = performance.now();
      await driven.create(payments);
      setup = { entities, seconds: secondsSince(begun) };
    }
    if (settings.history > 0) await driven.giveHistory(payments, settings.history);
    if (settings.cold) {
      await subject.close();
      subject = await open();
      driven = driven.reopened(subject.source);
    }
    // What making the entities left behind is not the run's memory.
    Bun.gc(true);
    const yardstick = async () => {
      const drainSeconds = await whenIdle(subject);
      const { yardstickSeconds } = settings;
      if (yardstickSeconds === 0) return { drainSeconds, measured: undefined };
      return {
        drainSeconds,
        measured: measureYardsticks({ directory: yardstickDir, bytes, seconds: yardstickSeconds }),
      };
    };
    const before = await yardstick();
    const isLocalRead = settings.read && subject.stateReads !== undefined;
    const reads = settings.read
      ? await subject.stateReads?.(driven, payments, random, settings.seconds)
      : undefined;
    if (settings.read && !isLocalRead && !settings.create) await driven.create(payments, active);
    const mixed = settings.read ? 100 : settings.mixed;
    const load = isLocalRead
      ? undefined
      : await runLoad({ ...settings, mixed, subject, driven, payments, random, signal });
    const after = await yardstick();
    const verifiedEntities = await driven.verify();
    const closing = performance.now();
    await subject.close();
    const closeSeconds = secondsSince(closing);

    const yardsticks =
      before.measured === undefined || after.measured === undefined
        ? undefined
        : meanOf(before.measured, after.measured);
    return {
      settings,
      ...(subject.server === undefined ? {} : { server: { ...subject.server, entityPrefix: prefix } }),
      ...(load === undefined ? {} : { load }),
      ...(reads === undefined ? {} : { reads }),
      ...(setup === undefined ? {} : { setup }),
      ...(yardsticks === undefined ? {} : { yardsticks }),
      ...(yardsticks === undefined || load === undefined || settings.read
        ? {}
        : { ratios: ratiosOf(load, yardsticks, settings.callers) }),
      drainSeconds: after.drainSeconds,
      verifiedEntities,
      closeSeconds,
      processors: availableParallelism(),
    };
  } finally {
    await subject.close();
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

/**
 * Waits until nothing is left to settle and neither engine nor client does more than next to nothing; returns how long
 * that took, seconds, or undefined when the server does not tell what is left.
 */
async function whenIdle(subject: Subject): Promise<number | undefined> {
  const begun = performance.now();
  let isIdle = false;
  let isTold = false;
  while (!isIdle && performance.now() - begun < idleWaitMs) {
    const readings = await subject.measure();
    await Bun.sleep(idlePollMs);
    const { processor, backlogEndBytes } = await readings();
    const busy = Math.max(processor.client?.busy ?? processor.busy, processor.server?.busy ?? 0);
    isTold = backlogEndBytes !== undefined;
    isIdle = (backlogEndBytes ?? 0) === 0 && busy < 0.05;
  }
  return isTold ? secondsSince(begun) : undefined;
}

function secondsSince(begun: number): number {
  return (performance.now() - begun) / 1000;
}
