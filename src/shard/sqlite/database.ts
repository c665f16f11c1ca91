/**
 * How Warp uses SQLite: opening with every pragma, transactions, checkpoints, and the `meta` row of each file.
 *
 * - One statement per `run`: SQLite's wrapper would drop the error of a later one.
 * - A statement that fails may leave the transaction open or may have rolled it back; `transact` looks.
 * - All integers are below 2^53, so they come back as exact numbers.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, existsSync, fsyncSync, openSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { assert, type ErrorCode, type ErrorDetails, toWarpError, WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { syncDirectory } from "../../core/replace-file.ts";

/** One size for all files: 8 KiB settles as fast as 16 KiB and a third faster than 4 KiB, and wastes less. */
export const pageBytes = 8192;
/** A page in the WAL, with its header. */
const walFrameBytes = pageBytes + 24;
/** A reader waits this long for a checkpoint that restarts the WAL, and a checkpoint for a reader. */
const busyTimeoutMs = 5000;
/** Where it is asked again anyway. */
const shortBusyTimeoutMs = 100;
const checkpointPollMs = 5;

export interface DatabaseOptions {
  readonly access: "read" | "write";
  /** FULL syncs the WAL at each commit, NORMAL at each checkpoint; either way the file is never corrupt. */
  readonly synchronous: "NORMAL" | "FULL";
  readonly cacheBytes: number;
}

