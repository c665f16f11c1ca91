/**
 * One context, wired: opened in this order, closed in the reverse.
 *
 *   directory and lock → keys → shard writers → recovery → journal → reader → actors
 *
 * - Nothing is served before recovery has read and verified what the journal holds; it is settled behind that (decision 0019).
 * - A failure anywhere fails the engine: it answers what is under way and refuses the rest; only a new start, which
 *   reads the disk again, makes the context writable. It never ends the process that it runs in.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { SessionTime } from "./actor/deliveries/session-time.ts";
import { Engine } from "./actor/engine.ts";
import { Folding } from "./actor/folding.ts";
import { openShards, type Storage } from "./actor/opening/shards.ts";
import { Subjects } from "./actor/personal/subjects.ts";
import { Residency } from "./actor/residency.ts";
import { Reading } from "./actor/storage/reading.ts";
import { Recorder } from "./actor/storage/recorder.ts";
import { recover, reportRecovery } from "./actor/storage/recovery.ts";
import type { Settling } from "./actor/storage/settling.ts";
import type { Write } from "./actor/write.ts";
import type { Aggregate } from "./aggregate/aggregate.ts";
import { compileAggregates, FoldPlan } from "./aggregate/fold.ts";
import { applicationOf } from "./application.ts";
import { KnownTargets } from "./backup/known-targets.ts";
import { type DataDirectory, openDataDirectory } from "./core/data-directory.ts";
import { ErasureFollowers } from "./core/erasure.ts";
import { toWarpError, WarpError } from "./core/errors.ts";
import { type Keyring, openKeyring } from "./core/keyring.ts";
import {
  type ResolvedSettings,
  recordSizes,
  resolveSettings,
  type StorageSettings,
} from "./core/settings.ts";
import { Failure } from "./failure.ts";
import { Journal } from "./journal/journal.ts";
import { createKeySlots } from "./journal/ring-files.ts";
import { startKeeping, stopKeeping } from "./keeping.ts";
import { ContextPrivacy } from "./privacy/privacy.ts";
import { createProjections, createQueries } from "./projecting.ts";
import type { SinkSettings } from "./projection/places.ts";
import type { ProjectionsParts } from "./projection/projections.ts";
import { startReaderWorker } from "./shard/threads.ts";
import { Following } from "./subscription/following.ts";
import { Warp } from "./warp.ts";

export interface Settings extends StorageSettings {
  /** What folds the events; the built-in `document` aggregate when there are none. */
  readonly aggregates?: readonly Aggregate[] | undefined;
  /**
   * Path of a module that exports the aggregates and the projections, instead of `aggregates`. Each projection loads it
   * again in a Worker of its own.
   */
  readonly application?: string | undefined;
  /** Databases that projections write to, by the name they use: `postgres://…`, or `http://…` for rqlite. */
  readonly sinks?: SinkSettings | undefined;
}

/** Opens a context, or makes it. Errors: those of the settings, the directory, the keys and recovery. */
export async function start(settings: Settings): Promise<Warp> {
  const resolved = resolveSettings(settings);
  const application = await applicationOf(settings);
  const plan = resolved.mode === "log" ? new FoldPlan([]) : compileAggregates(application.aggregates);
  const dataDir = resolve(resolved.dataDir);
  const { context, shards, create } = resolved;
  const directory = openDataDirectory({ path: dataDir, context, shards, create });
  try {
    const { projections } = application;
    const projecting = {
      application: settings.application,
      declared: projections,
      sinks: settings.sinks ?? {},
    };
    return await open(directory, resolved, new Folding(plan, resolved.logger), projecting);
  } catch (thrown) {
    directory.unlock();
    throw toWarpError(thrown, "IO_ERROR", { file: dataDir });
  }
}

/** What the application derives from events, and where its rows go. */
type Projecting = Pick<ProjectionsParts, "application" | "declared" | "sinks">;

async function open(
  directory: DataDirectory,
  settings: ResolvedSettings,
  folding: Folding,
  projecting: Projecting,
): Promise<Warp> {
  const { path: dataDir, identity } = directory;
  const isNew = identity.state === "creating";
  const keyring = openKeyring({
    dataDir,
    context: identity.context,
    rootKey: settings.rootKey,
    create: isNew,
  });
  const known = new KnownTargets(dataDir);
  const journalDir = join(dataDir, "journal");
  if (isNew) mkdirSync(journalDir, { recursive: true });
  if (isNew && !existsSync(join(journalDir, "keys"))) createKeySlots(journalDir, settings.segmentsMax);

  const failure = new Failure();
  const begun = performance.now();
  const storage = await openShards(directory, settings, keyring, folding, failure);
  const shardsMs = performance.now() - begun;
  const closers: (() => unknown)[] = [];
  try {
    const given = { directory, known, settings, folding, projecting, keyring };
    return await serve({ ...given, failure, storage, shardsMs, closers });
  } catch (thrown) {
    storage.onSettled = () => {};
    storage.onCheckpointed = () => {};
    // A thread that is left open would keep the process alive, and write to files that are no longer locked.
    for (const close of closers.reverse()) {
      try {
        await close();
      } catch (failed) {
        settings.logger.error(
          "a part of what could not start did not close",
          toWarpError(failed, "IO_ERROR").toWire(),
        );
      }
    }
    await Promise.all(storage.settlings.map((settling) => settling.close()));
    throw thrown;
  }
}

