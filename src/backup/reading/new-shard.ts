/**
 * The files of a shard in the making: filled in one go, and complete when `finish` returns.
 *
 * - Nothing is synced and nothing can be rolled back meanwhile: a directory that is being restored counts for nothing
 *   before it has its name. `syncNewShard` syncs every file, beside the shards that are still being made.
 * - Indexes are made when the rows are in: rows come in the order of arrival, not in that of an index.
 */
import type { Database, Statement } from "bun:sqlite";
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { toWarpError } from "../../core/errors.ts";
import { guard, type Meta, metaSchema, openDatabase, writeMeta } from "../../shard/sqlite/database.ts";
import { namesSchema } from "../../shard/files/names.ts";
import { runsSchema } from "../../shard/files/runs.ts";
import { slotBytes, slotOffset, Vault } from "../../shard/files/vault.ts";
import { columnsOf, type Table, tables } from "../format/tables.ts";

/** Runs and names go in by this many a statement: half of what inserting a small one costs is the call. */
const rowsAtOnce = 32;
/** Pages of runs are filled one after the other: written while they are in the processor's cache, and their memory used again. */
const runsCacheBytes = 256 * 1024;
/** Where rows have a key, they come in another order than that of their pages. */
const keyedCacheBytes = 64 * 1024 * 1024;
/** Slots are added to the vault by this many, as its writer does. */
const chunkSlots = 1024;

export class NewShard {
  readonly #directory: string;
  readonly #runs: Database;
  readonly #names: Database;
  readonly #inserts: ReadonlyMap<number, Statement>;
  readonly #runRows: Rows;
  readonly #nameRows: Rows;
  readonly #insertPersonal: Statement;
  #isKeyed = false;
  readonly #slots: Buffer;
  readonly #indexes: readonly string[];