export function openDatabase(path: string, options: DatabaseOptions): Database {
  const isWriter = options.access === "write";
  if (isWriter) syncNames(path);
  return guard(path, () => {
    const database = new Database(path, isWriter ? { readwrite: true, create: true } : { readonly: true });
    try {
      for (const pragma of isWriter ? writerPragmas(options) : readerPragmas(options)) {
        database.run(`PRAGMA ${pragma}`);
      }
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  });
}

/** An earlier process may have removed a WAL, as SQLite does when it closes: without a sync a power failure could bring it back. */
export function syncNames(path: string): void {
  try {
    syncDirectory(dirname(path));
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}

function writerPragmas(options: DatabaseOptions): string[] {
  return [
    `page_size = ${pageBytes}`,
    // Readers see the last commit while the writer writes, and a commit is an append to one file.
    "journal_mode = WAL",
    // The journal replays what a power failure takes from a WAL that was not synced.
    `synchronous = ${options.synchronous}`,
    // Checkpoints cost syncs: the writer decides when, between rounds.
    "wal_autocheckpoint = 0",
    // The WAL's file is used again as it is: truncating it costs its blocks and its pages in memory each time.
    `journal_size_limit = ${8 * limits.walBytesMax}`,
    // Nothing of a statement spills into a file that no erasure would find.
    "temp_store = MEMORY",
    `cache_size = ${-Math.ceil(options.cacheBytes / 1024)}`,
    `busy_timeout = ${busyTimeoutMs}`,
    // A schema that was tampered with cannot call functions.
    "trusted_schema = OFF",
  ];
}

function readerPragmas(options: DatabaseOptions): string[] {
  return [
    "query_only = ON",
    "temp_store = MEMORY",
    `cache_size = ${-Math.ceil(options.cacheBytes / 1024)}`,
    `busy_timeout = ${busyTimeoutMs}`,
    "trusted_schema = OFF",
  ];
}

/** Runs `work` in one transaction. Whatever it throws undoes all of it and is thrown on as a WarpError. */
export function transact<Result>(
  database: Database,
  path: string,
  kind: "IMMEDIATE" | "DEFERRED",
  work: () => Result,
): Result {
  return guard(path, () => {
    try {
      database.run(`BEGIN ${kind}`);
      const result = work();
      database.run("COMMIT");
      return result;
    } catch (error) {
      if (database.inTransaction) database.run("ROLLBACK");
      throw error;
    }
  });
}

/** As {@link transact}, and on the disk when it returns: the WAL is synced, whoever reads an older state meanwhile. */
export function transactSynced<Result>(database: Database, path: string, work: () => Result): Result {
  return guard(path, () => {
    database.run("PRAGMA synchronous = FULL");
    try {
      return transact(database, path, "IMMEDIATE", work);
    } finally {
      database.run("PRAGMA synchronous = NORMAL");
    }
  });
}

interface CheckpointRow {
  readonly busy: number;
  readonly log: number;
  readonly checkpointed: number;
}

/** BRIEF is TRUNCATE for whoever asks again: it hardly waits. */
export type CheckpointMode = "PASSIVE" | "TRUNCATE" | "BRIEF";

/**
 * Copies the WAL into the main file and syncs it; true when nothing of the WAL remains to be copied. PASSIVE waits for
 * nobody; TRUNCATE waits for readers, and for another checkpoint, and leaves an empty WAL.
 */
export function checkpoint(database: Database, path: string, mode: CheckpointMode): boolean {
  return guard(path, () => {
    if (mode === "PASSIVE") return isCopied(checkpointOnce(database, "PASSIVE"));
    if (mode === "TRUNCATE") return copyAndEmpty(database, busyTimeoutMs);
    database.run(`PRAGMA busy_timeout = ${shortBusyTimeoutMs}`);
    try {
      return copyAndEmpty(database, shortBusyTimeoutMs);
    } finally {
      database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    }
  });
}

/** SQLite itself waits for readers and writers, but never for another connection's checkpoint. */
function copyAndEmpty(database: Database, waitMs: number): boolean {
  const giveUpAt = performance.now() + waitMs;
  for (;;) {
    const row = checkpointOnce(database, "TRUNCATE");
    if (hasRun(row) || performance.now() >= giveUpAt) return isCopied(row);
    Bun.sleepSync(checkpointPollMs);
  }
}

function checkpointOnce(database: Database, mode: "PASSIVE" | "TRUNCATE"): CheckpointRow {
  const row = database.query<CheckpointRow, []>(`PRAGMA wal_checkpoint(${mode})`).get();
  assert(row !== null, "a checkpoint has a row");
  return row;
}

/** False when another connection was at it: then both counts are -1, and nothing was copied. */
function hasRun({ busy, log }: CheckpointRow): boolean {
  return busy === 0 || log >= 0;
}

/** "Busy" may only mean that the WAL could not be emptied: what is counted as copied is synced all the same. */
function isCopied(row: CheckpointRow): boolean {
  return hasRun(row) && row.log === row.checkpointed;
}

/** Bytes of the WAL that a checkpoint has not copied yet. */
export function walBytesOf(database: Database, path: string): number {
  return guard(path, () => {
    const result = database.query<CheckpointRow, []>("PRAGMA wal_checkpoint(NOOP)").get();
    return result === null ? 0 : Math.max(0, result.log - result.checkpointed) * walFrameBytes;
  });
}

/** Length of the WAL's file: what was copied stays in it until it is written over, or truncated by a checkpoint. */
function walFileBytesOf(path: string): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

/** Copies the WAL into the main file and leaves nothing in the WAL's own, on the disk. False when a reader was in the way. */
export function emptyWal(database: Database, path: string, mode: "TRUNCATE" | "BRIEF"): boolean {
  return checkpoint(database, path, mode) && isWalEmptied(path);
}

/**
 * True when the WAL's file is empty, on the disk: SQLite does not sync what it truncates, and a power failure could bring it back.
 * Errors: IO_ERROR.
 */
export function isWalEmptied(path: string): boolean {
  if (walFileBytesOf(path) > 0) return false;
  const wal = `${path}-wal`;
  if (!existsSync(wal)) return true;
  try {
    // Closing it takes no lock from SQLite, which locks bytes of the main file and of the index alone.
    const file = openSync(wal, "r");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: wal });
  }
  return true;
}

/** Runs `work` and gives what SQLite throws a code of ours. */
export function guard<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
    const details: ErrorDetails = { file: path };
    throw toWarpError(error, codeOf(error), details);
  }
}

function codeOf(error: SQLiteError): ErrorCode {
  const code = error.code ?? "";
  const isDamage = /^SQLITE_(CORRUPT|NOTADB|CONSTRAINT|MISMATCH|FORMAT)/.test(code);
  return isDamage ? "CORRUPT" : "IO_ERROR";
}