/** Recovers what the journal holds and starts everything that stands on the shards. */
async function serve(opened: {
  readonly directory: DataDirectory;
  readonly known: KnownTargets;
  readonly settings: ResolvedSettings;
  readonly folding: Folding;
  readonly projecting: Projecting;
  readonly keyring: Keyring;
  readonly failure: Failure;
  readonly storage: Storage;
  readonly shardsMs: number;
  /** Takes in what closes the parts that are open, should one behind them not open. */
  readonly closers: (() => unknown)[];
}): Promise<Warp> {
  const { directory, known, settings, folding, projecting, keyring, failure, storage, closers } = opened;
  const { identity } = directory;
  const journalDir = join(directory.path, "journal");
  const { tails, settlings, shards, workerOptions } = storage;
  const replay = {
    directory: journalDir,
    context: identity.context,
    keyOf: (period: number) => keyring.keyOf(period),
  };
  const failed = failure.happened;
  const begun = performance.now();
  const openReading = () => Reading.open(startReaderWorker(), workerOptions, (error) => failure.set(error));
  const recovering = recover({ replay, tails, settlings, shards, named: storage.named, openReading, failed });
  const recovery = await Promise.race([recovering, failed]);
  if (recovery instanceof WarpError) throw recovery;
  failure.throwIfFailed();
  for (const shard of shards) shard.deliveries.bound(workerOptions.deliveryBytes);
  reportRecovery(recovery, settings.logger, { shardsMs: opened.shardsMs, begun });

  const segmentBytes = recovery.segmentBytes ?? settings.segmentBytes;
  const { blockBytesMax, recordBytesMax } = recordSizes(segmentBytes, settings.tailBytes);
  directory.markReady();
  const journal = new Journal<Write>({
    segments: {
      directory: journalDir,
      context: identity.context,
      durability: settings.durability,
      segmentBytes,
      periods: workerOptions.periods,
      retiredUse: recovery.retiredUse,
      lastUse: recovery.lastUse,
      lastSequence: recovery.lastSequence,
    },
    segmentCount: recovery.segments,
    segmentsMax: settings.segmentsMax,
    firstTurn: recovery.lastTurn + 1,
    blockBytesMax,
    tails,
    writerThreads: () => settlings.map(({ thread }) => thread),
    onDurable: (turn, use) => engine.acknowledge(turn, use),
    onFailed: (error) => failure.set(error),
  });
  closers.push(() => journal.close());
  const reading = await openReading();
  closers.push(() => reading.close());
  const { recovered, lastTurn } = recovery;
  if (!recovered.isSettled) reading.holdUntil(recovered.whenSettled());
  const erasureFollowers = new ErasureFollowers();
  const { incarnation, context } = identity;
  const sources = { incarnation, idHashKey: keyring.idHashKey, shards, tails, lastTurn, openReading };
  const following = new Following(sources, folding, directory.path, erasureFollowers);
  const { feed } = following;
  closers.push(() => feed.close());
  closers.push(() => following.end(new WarpError("CLOSED", "this context could not start")));
  reading.onForget = (shard, numbers) => following.forget(shard, numbers);
  const residency = new Residency({
    shards,
    folding,
    reading,
    recovered,
    bytesMax: settings.residentBytes,
    freeze: settings.freeze,
    onPressure: () => {
      for (const settling of settlings) settling.order();
    },
  });
  const subjects = new Subjects({ shards, reading, residency });
  const sessionTime = new SessionTime(shards, settings.logger);
  const engine: Engine = new Engine({
    folding,
    subjects,
    recorder: new Recorder({ journal, tails, recordBytesMax, sessionTime }),
    sessionTime,
    reading,
    journal,
    freeze: settings.freeze,
    onDurable: (turn, use) => {
      for (const settling of settlings) settling.add(turn, use);
      relieveRing(journal, settlings, use, settings.segmentsMax);
      feed.turned(turn);
    },
    onStarved: () => {
      for (const settling of settlings) settling.order();
    },
    onSnapshotDue: (actor) => settlings[actor.shard.writer]?.dueForSnapshot(actor),
    onErased: (actor, number) => settlings[actor.shard.writer]?.noteErasure(actor.shard, number),
    onBroken: (error) => failure.set(error),
    onGrown: (actor) => residency.remeasure(actor),
    actorAgain: (actor) => residency.actor(actor.id),
  });
  const relieve = () => relieveRing(journal, settlings, journal.currentUse, settings.segmentsMax);
  const retire = () => retireSegments(journal, settlings);
  storage.onSettled = () => {
    engine.onSpace();
    relieve();
  };
  storage.onCheckpointed = () => {
    retire();
    relieve();
  };
  failure.onFailed = (error) => {
    engine.fail(error, journal.unacknowledged());
    following.end(new WarpError("ENGINE_FAILED", `the engine has failed: ${error.message}`));
    // Last: it is the program's, and may fail for the same reason.
    settings.logger.error("the engine has failed", error.toWire());
  };
  const history = { folding, tails, reading };
  const { logger } = settings;
  const privacy = new ContextPrivacy({
    ...{ engine, residency, subjects, reading, settlings, journal, history, logger, context },
    ...{ shards: identity.shards, idHashKey: keyring.idHashKey, followers: erasureFollowers },
    withdraw: (shard, numbers) => following.withdraw(shard, numbers),
    ...{ retireSegments: retire, backupTargets: () => keeping.backups.targets, failed },
  });
  const projections = createProjections({
    ...{ dataDir: directory.path, context, source: feed, followers: erasureFollowers, logger },
    ...projecting,
  });
  closers.push(() => projections.close());
  projections.start();
  const queries = createQueries(projections, feed);
  closers.push(() => queries.close());
  const keeping = startKeeping({
    ...{ directory, known, folding, reading, settlings, shards, logger, failed, journal },
    isHeldAsSubject: (id) => privacy.isHeldAsSubject(id),
    retireSegments: retire,
    ...{ idHashKey: keyring.idHashKey, periods: workerOptions.periods, rootKey: settings.rootKey },
  });
  closers.push(() => stopKeeping(keeping, failed));
  privacy.resume();
  const close = async (): Promise<void> => {
    await queries.close();
    await projections.close();
    await stopKeeping(keeping, failed);
    engine.stopAccepting();
    following.end(new WarpError("CLOSED", "this context is closed"));
    privacy.close();
    const finished = finish(engine, journal, settlings, () => failure.error !== undefined);
    const end = await Promise.race([finished, failure.happened]);
    if (failure.error === undefined) {
      // All of them: also the segment that was begun and never written to.
      if (end === "clean") journal.retire(Number.MAX_SAFE_INTEGER);
      else logger.warn("another process reads a shard: the next start takes the rest from the journal", {});
    }
    await journal.close();
    // What is not on the disk now will not be.
    if (end === "held" && engine.underWay > 0)
      engine.fail(new WarpError("CLOSED", "this context is closed"), journal.unacknowledged());
    await reading.close();
    await feed.close();
    await Promise.all(settlings.map((settling) => settling.close()));
    directory.unlock();
  };
  return new Warp({
    identity,
    engine,
    residency,
    reading,
    folding,
    history,
    sessionTime,
    following,
    projections,
    queries,
    privacy,
    erasureFollowers,
    ...keeping,
    failed,
    close,
  });
}

