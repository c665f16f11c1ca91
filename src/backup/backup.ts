/**
 * Backing up an open context: which shards, into which target, one backup at a time.
 *
 * - The keyring is read once per backup and goes into the target first, so whatever the backup contains can be opened
 *   with the root key.
 * - A backup that fails leaves the target as good as it was before, and never fails the engine.
 * - One that lacks the keys of entities whose slots are damaged counts as any other, and its command ends with an error.
 */
import { availableParallelism } from "node:os";
import type { Settling } from "../actor/storage/settling.ts";
import type { BackupReport } from "../core/backup-report.ts";
import type { DataDirectory, Identity } from "../core/data-directory.ts";
import { WarpError } from "../core/errors.ts";
import { type KeyringFile, readKeyring } from "../core/keyring.ts";
import type { PeriodKeys } from "../core/period-keys.ts";
import { raceLasting } from "../core/race-lasting.ts";
import { decodeObject, encodeObject } from "./format/container.ts";
import { type RootHeader, rootObject } from "./format/objects.ts";
import type { KnownTarget, KnownTargets } from "./known-targets.ts";
import { type BackupTarget, openTarget } from "./target/target.ts";
import type { BackupTask, ShardBackedUp } from "./work/messages.ts";
import { StopFlag } from "./work/stop-flag.ts";
import { BackupWorkers } from "./work/workers.ts";

export interface BackupOptions {
  /** How long after this backup the next one begins, ms, if they are continuous; for the receipts of erasures. */
  readonly everyMs?: number | undefined;
  /** False takes what is settled and waits for nothing. Default true: everything that is durable now. */
  readonly settle?: boolean | undefined;
  /** Hears of the bytes that were written, as they are. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
  /** Ends it early, with ABORTED; the backup before it stays as it was. */
  readonly signal?: AbortSignal | undefined;
}

export interface BackupsOptions {
  readonly directory: DataDirectory;
  readonly known: KnownTargets;
  readonly periods: PeriodKeys;
  /** What ids are hashed with. */
  readonly idHashKey: Uint8Array;
  readonly settlings: readonly Settling[];
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

/** A backup that has everything but keys that nobody can read. */
export class BackedUpWithoutKeys extends WarpError {
  readonly report: BackupReport;

  constructor(
    report: BackupReport,
    { message, details }: Pick<WarpError, "message" | "details">,
    entities: number,
  ) {
    const others = entities === 1 ? "" : ` and ${entities - 1} more`;
    super("CORRUPT", `${message}${others}; everything else is backed up`, { ...details, entities });
    this.report = report;
  }
}

export class Backups {
  readonly #options: BackupsOptions;
  readonly #known: KnownTargets;
  readonly #positions = new Map<string, readonly number[]>();
  #workers: BackupWorkers | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: BackupsOptions) {
    this.#options = options;
    this.#known = options.known;
  }

  /** The targets that this directory was ever backed up into. */
  get targets(): readonly KnownTarget[] {
    return this.#known.all;
  }

