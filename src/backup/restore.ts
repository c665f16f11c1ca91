/**
 * Restoring a backup into a new data directory, and verifying one.
 *
 *   root object → shards, in parallel (ledger, key set, segments, check) → keyring, journal → identity → its name
 *
 * - The directory is made under another name and gets its own at the very end, with everything in it synced
 *   (new-directory.ts). What an interrupted restore leaves opens as nothing.
 * - It gets a new incarnation and a new node id: cursors of the old one are refused, and the two are told apart.
 * - It knows which target it came from: what is erased in it later is not erased there.
 * - A directory that exists is never touched, unless it is empty.
 */
import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { writeRestoredIdentity } from "../core/data-directory.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import { type RootKeySource, readRootKey, unlockKeyring, writeKeyring } from "../core/keyring.ts";
import { limits } from "../core/limits.ts";
import { syncDirectory } from "../core/replace-file.ts";
import { createKeySlots } from "../journal/ring-files.ts";
import { shardOf } from "../shard/placement.ts";
import { shardDirectory } from "../shard/shard.ts";
import { decodeObject, missing } from "./format/container.ts";
import { type RootHeader, rootObject } from "./format/objects.ts";
import { besideBackups } from "./reading/beside-backups.ts";
import { noteRestoredFrom } from "./known-targets.ts";
import { NewDirectory, refuseExisting } from "./new-directory.ts";
import { readChain, readHead } from "./reading/chain.ts";
import { syncNewShard } from "./reading/new-shard.ts";
import { type BackupTarget, openTarget } from "./target/target.ts";
import type { RestoreTask, ShardRestored, ShardVerified, VerifyTask } from "./work/messages.ts";
import { BackupWorkers } from "./work/workers.ts";

export interface Progress {
  /** Bytes that were read, of those of all segments. */
  readonly done: number;
  readonly total: number;
}

