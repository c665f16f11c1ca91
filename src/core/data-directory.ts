/**
 * The data directory as a whole: who it is (`warp.json`) and that one process alone has it open (`lock.db`).
 *
 * - The lock is an exclusive SQLite transaction: it holds among processes and within one, and dies with its holder.
 * - Whether a directory is new is decided under the lock.
 * - `warp.json` is written before anything else with state "creating" and again when the directory is complete, so
 *   that a directory that lost it is never taken for a new one.
 */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { toWarpError, WarpError } from "./errors.ts";
import { limits } from "./limits.ts";
import { replaceFile, syncDirectory } from "./replace-file.ts";

export const directoryFormat = 1;
export const identityName = "warp.json";
/** Of the folder in which a restore into an existing directory makes its files, until they are whole. */
export const restoringPrefix = ".restoring-";
export const lockName = "lock.db";

export interface Identity {
  readonly format: number;
  readonly state: "creating" | "ready";
  readonly context: string;
  readonly shards: number;
  readonly nodeId: string;
  /** New after every restore: cursors of another incarnation are refused. */
  readonly incarnation: string;
  readonly createdAt: string;
}

export interface DataDirectory {
  readonly path: string;
  readonly identity: Identity;
  /** Says that everything that belongs in a new directory is there. */
  markReady(): void;
  unlock(): void;
}

export interface DirectoryRequest {
  readonly path: string;
  /** Undefined takes what the directory has, or "default" for a new one. */
  readonly context: string | undefined;
  /** Undefined takes what the directory has, or 16 for a new one. */
  readonly shards: number | undefined;
  /** False refuses to make a directory. */
  readonly create: boolean;
}

/** Locks a data directory and reads its identity, or begins a new one. */
export function openDataDirectory(request: DirectoryRequest): DataDirectory {
  const { path } = request;
  const exists = () => existsSync(join(path, identityName));
  // Nothing is made for a caller who says that it is there.
  if (!request.create && !exists()) throw notThere(path);
  makeDirectory(path);
  const unlock = lock(path);
  try {
    // Only under the lock: another process may have made it, and ended, a moment ago.
    const isThere = exists();
    if (!isThere) {
      if (!request.create) throw notThere(path);
      refuseRemains(path);
    }
    // A process that was killed may have replaced files here and not synced their names; what is done now relies on them.
    if (isThere) syncNames(path);
    const found = isThere ? readIdentity(path) : undefined;
    const identity = found === undefined ? newIdentity(request) : askedAnew(found, request);
    requireSame(identity, request);
    if (identity !== found) writeIdentity(path, identity);
    return {
      path,
      identity,
      markReady: () => {
        if (identity.state !== "ready") writeIdentity(path, { ...identity, state: "ready" });
      },
      unlock,
    };
  } catch (thrown) {
    unlock();
    throw thrown;
  }
}

function notThere(path: string): WarpError {
  const why = `${path} is not a Warp data directory: it has no ${identityName}`;
  return new WarpError("INVALID_ARGUMENT", why, { file: path });
}

/** The identity without the lock, for reading about a directory. */
export function readIdentity(path: string): Identity {
  const file = join(path, identityName);
  const damaged = (why: string) => new WarpError("CORRUPT", `${file} is damaged: ${why}`, { file });
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    throw damaged(thrown instanceof Error ? thrown.message : String(thrown));
  }
  if (typeof parsed !== "object" || parsed === null) throw damaged("it is not an object");
  const identity = parsed as Identity;
  if (identity.format !== directoryFormat) {
    throw new WarpError(
      "FORMAT_UNSUPPORTED",
      `${path} has data format ${String(identity.format)}; this version reads ${directoryFormat}`,
      { file, format: identity.format },
    );
  }
  const { context, shards } = identity;
  if (typeof context !== "string" || !Number.isInteger(shards)) throw damaged("context or shards is missing");
  return identity;
}