  /**
   * Backs up everything that is durable now. Errors: CONFIG_MISMATCH (the target holds another backup), CORRUPT
   * ({@link BackedUpWithoutKeys} when all else is backed up), IO_ERROR, DISK_FULL, ABORTED, CLOSED.
   */
  run(target: string, options: BackupOptions = {}): Promise<BackupReport> {
    return this.apart(async () => {
      const stop = new StopFlag();
      const onAbort = () => stop.set();
      const { signal } = options;
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted) onAbort();
      try {
        return await this.#run(openTarget(target), options, stop);
      } finally {
        signal?.removeEventListener("abort", onAbort);
      }
    });
  }

  /** Does something while no backup is made. Errors: CLOSED, its own. */
  apart<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#running.then(() => {
      if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
      return work();
    });
    this.#running = done.catch(() => undefined);
    return done;
  }

  /** Up to where a shard is in a backup that this process made; 0 when there is none. */
  backedUpTo(shard: number): number {
    return Math.max(0, ...[...this.#positions.values()].map((positions) => positions[shard] ?? 0));
  }

  /** Waits for the backup under way and takes no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    await this.#workers?.close();
  }

  async #run(
    target: BackupTarget,
    { onProgress, everyMs, settle: isComplete = true }: BackupOptions,
    stop: StopFlag,
  ): Promise<BackupReport> {
    stop.requireUnset();
    const startedAt = Date.now();
    const { directory, periods, idHashKey } = this.#options;
    const { path: dataDir, identity } = directory;
    const { context, shards, incarnation } = identity;
    if (isComplete) await this.#settle();
    const file = readKeyring(dataDir);
    const isNewTarget = await keepRoot(target, identity, file);
    this.#known.begin(target.name, everyMs);
    const tasks = Array.from(
      { length: shards },
      (_, shard): BackupTask => ({
        ...{ type: "backup", target: target.name, shard, context, incarnation, dataDir },
        ...{
          keyring: file,
          periods: periods.memory,
          idHashKey,
          isNewTarget,
          stop: stop.memory,
        },
      }),
    );
    this.#workers ??= new BackupWorkers(Math.min(shards, availableParallelism()));
    // One that nobody waits for takes one processor at most.
    const how = isComplete ? "at once" : "in turn";
    const done = await this.#workers.run(tasks, how, { onBytes: (_, bytes) => onProgress?.(bytes) });
    const positions = done.map(({ position }) => position);
    this.#positions.set(target.name, positions);
    this.#known.finish(target.name, startedAt);
    const sum = (of: (shard: ShardBackedUp) => number) => done.reduce((total, shard) => total + of(shard), 0);
    const report: BackupReport = {
      target: target.name,
      startedAt,
      elapsedMs: Date.now() - startedAt,
      shards,
      segments: sum(({ segments }) => segments),
      rows: sum(({ rows }) => rows),
      bytes: sum(({ bytes }) => bytes),
      keyObjects: sum(({ keyObjects }) => keyObjects),
      positions,
    };
    const first = done.find(({ damaged }) => damaged !== undefined)?.damaged?.first;
    if (first === undefined) return report;
    throw new BackedUpWithoutKeys(
      report,
      first,
      sum(({ damaged }) => damaged?.numbers ?? 0),
    );
  }

  /** Settles everything that is durable now. */
  async #settle(): Promise<void> {
    const { settlings, failed } = this.#options;
    const settled = Promise.all(settlings.map((settling) => settling.whenCaughtUp()));
    const failure = await raceLasting(
      settled.then(() => undefined),
      failed,
    );
    if (failure !== undefined) throw failure;
  }
}

/** Makes a new target this context's, or makes sure that it is; true for a new one. */
async function keepRoot(target: BackupTarget, identity: Identity, keyring: KeyringFile): Promise<boolean> {
  const { context, shards, incarnation } = identity;
  const bytes = await target.get(rootObject);
  const known = bytes === undefined ? undefined : decodeObject<RootHeader>(bytes, rootObject);
  if (known !== undefined) {
    const why =
      known.context !== context
        ? `of the context ${known.context}`
        : known.incarnation !== incarnation || known.shards !== shards
          ? "of another data directory, or of this one before it was restored"
          : undefined;
    if (why !== undefined) {
      const text = `${target.name} holds the backup ${why}; choose another target`;
      throw new WarpError("CONFIG_MISMATCH", text, { target: target.name, context: known.context });
    }
    if (JSON.stringify(known.keyring) === JSON.stringify(keyring)) return false;
  }
  const createdAt = known?.createdAt ?? new Date().toISOString();
  const root: RootHeader = { kind: "backup", context, shards, incarnation, createdAt, keyring };
  await target.replace(rootObject, [encodeObject(root)]);
  return known === undefined;
}