export interface VerifyOptions {
  readonly target: string;
  /** Undefined proves only what can be proved without decrypting anything. */
  readonly rootKey?: RootKeySource | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface RestoreOptions {
  readonly target: string;
  /** The new data directory. */
  readonly to: string;
  readonly rootKey: RootKeySource;
  /** Nothing that was recorded later, ms since 1970. */
  readonly at?: number | undefined;
  /** Nothing but this entity. */
  readonly entity?: string | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface VerifyReport {
  readonly target: string;
  readonly context: string;
  readonly shards: number;
  /** True when everything was decrypted. */
  readonly decrypted: boolean;
  readonly entities: number;
  /** Entities that the ledger names. */
  readonly erased: number;
  /** Keys of subjects of personal parts that the ledger names: one for each shard that spoke of somebody. */
  readonly erasedSubjects: number;
  readonly segments: number;
  readonly rows: number;
  readonly bytes: number;
  /** `recordedAt` of the newest record in it, ms. */
  readonly lastRecordedAt: number;
  readonly elapsedMs: number;
}

export interface RestoreReport {
  readonly target: string;
  readonly dataDir: string;
  readonly context: string;
  readonly shards: number;
  readonly entities: number;
  /** Entities that the ledger kept out. */
  readonly erased: number;
  /** Keys of subjects of personal parts that it kept out: one for each shard that spoke of somebody. */
  readonly erasedSubjects: number;
  readonly events: number;
  /** Legal holds that were damaged when they were backed up: nobody can read them, and they hold until they are released. */
  readonly unreadableHolds: number;
  /** Entities, and subjects of personal parts, whose keys were damaged when they were backed up: they are left out. */
  readonly withoutKey: number;
  readonly bytes: number;
  readonly lastRecordedAt: number;
  readonly incarnation: string;
  readonly elapsedMs: number;
}

/**
 * Reads everything back that a target has. Errors: INVALID_ARGUMENT (there is no backup), CORRUPT with the object,
 * ROOT_KEY_WRONG, EVENTS_DROPPED, FORMAT_UNSUPPORTED, IO_ERROR, ABORTED (backups into the target were in the way: again, later).
 */
export async function verifyBackup(options: VerifyOptions): Promise<VerifyReport> {
  const startedAt = Date.now();
  const target = openTarget(options.target);
  const root = await readRoot(target);
  const rootKey = options.rootKey === undefined ? undefined : rootKeyOf(options.rootKey, root);
  const { context, shards, incarnation } = root;
  const tasks = allShards(shards).map(
    (shard): VerifyTask => ({ type: "verify", target: target.name, shard, context, incarnation, rootKey }),
  );
  const { done } = await runTasks<VerifyTask>(target, tasks, options);
  return {
    target: target.name,
    context,
    shards,
    decrypted: rootKey !== undefined,
    entities: sum(done, ({ entities }) => entities),
    erased: sum(done, ({ erased }) => erased),
    erasedSubjects: sum(done, ({ erasedSubjects }) => erasedSubjects),
    segments: sum(done, ({ segments }) => segments),
    rows: sum(done, ({ rows }) => rows),
    bytes: sum(done, ({ bytes }) => bytes),
    lastRecordedAt: Math.max(...done.map((shard) => shard.lastRecordedAt)),
    elapsedMs: Date.now() - startedAt,
  };
}

/**
 * Makes a data directory of what a target has. Errors: INVALID_ARGUMENT (there is no backup, or the directory exists),
 * CORRUPT with the object, ROOT_KEY_MISSING, ROOT_KEY_WRONG, EVENTS_DROPPED, FORMAT_UNSUPPORTED, IO_ERROR, DISK_FULL, ABORTED
 * (backups into the target were in the way: again, later).
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const startedAt = Date.now();
  const target = openTarget(options.target);
  const dataDir = resolve(options.to);
  refuseExisting(dataDir);
  const root = await readRoot(target);
  const rootKey = rootKeyOf(options.rootKey, root);
  let made: NewDirectory | undefined;
  try {
    made = new NewDirectory(dataDir);
    const { staged } = made;
    const { done, total } = await restoreShards(target, root, rootKey, staged, options);
    noteRestoredFrom(staged, target.name, Math.min(...done.map(({ backedUpAt }) => backedUpAt)));
    const incarnation = finish(staged, root);
    made.complete();
    const { context, shards } = root;
    return {
      target: target.name,
      dataDir,
      context,
      shards,
      entities: sum(done, ({ entities }) => entities),
      erased: sum(done, ({ erased }) => erased),
      erasedSubjects: sum(done, ({ erasedSubjects }) => erasedSubjects),
      events: sum(done, ({ events }) => events),
      unreadableHolds: sum(done, ({ unreadableHolds }) => unreadableHolds),
      withoutKey: sum(done, ({ withoutKey }) => withoutKey),
      bytes: total,
      lastRecordedAt: Math.max(...done.map((shard) => shard.lastRecordedAt)),
      incarnation,
      elapsedMs: Date.now() - startedAt,
    };
  } catch (thrown) {
    made?.discard();
    throw toWarpError(thrown, "IO_ERROR", { file: dataDir });
  }
}

async function restoreShards(
  target: BackupTarget,
  root: RootHeader,
  rootKey: Uint8Array,
  staged: string,
  { at, entity, onProgress }: RestoreOptions,
): Promise<{ done: ShardRestored[]; total: number }> {
  const { context, shards, incarnation, keyring } = root;
  const tasks = allShards(shards).map(
    (shard): RestoreTask => ({
      ...{ type: "restore", target: target.name, shard, context, incarnation, dataDir: staged, shards },
      ...{ rootKey, keyring, at, entity },
    }),
  );
  const syncing: Promise<void>[] = [];
  const onDone = ({ shard }: ShardRestored) => {
    const synced = syncNewShard(shardDirectory(staged, shard));
    // Its failure is thrown below, when the other shards are done.
    synced.catch(() => undefined);
    syncing.push(synced);
  };
  let ran: { done: ShardRestored[]; total: number };
  try {
    ran = await runTasks<RestoreTask>(target, tasks, { onProgress, onDone });
  } finally {
    // Also after a failure: nothing may be under way in a directory that is removed.
    await Promise.allSettled(syncing);
  }
  await Promise.all(syncing);
  const { done } = ran;
  const own = entity === undefined ? undefined : done[shardOf(entity, shards)];
  if (own !== undefined && own.entities === 0) {
    const orDamaged = own.withoutKey > 0 ? ", or its key was damaged when it was backed up" : "";
    const why = `the backup has no entity ${JSON.stringify(entity)}${orDamaged}`;
    throw new WarpError("INVALID_ARGUMENT", why, { entity });
  }
  return ran;
}

type Done<Task extends VerifyTask | RestoreTask> = Extract<
  ShardRestored | ShardVerified,
  { type: Task["type"] }
>;

interface Hearing<Task extends VerifyTask | RestoreTask> {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Of each shard when it is done. */
  readonly onDone?: (result: Done<Task>) => void;
}

/** Runs a task per shard, with progress over the segments of all of them. */
async function runTasks<Task extends VerifyTask | RestoreTask>(
  target: BackupTarget,
  tasks: readonly Task[],
  { onProgress, onDone }: Hearing<Task>,
): Promise<{ done: Done<Task>[]; total: number }> {
  let total = 0;
  for (const { shard } of tasks) total += await bytesOf(target, shard);
  let read = 0;
  onProgress?.({ done: read, total });
  const workers = new BackupWorkers(Math.min(tasks.length, availableParallelism()));
  try {
    const onBytes = (_: number, bytes: number) => {
      read += bytes;
      onProgress?.({ done: Math.min(total, read), total });
    };
    const done = await workers.run<Task>(tasks, "by whoever is free", {
      onBytes,
      onDone: (result) => onDone?.(result as Done<Task>),
    });
    onProgress?.({ done: total, total });
    return { done: done as Done<Task>[], total };
  } finally {
    await workers.close();
  }
}

/** The bytes of a shard's segments. */
async function bytesOf(target: BackupTarget, shard: number): Promise<number> {
  const nothing = () => undefined;
  return await besideBackups(target, shard, nothing, async () => {
    const head = await readHead(target, shard);
    if (head === undefined) return 0;
    return sum((await readChain(target, head)).segments, ({ header }) => header.bytes);
  });
}

/** Everything that is no shard's, and at last the identity. Returns its incarnation. */
function finish(staged: string, root: RootHeader): string {
  const journal = join(staged, "journal");
  mkdirSync(journal, { mode: 0o700 });
  createKeySlots(journal, limits.segmentsMax);
  writeKeyring(staged, root.keyring);
  syncDirectory(join(staged, "shards"));
  const incarnation = writeRestoredIdentity(staged, root);
  syncDirectory(staged);
  return incarnation;
}

async function readRoot(target: BackupTarget): Promise<RootHeader> {
  const bytes = await target.get(rootObject);
  if (bytes !== undefined) {
    return decodeObject<RootHeader>(bytes, rootObject);
  }
  if ((await readHead(target, 0)) !== undefined) throw missing(rootObject);
  const why = `${target.name} has no backup: there is no ${rootObject}`;
  throw new WarpError("INVALID_ARGUMENT", why, { target: target.name });
}

/** The root key, when it opens the backup. Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG. */
function rootKeyOf(source: RootKeySource, { keyring, context }: RootHeader): Uint8Array {
  const rootKey = readRootKey({ rootKey: source, dataDir: "" });
  unlockKeyring(keyring, rootKey, context, rootObject);
  return rootKey;
}

function allShards(count: number): number[] {
  return Array.from({ length: count }, (_, shard) => shard);
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
