/**
 * names.db: which id has which number. The only file of a shard with plaintext ids.
 *
 * - Ids are stored as their UTF-8 bytes, so they compare and sort as bytes, whatever the language or SQLite's collations.
 * - A row and the position up to which names are complete are one transaction, before the runs that need it.
 * - The name of an erased entity stands in `erasing` until every follower has passed the erasure; then it is removed, and
 *   what is unused in the file is zeroed. `secure_delete` zeroes what SQLite frees, but not the copies that pages keep of rows that moved.
 */
import type { Database, Statement } from "bun:sqlite";
import { join } from "node:path";
import {
  type CheckpointMode,
  checkpoint,
  emptyWal,
  guard,
  type Meta,
  openDatabase,
  pageBytes,
  prepareSchema,
  readMeta,
  transact,
  transactSynced,
  walBytesOf,
  writeMeta,
} from "../sqlite/database.ts";
import { UnusedBytes } from "../sqlite/unused-bytes.ts";

export const namesSchema = [
  "CREATE TABLE names (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT",
  "CREATE TABLE erasing (number INTEGER PRIMARY KEY, id BLOB NOT NULL, position INTEGER NOT NULL) STRICT",
];

export interface NamesOptions {
  readonly directory: string;
  readonly shard: number;
  readonly access: "read" | "write";
  readonly durability: "fsync" | "os";
  readonly cacheBytes: number;
}

export interface NameRow {
  readonly number: number;
  readonly id: Uint8Array;
}

/** What may be written inside {@link Names.settle}. */
export interface NamesTransaction {
  readonly insert: Statement;
  /** Takes a number's name out of `names`, and keeps it as that of an entity that is being erased. */
  erase(number: number, id: Uint8Array, position: number): void;
}

export class Names {
  readonly path: string;
  readonly #database: Database;
  readonly #transaction: NamesTransaction;
  readonly #find: Statement<{ number: number }, [Uint8Array]>;
  readonly #idOf: Statement<{ id: Uint8Array }, [number]>;
  #meta: Meta;
  readonly #unused: UnusedBytes;
  /** Every commit is synced. */
  readonly #isSynced: boolean;