/** Returns when every accepted write is answered and in main database files, or what is in the way of that. */
async function finish(
  engine: Engine,
  journal: Journal<Write>,
  settlings: readonly Settling[],
  hasFailed: () => boolean,
): Promise<"clean" | "failed" | "held"> {
  // What settling makes room for is appended and has to be settled itself.
  while (engine.underWay > 0 || settlings.some((settling) => !settling.isClean)) {
    if (hasFailed()) return "failed";
    // Side by side: a journal without a free segment waits for checkpoints.
    const checkpointed = Promise.all(settlings.map((settling) => settling.whenCheckpointed()));
    const first = await Promise.race([journal.whenIdle(), checkpointed]);
    const areClean = first ?? (await checkpointed);
    if (areClean.includes(false)) return "held";
    await journal.whenIdle();
  }
  return hasFailed() ? "failed" : "clean";
}

/** Lets the journal overwrite the segments of which everything is in main database files. */
function retireSegments(journal: Journal<Write>, settlings: readonly Settling[]): void {
  const oldest = Math.min(journal.currentUse, ...settlings.map((settling) => settling.oldestUse));
  if (oldest - 1 > journal.retiredUse) journal.retire(oldest - 1);
}

/** With half of the ring in use, everything is settled and checkpointed, whatever the shards would do by themselves. */
function relieveRing(
  journal: Journal<Write>,
  settlings: readonly Settling[],
  use: number,
  segmentsMax: number,
): void {
  if (use - journal.retiredUse < segmentsMax / 2) return;
  for (const settling of settlings) {
    settling.order();
    settling.checkpoint();
  }
}
