/**
 * One shard as its writer has it: the vault, the ledger, names.db, runs.db and the existence filters, open for writing.
 *
 * - The vault is made last, so where it exists the other files must exist too: a missing one is CORRUPT, never made anew.
 * - The WAL's sizes say what waits for a checkpoint. A checkpoint counts when both databases are wholly in main files.
 * - Filters are saved only right after such a checkpoint, see files/filter-file.ts.
 */
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { open } from "../core/aead.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { syncDirectory } from "../core/replace-file.ts";
import { carryOutLedger } from "./erase/carry-out.ts";
import { KnownErasures } from "./erase/known-erasures.ts";
import type { CheckpointMode } from "./sqlite/database.ts";
import type { ErasureRow } from "./files/erasures.ts";
import type { ElementHash } from "./files/filter.ts";
import { KeptFilter } from "./files/filter-file.ts";
import { Ledger } from "./files/ledger.ts";
import { Names } from "./files/names.ts";
import { type CallerKeyRow, Runs } from "./files/runs.ts";
import { type ShardAssociated, shardAssociated } from "./files/sealed.ts";
import { Vault } from "./files/vault.ts";
import type { ShardOpened, ShardWorkerOptions } from "./messages.ts";

/** What follows the key hash in the plaintext of a caller key's row; the outcome is behind it. */
export const callerKeyLayout = {
  hash: 0,
  contentHash: 16,
  element: 32,
  recordedAt: 40,
  outcome: 48,
} as const;

export class Shard {
  readonly shard: number;
  readonly context: string;
  readonly directory: string;
  readonly vault: Vault;
  readonly names: Names;
  readonly runs: Runs;
  readonly ids: KeptFilter;
  readonly keys: KeptFilter;
  readonly associated: ShardAssociated;
  readonly ledger: Ledger;
  readonly idHashKey: Uint8Array;
  /** What is handed over of delivery windows. */
  readonly #deliveryBytes: number;
  readonly #known: KnownErasures;
  /** Erasures of earlier lives of which the names remain; undefined once they were taken. */
  #unreleased: ErasureRow[] | undefined;

