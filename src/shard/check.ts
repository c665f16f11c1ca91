/**
 * Verifies everything in the files of shards that can be verified, and writes nothing.
 *
 * - SQLite's structure, indexes, schema and meta rows; every vault slot; the ledger; every name; every run, snapshot, caller key
 *   and hold by its tag, entries and their order; delivery windows and filters by checksum.
 * - Any flipped byte of the vault, names.db or runs.db is found, or stands where nothing is kept. A test proves it.
 * - Findings come in the order in which they should be looked at: what is nearest to the disk first.
 *
 * No other process may have the directory open. Records that are journalled but not settled are not looked at.
 */
import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  checkCallerKeys,
  checkDeliveries,
  checkFilterFiles,
  checkHolds,
  checkIdFilter,
  checkSnapshots,
} from "./check/beside.ts";
import { checkLedger, checkNames, checkVault, EntityMarks } from "./check/entities.ts";
import { damage, type Finding, part } from "./check/finding.ts";
import { checkBatches, checkPersonal, checkRuns, type HistoryFiles } from "./check/history.ts";
import { checkStructure, openToCheck } from "./check/structure.ts";
import { type Meta, readMeta } from "./sqlite/database.ts";
import { namesSchema } from "./files/names.ts";
import { runsSchema } from "./files/runs.ts";
import { shardAssociated } from "./files/sealed.ts";
import { Vault } from "./files/vault.ts";
import { shardDirectory } from "./shard.ts";

export type { Finding } from "./check/finding.ts";

export interface CheckOptions {
  readonly dataDir: string;
  readonly context: string;
  /** The shards to check. */
  readonly shards: readonly number[];
  /** All shards of the context: which of them an id belongs to follows from it. */
  readonly shardCount: number;
  readonly periods: SharedArrayBuffer;
}

const cachedKeysMax = 4096;

/** What is wrong with the files of shards, one finding at a time; nothing when all is well. */
export function* checkShards(options: CheckOptions): Generator<Finding> {
  for (const shard of options.shards) yield* checkShard(shard, options);
}

function* checkShard(shard: number, options: CheckOptions): Generator<Finding> {
  const directory = shardDirectory(options.dataDir, shard);
  const folder = `shards/${directory.split("/").at(-1)}`;
  const missing = ["vault", "names.db", "runs.db", "ledger"].filter(
    (name) => !existsSync(join(directory, name)),
  );
  for (const name of missing) yield damage(`${folder}/${name}`, "it is missing");
  if (missing.length > 0) return;

  const opened: { close(): void }[] = [];
  try {
    const names = yield* openDatabase(directory, folder, "names.db", opened);
    const runs = yield* openDatabase(directory, folder, "runs.db", opened);
    const vault = yield* openVault(directory, folder, shard, options, opened);
    yield* part(`${folder}/ids.filter`, checkFilterFiles(directory, folder));
    const namesMeta = yield* checkDatabase(names, directory, folder, "names.db", shard, namesSchema);
    const runsMeta = yield* checkDatabase(runs, directory, folder, "runs.db", shard, runsSchema);
    if (names === undefined || runs === undefined || vault === undefined) return;
    if (namesMeta === undefined || runsMeta === undefined) return;

    const marks = new EntityMarks(vault.slots);
    const nextNumber = Math.max(namesMeta.nextNumber, runsMeta.nextNumber);
    const vaultFile = `${folder}/vault`;
    yield* part(vaultFile, checkVault(vault, join(directory, "vault"), vaultFile, nextNumber, marks));
    const ledger = { path: join(directory, "ledger"), context: options.context, shard };
    yield* part(`${folder}/ledger`, checkLedger(runs, ledger, `${folder}/ledger`, marks));
    const place = { shard, shardCount: options.shardCount };
    yield* part(`${folder}/names.db`, checkNames(names, `${folder}/names.db`, place, namesMeta, marks));
    yield* part(`${folder}/ids.filter`, checkIdFilter(names, directory, `${folder}/ids.filter`));
    const associated = shardAssociated(options.context, shard);
    yield* checkRunsFile(
      { directory, runs, file: `${folder}/runs.db`, meta: runsMeta, vault, associated, marks },
      vault.slots,
    );
  } finally {
    for (const file of opened) file.close();
  }
}

function* checkRunsFile(files: HistoryFiles, slots: number): Generator<Finding> {
  const tips = new Float64Array(slots + 1);
  let batches: readonly number[] = [];
  yield* part(
    files.file,
    (function* () {
      batches = yield* checkBatches(files);
    })(),
  );
  const onEntity = (number: number, tip: number) => {
    tips[number] = tip;
  };
  const tipOf = (number: number) => tips[number] ?? 0;
  yield* part(files.file, checkRuns(files, batches, onEntity));
  yield* part(files.file, checkPersonal(files));
  yield* part(files.file, checkSnapshots(files, tipOf));
  yield* part(files.file, checkCallerKeys(files, tipOf));
  yield* part(files.file, checkHolds(files));
  yield* part(files.file, checkDeliveries(files));
}

function* openDatabase(
  directory: string,
  folder: string,
  name: string,
  opened: { close(): void }[],
): Generator<Finding, Database | undefined> {
  let database: Database | undefined;
  yield* part(
    `${folder}/${name}`,
    // biome-ignore lint/correctness/useYield: what it throws is the finding.
    (function* () {
      database = openToCheck(join(directory, name));
      opened.push(database);
    })(),
  );
  return database;
}

function* openVault(
  directory: string,
  folder: string,
  shard: number,
  options: CheckOptions,
  opened: { close(): void }[],
): Generator<Finding, Vault | undefined> {
  const { context, periods } = options;
  const path = join(directory, "vault");
  let vault: Vault | undefined;
  yield* part(
    `${folder}/vault`,
    // biome-ignore lint/correctness/useYield: what it throws is the finding.
    (function* () {
      vault = Vault.open({ path, shard, context, periods, cachedKeysMax }, "read");
      opened.push(vault);
    })(),
  );
  return vault;
}

/** The structure of a database; its meta row when that can be read. */
function* checkDatabase(
  database: Database | undefined,
  directory: string,
  folder: string,
  name: string,
  shard: number,
  schema: readonly string[],
): Generator<Finding, Meta | undefined> {
  if (database === undefined) return undefined;
  const path = join(directory, name);
  let meta: Meta | undefined;
  yield* part(
    `${folder}/${name}`,
    (function* () {
      yield* checkStructure(database, `${folder}/${name}`, schema);
      meta = readMeta(database, path, shard);
    })(),
  );
  return meta;
}