function newIdentity(request: DirectoryRequest): Identity {
  const shards = request.shards ?? 16;
  if (!Number.isInteger(shards) || shards < 1 || shards > limits.shardsMax) {
    throw new WarpError("INVALID_ARGUMENT", `shards is 1 to ${limits.shardsMax}, not ${shards}`);
  }
  const context = request.context ?? "default";
  if (!/^[\w.-]{1,64}$/.test(context)) {
    throw new WarpError(
      "INVALID_ARGUMENT",
      `a context is named by 1 to 64 of a-z A-Z 0-9 _ . -, not ${context}`,
    );
  }
  return {
    format: directoryFormat,
    state: "creating",
    context,
    shards,
    nodeId: crypto.randomUUID(),
    incarnation: crypto.randomUUID(),
    createdAt: new Date().toISOString(),
  };
}

/** A start that ended before it had a root key has made nothing, and settles nothing: what is asked for now counts. */
function askedAnew(found: Identity, request: DirectoryRequest): Identity {
  const { context = found.context, shards = found.shards } = request;
  const isSame = context === found.context && shards === found.shards;
  if (isSame || !request.create || found.state !== "creating") return found;
  if (remainsIn(readdirSync(request.path)) !== undefined) return found;
  return newIdentity({ ...request, context, shards });
}

/** Makes a directory that a restore has filled a data directory of its own. Returns its incarnation. */
export function writeRestoredIdentity(path: string, of: Pick<Identity, "context" | "shards">): string {
  const { context, shards } = of;
  const identity = newIdentity({ path, context, shards, create: true });
  writeIdentity(path, { ...identity, state: "ready" });
  return identity.incarnation;
}

function requireSame(identity: Identity, request: DirectoryRequest): void {
  if (request.shards !== undefined && request.shards !== identity.shards) {
    throw new WarpError(
      "CONFIG_MISMATCH",
      `${request.path} was made with ${identity.shards} shards, which cannot change; ${request.shards} were asked for`,
      { shards: identity.shards, asked: request.shards },
    );
  }
  if (request.context !== undefined && request.context !== identity.context) {
    throw new WarpError(
      "CONFIG_MISMATCH",
      `${request.path} holds context ${identity.context}, not ${request.context}`,
      { context: identity.context, asked: request.context },
    );
  }
}

/** A directory with Warp's files but without its identity was restored halfway or has been damaged; it is not a new one. */
function refuseRemains(path: string): void {
  const names = readdirSync(path);
  const restoring = names.find((name) => name.startsWith(restoringPrefix));
  if (restoring !== undefined) {
    const why = `a restore into it is under way or was interrupted, and left ${restoring}`;
    throw new WarpError("INVALID_ARGUMENT", `${path}: ${why}`, { file: join(path, restoring) });
  }
  const remains = remainsIn(names);
  if (remains === undefined) return;
  const file = join(path, identityName);
  throw new WarpError("CORRUPT", `${file} is missing, and ${remains} is there: this was a data directory`, {
    file,
  });
}

/** Something that a data directory has once there is a key for it. */
function remainsIn(names: readonly string[]): string | undefined {
  return names.find((name) => ["keyring.json", "journal", "shards"].includes(name));
}

/** Makes a directory with all above it; returns when their names are on the disk. */
export function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  let made = resolve(path);
  for (; made.length >= resolve(first).length; made = dirname(made)) syncDirectory(dirname(made));
}

function syncNames(path: string): void {
  try {
    syncDirectory(path);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}

function writeIdentity(path: string, identity: Identity): void {
  replaceFile(join(path, identityName), `${JSON.stringify(identity, undefined, 2)}\n`);
}

function lock(path: string): () => void {
  const file = join(path, lockName);
  let database: Database | undefined;
  try {
    database = new Database(file, { create: true });
    database.exec("PRAGMA busy_timeout = 0");
    database.exec("BEGIN EXCLUSIVE");
  } catch (thrown) {
    database?.close();
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
    if (code.startsWith("SQLITE_BUSY")) {
      throw new WarpError("DIRECTORY_LOCKED", `${path} is open in another process, or twice in this one`, {
        file,
      });
    }
    throw toWarpError(thrown, "IO_ERROR", { file });
  }
  const held = database;
  return () => held.close();
}