  private constructor(shard: number, options: ShardWorkerOptions) {
    this.shard = shard;
    this.context = options.context;
    this.#deliveryBytes = options.deliveryBytes;
    this.directory = shardDirectory(options.dataDir, shard);
    this.associated = shardAssociated(options.context, shard);
    const { directory } = this;
    const vaultPath = join(directory, "vault");
    const cacheBytes = Math.max(limits.shardCacheBytesMin, limits.shardCacheBytes / options.shards.length);
    const opened: { close(): void }[] = [];
    try {
      const isNew = !existsSync(vaultPath);
      if (!isNew || !options.create) requireFiles(directory);
      this.runs = Runs.open({ directory, shard, access: "write", cacheBytes: cacheBytes * 0.75 });
      opened.push(this.runs);
      const { durability } = options;
      this.names = Names.open({
        directory,
        shard,
        access: "write",
        durability,
        cacheBytes: cacheBytes * 0.25,
      });
      opened.push(this.names);
      if (isNew) this.#makeVault(vaultPath, options.context);
      this.idHashKey = options.idHashKey;
      this.#known = new KnownErasures(this.runs.erasures.lastEntry);
      const place = { path: join(directory, "ledger"), context: options.context, shard };
      this.ledger = Ledger.open(place, "write", this.#known.lastCarriedOut, this.#known.take);
      opened.push(this.ledger);
      this.vault = Vault.open(vaultOptions(options, shard), "write");
      opened.push(this.vault);
      this.vault.findUnused(this.nextNumber);
      this.#known.leaveAlone(carryOutLedger(this, this.#known.newer));
      this.#unreleased = this.runs.erasures.named;
      this.ids = this.#openIds();
      this.keys = this.#openKeys();
    } catch (error) {
      for (const file of opened) file.close();
      throw toWarpError(error, "IO_ERROR", { file: directory });
    }
  }

  /**
   * Opens the files of a shard; makes them when the data directory is being made.
   * Errors: CORRUPT, FORMAT_UNSUPPORTED, CONFIG_MISMATCH, IO_ERROR.
   */
  static open(shard: number, options: ShardWorkerOptions): Shard {
    const directory = shardDirectory(options.dataDir, shard);
    if (!options.create) return new Shard(shard, options);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const made = new Shard(shard, options);
    try {
      // Also what a process made that was killed.
      for (const folder of [directory, dirname(directory)]) syncDirectory(folder);
      return made;
    } catch (thrown) {
      made.close();
      throw toWarpError(thrown, "IO_ERROR", { file: directory });
    }
  }

  get nextNumber(): number {
    return Math.max(this.runs.meta.nextNumber, this.names.nextNumber, this.#known.largestNumber + 1);
  }

  /** Of which numbers nothing is settled: those of a round and, while the journal is replayed, those of the ledger. */
  erasedNow(inRound: ReadonlySet<number> | undefined): ReadonlySet<number> | undefined {
    return this.#known.with(inRound);
  }

  /**
   * The journal is replayed: nothing of what was erased can come any more. Where the ledger is ahead of everything else (an
   * older copy of the files, or a journal that was not synced) the shard goes on behind it, so that the position of an
   * erasure is that of no other record; on the disk when it returns. True when it was.
   */
  recovered(): boolean {
    const { largestPosition } = this.#known;
    const { meta } = this.runs;
    this.#known.forget();
    if (largestPosition <= meta.position) return false;
    const { nextNumber } = this;
    this.names.settle(Math.max(largestPosition, this.names.namedPosition), nextNumber, () => {});
    const lastRecordedAt = Math.max(meta.lastRecordedAt, this.#known.newestTime);
    this.runs.settle({ position: largestPosition, nextNumber, lastRecordedAt }, () => {});
    return true;
  }

  takeUnreleased(): readonly ErasureRow[] {
    const rows = this.#unreleased ?? [];
    this.#unreleased = undefined;
    return rows;
  }

  /** What the engine is told when the writer has opened. */
  describe(): ShardOpened {
    const { position, lastRecordedAt, epoch } = this.runs.meta;
    const deliveries = this.runs.deliveries(this.#deliveryBytes);
    return {
      shard: this.shard,
      settledPosition: position,
      namedPosition: this.names.namedPosition,
      nextNumber: this.nextNumber,
      lastRecordedAt: Math.max(lastRecordedAt, this.#known.newestTime),
      erasedPosition: this.#known.largestPosition,
      ids: this.ids.filter.memory,
      keys: this.keys.filter.memory,
      deliveries: deliveries.windows,
      deliveriesAbsentTo: deliveries.absentTo,
      epoch,
      ...this.#known.hashes(),
    };
  }

  /** Bytes that wait in the WALs. */
  get walBytes(): number {
    return this.runs.walBytes + this.names.walBytes;
  }

  /** Copies the WALs into the main files and syncs them; true when all of them is there. Saves grown filters. */
  checkpoint(mode: CheckpointMode, filters: "grown" | "changed" = "grown"): boolean {
    const lastName = this.names.lastNumber;
    const lastKey = this.runs.lastCallerKey;
    const areNamesIn = this.names.walBytes === 0 || this.names.checkpoint(mode);
    const areRunsIn = this.runs.checkpoint(mode);
    const isWanted = (kept: KeptFilter) => (filters === "grown" ? kept.isWorthSaving : !kept.isSaved);
    if (areNamesIn && isWanted(this.ids)) this.ids.save(lastName);
    if (areRunsIn && isWanted(this.keys)) this.keys.save(lastKey);
    return areNamesIn && areRunsIn;
  }

  close(): void {
    this.vault.close();
    this.ledger.close();
    this.names.close();
    this.runs.close();
  }

  #makeVault(path: string, context: string): void {
    if (this.names.nextNumber > 1 || this.runs.meta.position > 0) throw missingFile(path);
    Ledger.create({ path: join(this.directory, "ledger"), context, shard: this.shard });
    Vault.create(path, context, this.shard);
  }

  #openIds(): KeptFilter {
    const path = join(this.directory, "ids.filter");
    const saved = KeptFilter.load(path, this.shard);
    const isUsable = saved !== undefined && saved.completeTo < this.nextNumber;
    const kept = isUsable ? saved.kept : KeptFilter.empty(path, this.shard, this.names.count * 2);
    if (isUsable) kept.reserve(Math.max(0, this.names.lastNumber - saved.completeTo));
    for (const { id } of this.names.rowsAfter(isUsable ? saved.completeTo : 0))
      kept.addBytes(id, 0, id.length);
    return kept;
  }

  #openKeys(): KeptFilter {
    const path = join(this.directory, "keys.filter");
    const saved = KeptFilter.load(path, this.shard);
    const isUsable = saved !== undefined && saved.completeTo <= this.runs.lastCallerKey;
    const kept = isUsable ? saved.kept : KeptFilter.empty(path, this.shard, this.runs.callerKeyCount * 2);
    if (isUsable) kept.reserve(this.runs.lastCallerKey - saved.completeTo);
    for (const row of this.runs.callerKeysAfter(isUsable ? saved.completeTo : 0)) {
      const element = elementOf(this.vault, this.associated, row, this.runs.path);
      if (element instanceof WarpError) kept.leaveOut();
      else if (element !== undefined) kept.addHash(element);
    }
    return kept;
  }
}

/**
 * What the filter knows a settled caller key by; undefined when its entity is erased, and what is wrong with its entity's slot
 * when that is damaged. Errors: CORRUPT.
 */
function elementOf(
  vault: Vault,
  associated: ShardAssociated,
  row: CallerKeyRow,
  file: string,
): ElementHash | WarpError | undefined {
  const entityKey = vault.keyOrFault(row.number);
  if (!(entityKey instanceof Uint8Array)) return entityKey;
  const plaintext = open(entityKey, row.data, associated.callerKey.of(row.number, row.firstSeq, row.count));
  if (plaintext === undefined) {
    throw new WarpError("CORRUPT", `${file}: caller key ${row.id} does not open`, { file, row: row.id });
  }
  const at = callerKeyLayout.element;
  return { a: plaintext.readUInt32LE(at), b: plaintext.readUInt32LE(at + 4) };
}

export function vaultOptions(options: ShardWorkerOptions, shard: number) {
  const { context, periods } = options;
  const path = join(shardDirectory(options.dataDir, shard), "vault");
  const share = limits.cachedKeysMax / options.shards.length;
  const cachedKeysMax = 2 ** Math.floor(Math.log2(Math.max(share, 256)));
  return { path, shard, context, periods, cachedKeysMax };
}

/** `DATA/shards/007`. */
export function shardDirectory(dataDir: string, shard: number): string {
  return join(dataDir, "shards", String(shard).padStart(3, "0"));
}

function requireFiles(directory: string): void {
  for (const name of ["runs.db", "names.db", "ledger", "vault"]) {
    if (!existsSync(join(directory, name))) throw missingFile(join(directory, name));
  }
}

function missingFile(file: string): WarpError {
  return new WarpError("CORRUPT", `${file} is missing`, { file });
}