  private constructor(options: NamesOptions, path: string, database: Database) {
    this.path = path;
    this.#database = database;
    this.#isSynced = options.durability === "os";
    this.#unused = new UnusedBytes(path, pageBytes);
    this.#meta = readMeta(database, path, options.shard);
    const remove = database.query("DELETE FROM names WHERE number = ?");
    const keep = database.query("INSERT OR REPLACE INTO erasing (number, id, position) VALUES (?, ?, ?)");
    this.#transaction = {
      insert: database.query("INSERT INTO names (number, id) VALUES (?, ?)"),
      erase: (number, id, position) => {
        remove.run(number);
        keep.run(number, id, position);
      },
    };
    this.#find = database.query("SELECT number FROM names WHERE id = ?");
    this.#idOf = database.query("SELECT id FROM names WHERE number = ?");
  }

  static open(options: NamesOptions): Names {
    const path = join(options.directory, "names.db");
    const { access, durability, cacheBytes } = options;
    // Without an fsynced journal nothing would bring back a name that a power failure took, so it is synced here.
    const synchronous = durability === "os" ? "FULL" : "NORMAL";
    const database = openDatabase(path, { access, synchronous, cacheBytes });
    try {
      if (access === "write") {
        guard(path, () => database.run("PRAGMA secure_delete = ON"));
        prepareSchema(database, path, options.shard, namesSchema);
      }
      return guard(path, () => new Names(options, path, database));
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Names of all records up to this position are here. */
  get namedPosition(): number {
    return this.#meta.position;
  }

  get nextNumber(): number {
    return this.#meta.nextNumber;
  }

  /**
   * One transaction: what `work` inserts, and the position up to which names are complete with it. With `synced` it is on the disk when
   * this returns: for what no replay would bring back.
   */
  settle(
    position: number,
    nextNumber: number,
    work: (to: NamesTransaction) => void,
    { synced = false } = {},
  ): void {
    const meta = { ...this.#meta, position, nextNumber: Math.max(nextNumber, this.#meta.nextNumber) };
    const write = () => {
      work(this.#transaction);
      writeMeta(this.#database, meta);
    };
    if (synced && !this.#isSynced) transactSynced(this.#database, this.path, write);
    else transact(this.#database, this.path, "IMMEDIATE", write);
    this.#meta = meta;
  }

  /** The number of an id, if it has one. */
  find(id: string): number | undefined {
    return guard(this.path, () => this.#find.get(Buffer.from(id, "utf8"))?.number);
  }

  /** The id of a number in UTF-8, if it has one. */
  idOf(number: number): Uint8Array | undefined {
    return guard(this.path, () => this.#idOf.get(number)?.id);
  }

  /** Ids of entities that are being erased, by number. */
  erasing(number: number): Uint8Array | undefined {
    const query = "SELECT id FROM erasing WHERE number = ?";
    return guard(this.path, () => this.#database.query<{ id: Uint8Array }, [number]>(query).get(number)?.id);
  }

  /**
   * Removes the names of entities that are erased everywhere, and every trace of them in the file and its WAL. False when
   * somebody reads an older state, so that the WAL cannot be emptied; then the next call goes on.
   */
  release(numbers: readonly number[]): boolean {
    const remove = this.#database.query("DELETE FROM erasing WHERE number = ?");
    transact(this.#database, this.path, "IMMEDIATE", () => {
      for (const number of numbers) remove.run(number);
    });
    if (!emptyWal(this.#database, this.path, "BRIEF")) return false;
    // A page that SQLite has in memory would be written with what it has there now.
    guard(this.path, () => this.#database.run("PRAGMA shrink_memory"));
    if (this.#unused.zero()) return true;
    guard(this.path, () => this.#database.run("VACUUM"));
    return emptyWal(this.#database, this.path, "BRIEF");
  }

  /** Ids that begin with `prefix`, after `after`, in the order of their bytes; names of subjects are none. */
  list(prefix: string, after: string | undefined, limit: number): NameRow[] {
    const from = prefix === "" ? firstId : Buffer.from(prefix, "utf8");
    const to = prefix === "" ? undefined : endOfPrefix(from);
    const start = after === undefined ? undefined : Buffer.from(after, "utf8");
    const isAfter = start !== undefined && Buffer.compare(start, from) >= 0;
    const lower = isAfter ? "id > ?1" : "id >= ?1";
    const query = `SELECT number, id FROM names WHERE ${lower} AND (?2 IS NULL OR id < ?2) ORDER BY id LIMIT ?3`;
    return guard(this.path, () =>
      this.#database
        .query<NameRow, [Uint8Array, Uint8Array | null, number]>(query)
        .all(isAfter ? start : from, to ?? null, limit),
    );
  }

  /** Every row after a number, in the order of numbers. */
  rowsAfter(number: number): IterableIterator<NameRow> {
    return this.#database
      .query<NameRow, [number]>("SELECT number, id FROM names WHERE number > ? ORDER BY number")
      .iterate(number);
  }

  get count(): number {
    return this.#database.query<{ n: number }, []>("SELECT count(*) AS n FROM names").get()?.n ?? 0;
  }

  get lastNumber(): number {
    return this.#database.query<{ n: number | null }, []>("SELECT max(number) AS n FROM names").get()?.n ?? 0;
  }

  /** Bytes that wait in the WAL. */
  get walBytes(): number {
    return walBytesOf(this.#database, this.path);
  }

  checkpoint(mode: CheckpointMode): boolean {
    return checkpoint(this.#database, this.path, mode);
  }

  close(): void {
    this.#database.close();
    this.#unused.close();
  }
}

/** Names of subjects begin with a lower byte (core/personal.ts). */
const firstId = Buffer.of(1);

/** The first byte string behind all that begin with `prefix`; undefined when there is none. */
export function endOfPrefix(prefix: Uint8Array): Buffer | undefined {
  for (let last = prefix.length - 1; last >= 0; last--) {
    const byte = prefix[last] ?? 0;
    if (byte === 0xff) continue;
    const end = Buffer.from(prefix.subarray(0, last + 1));
    end[last] = byte + 1;
    return end;
  }
  return undefined;
}