/** The one row of each file's `meta` table. */
export interface Meta {
  readonly shard: number;
  /** All records of the shard up to here are in this file. */
  readonly position: number;
  /** The number that the next new entity gets. */
  readonly nextNumber: number;
  /** `recordedAt` of the newest settled record, ms; 0 in names.db. */
  readonly lastRecordedAt: number;
  readonly epoch: number;
}

/** 2 since runs.db has the table `personal`; files of format 1 were never part of a release. */
export const shardFormat = 2;

/** How the `meta` table is declared. */
export const metaSchema = `CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  position INTEGER NOT NULL,
  nextNumber INTEGER NOT NULL,
  lastRecordedAt REAL NOT NULL,
  epoch INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT`;

const putMeta = `INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
  format = excluded.format, shard = excluded.shard, position = excluded.position, nextNumber = excluded.nextNumber,
  lastRecordedAt = excluded.lastRecordedAt, epoch = excluded.epoch, checksum = excluded.checksum`;

interface MetaRow extends Meta {
  readonly format: number;
  readonly checksum: number;
}

/**
 * Makes the tables of a new file and its meta row, synced into the main file.
 * Where the vault is, which is made last, the tables were made: without them the file is damaged, and never made anew.
 */
export function prepareSchema(
  database: Database,
  path: string,
  shard: number,
  schema: readonly string[],
): void {
  const hasVault = existsSync(join(dirname(path), "vault"));
  transact(database, path, "IMMEDIATE", () => {
    if (database.query("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() !== null) return;
    if (hasVault) throw new WarpError("CORRUPT", `${path} is damaged: its tables are gone`, { file: path });
    database.run(metaSchema);
    for (const statement of schema) database.run(statement);
    writeMeta(database, { shard, position: 0, nextNumber: 1, lastRecordedAt: 0, epoch: 1 });
  });
  // A process that was killed may have made them and not synced them.
  if (!hasVault && !checkpoint(database, path, "TRUNCATE")) {
    throw new WarpError("IO_ERROR", `${path}: its new tables could not be synced`, { file: path });
  }
}

/** Errors: CORRUPT, FORMAT_UNSUPPORTED, CONFIG_MISMATCH. */
export function readMeta(database: Database, path: string, shard: number): Meta {
  const row = guard(path, () => database.query<MetaRow, []>("SELECT * FROM meta WHERE id = 1").get());
  if (row === null) throw new WarpError("CORRUPT", `${path} has no meta row`, { file: path });
  if (row.checksum !== metaChecksum(row.format, row)) {
    throw new WarpError("CORRUPT", `${path}: the checksum of the meta row does not match`, { file: path });
  }
  if (row.format !== shardFormat) {
    throw new WarpError("FORMAT_UNSUPPORTED", `${path} has format ${row.format}, known is ${shardFormat}`, {
      file: path,
    });
  }
  if (row.shard !== shard) {
    throw new WarpError("CONFIG_MISMATCH", `${path} belongs to shard ${row.shard}, not ${shard}`, {
      file: path,
    });
  }
  const { position, nextNumber, lastRecordedAt, epoch } = row;
  return { shard, position, nextNumber, lastRecordedAt, epoch };
}

/** Inside a transaction. */
export function writeMeta(database: Database, meta: Meta): void {
  const { shard, position, nextNumber, lastRecordedAt, epoch } = meta;
  const checksum = metaChecksum(shardFormat, meta);
  database.query(putMeta).run(shardFormat, shard, position, nextNumber, lastRecordedAt, epoch, checksum);
}

function metaChecksum(format: number, meta: Meta): number {
  return rowChecksum([format, meta.shard, meta.position, meta.nextNumber, meta.lastRecordedAt, meta.epoch]);
}

/** CRC-32 of numbers as little-endian f64 and bytes behind them: for rows that no tag protects. */
export function rowChecksum(numbers: readonly number[], bytes: Uint8Array = new Uint8Array(0)): number {
  const head = Buffer.from(Float64Array.from(numbers).buffer);
  return Bun.hash.crc32(bytes, Bun.hash.crc32(head));
}