  constructor(directory: string, context: string, shard: number, nextNumber: number) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#runs = create(join(directory, "runs.db"), runsSchema.filter(isTable), runsCacheBytes);
    this.#names = create(join(directory, "names.db"), namesSchema, keyedCacheBytes);
    this.#indexes = runsSchema.filter((statement) => !isTable(statement));
    const { runs, snapshots, bases, callerKeys, deliveries, holds } = tables;
    this.#inserts = new Map(
      [snapshots, bases, callerKeys, deliveries, holds].map((table) => [
        table.kind,
        this.#runs.query(`INSERT OR REPLACE INTO ${table.name} (${columnsOf(table)}) VALUES ${rowOf(table)}`),
      ]),
    );
    this.#runRows = new Rows(this.#runs, `INSERT INTO runs (${columnsOf(runs)})`, rowOf(runs));
    this.#nameRows = new Rows(this.#names, "INSERT INTO names (number, id)", "(?, ?)");
    this.#insertPersonal = this.#runs.query("INSERT OR REPLACE INTO personal VALUES (?, ?, ?, ?)");
    Vault.create(join(directory, "vault"), context, shard);
    this.#slots = Buffer.alloc(Math.ceil((nextNumber - 1) / chunkSlots) * chunkSlots * slotBytes);
  }

  /** A row of runs.db, its values in the order of the table's columns. A newer one of the same key takes its place. */
  insert(kind: number, row: readonly (number | Uint8Array)[]): void {
    if (kind === tables.runs.kind) {
      this.#runRows.add(row);
      return;
    }
    this.#expectKeys();
    this.#inserts.get(kind)?.run(...row);
  }

  /** A run of a host speaks of a subject. */
  insertPersonal(subject: number, host: number, seq: number, parts: number): void {
    this.#expectKeys();
    this.#insertPersonal.run(subject, host, seq, parts);
  }

  /** Who is erased is spoken of no more. After the indexes. */
  forgetSubject(subject: number): void {
    this.#runs.query("DELETE FROM personal WHERE subject = ?").run(subject);
  }

  addEntity(number: number, slot: Uint8Array, id: Uint8Array): void {
    this.#slots.set(slot, (number - 1) * slotBytes);
    this.#nameRows.add([number, id]);
  }

  removeEntity(number: number): void {
    this.#slots.fill(0, (number - 1) * slotBytes, number * slotBytes);
    this.#names.query("DELETE FROM names WHERE number = ?").run(number);
    this.#runs.query("DELETE FROM holds WHERE number = ?").run(number);
  }

  isHeld(number: number): boolean {
    return this.#runs.query("SELECT 1 FROM holds WHERE number = ?").get(number) !== null;
  }

  /** Forgets the runs of an entity up to a seq. After the indexes it costs a search, before them a walk. */
  removeTo(number: number, seq: number): void {
    this.#runs.query("DELETE FROM runs WHERE number = ? AND seq <= ?").run(number, seq);
    this.#runs.query("DELETE FROM personal WHERE host = ? AND seq <= ?").run(number, seq);
  }

  /** Forgets what stood in the place of dropped events of an entity before more of them were: only what is of this seq stays. */
  removeOlderBases(number: number, seq: number): void {
    this.#runs.query("DELETE FROM bases WHERE number = ? AND seq <> ?").run(number, seq);
  }

  /** Forgets what stands in the place of dropped events of entities of which all events are here. */
  removeBases(isWhole: (number: number) => boolean): void {
    const all = this.#runs.query<{ number: number }, []>("SELECT DISTINCT number FROM bases").all();
    const remove = this.#runs.query("DELETE FROM bases WHERE number = ?");
    for (const { number } of all) if (isWhole(number)) remove.run(number);
  }

  /** Indexes; from here on rows can be removed. */
  index(): void {
    guard(this.#path("runs.db"), () => {
      this.#runRows.flush();
      this.#nameRows.flush();
      for (const statement of this.#indexes) this.#runs.run(statement);
    });
  }

  /** The files are whole when it returns, and closed. */
  finish(meta: Meta, ledger: Uint8Array): void {
    writeMeta(this.#runs, meta);
    writeMeta(this.#names, { ...meta, lastRecordedAt: 0 });
    for (const database of [this.#runs, this.#names]) {
      database.run("COMMIT");
      database.run("PRAGMA journal_mode = WAL");
    }
    this.close();
    const vault = openSync(this.#path("vault"), "r+");
    try {
      for (let at = 0; at < this.#slots.length; ) {
        at += writeSync(vault, this.#slots, at, this.#slots.length - at, slotOffset(1) + at);
      }
    } finally {
      closeSync(vault);
    }
    writeFileSync(this.#path("ledger"), ledger, { mode: 0o600 });
  }

  close(): void {
    this.#runs.close();
    this.#names.close();
  }

  /** From now on rows come that have a key. */
  #expectKeys(): void {
    if (this.#isKeyed) return;
    this.#runs.run(`PRAGMA cache_size = ${-keyedCacheBytes / 1024}`);
    this.#isKeyed = true;
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

/** Rows on their way into a table, many at once. */
class Rows {
  readonly #insertOne: Statement;
  readonly #insertMany: Statement;
  #values: (number | Uint8Array)[] = [];
  #rows = 0;

  /** `row` are the placeholders of one row. */
  constructor(database: Database, insert: string, row: string) {
    this.#insertOne = database.query(`${insert} VALUES ${row}`);
    this.#insertMany = database.query(`${insert} VALUES ${Array(rowsAtOnce).fill(row).join(", ")}`);
  }

  add(row: readonly (number | Uint8Array)[]): void {
    for (const value of row) this.#values.push(value);
    if (++this.#rows < rowsAtOnce) return;
    this.#insertMany.run(...this.#values);
    this.#values.length = 0;
    this.#rows = 0;
  }

  flush(): void {
    const width = this.#values.length / Math.max(1, this.#rows);
    for (let row = 0; row < this.#rows; row++)
      this.#insertOne.run(...this.#values.slice(row * width, (row + 1) * width));
    this.#values = [];
    this.#rows = 0;
  }
}

function create(path: string, schema: readonly string[], cacheBytes: number): Database {
  const database = openDatabase(path, { access: "write", synchronous: "NORMAL", cacheBytes });
  return guard(path, () => {
    for (const pragma of ["journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"]) {
      database.run(`PRAGMA ${pragma}`);
    }
    database.run("BEGIN EXCLUSIVE");
    database.run(metaSchema);
    for (const statement of schema) database.run(statement);
    return database;
  });
}

function isTable(statement: string): boolean {
  return statement.startsWith("CREATE TABLE");
}

/** "(?, ?, …)" */
function rowOf(table: Table): string {
  return `(${[...table.numbers, ...table.bytes].map(() => "?").join(", ")})`;
}

/** Everything of a shard that was made is on the disk when it resolves. Errors: IO_ERROR, DISK_FULL. */
export async function syncNewShard(directory: string): Promise<void> {
  try {
    for (const name of ["runs.db", "names.db", "vault", "ledger", "."]) {
      const file = await open(join(directory, name), "r");
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: directory });
  }
}
