/**
 * The embedded sink: one SQLite file per build, `projections/NAME.BUILD.db`.
 *
 * - WAL mode, so that queries read while it writes; a commit is not synced: after a power failure the file is whole and
 *   at most behind, and what is missing is read from the feed again.
 * - It is plaintext. Deleted rows leave bytes in free pages and in the WAL until `purge`, which writes the file anew (VACUUM)
 *   and empties the WAL.
 * - Which build queries see is said by the main thread's list of builds, so there is nothing to publish here.
 */
import type { Database, Statement as Prepared } from "bun:sqlite";
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { toWarpError, WarpError } from "../../core/errors.ts";
import { checkpoint, emptyWal, openDatabase, transact } from "../../shard/sqlite/database.ts";
import type { Row } from "../build/rows.ts";
import type { Stored } from "../columns.ts";
import type { Table } from "../definition.ts";
import { type Build, type Commit, type Sink, tablesOf } from "../sink.ts";
import {
  createIndexes,
  createTable,
  deleteRows,
  deleteSubject,
  quoted,
  selectAll,
  selectRows,
  selectSubject,
  sqliteDialect,
  upsert,
} from "./statements.ts";

const cacheBytes = 16 * 1024 * 1024;
/** The WAL is copied into the file when it is longer than this. */
const walBytesMax = 16 * 1024 * 1024;
/** One statement for many rows costs half as much as one per row. */
const rowsAtOnce = 16;

interface Prepareds {
  readonly upsertOne: Prepared;
  readonly upsertMany: Prepared;
  readonly deleteOne: Prepared;
  readonly select: Prepared;
}

export class SqliteSink implements Sink {
  readonly #path: string;
  readonly #build: Build;
  readonly #database: Database;
  readonly #prepared = new Map<Table, Prepareds>();

  constructor(path: string, build: Build) {
    this.#path = path;
    this.#build = build;
    this.#database = openDatabase(path, { access: "write", synchronous: "NORMAL", cacheBytes });
  }

  async open(): Promise<number | undefined> {
    const { incarnation, projection } = this.#build;
    transact(this.#database, this.#path, "IMMEDIATE", () => {
      const database = this.#database;
      database.run(
        "CREATE TABLE IF NOT EXISTS warp_build (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, writer TEXT NOT NULL, incarnation TEXT NOT NULL) STRICT",
      );
      database.run(`INSERT OR IGNORE INTO warp_build VALUES (1, 0, '', ${literal(incarnation)})`);
      for (const table of tablesOf(this.#build)) {
        database.run(createTable(table.name, table, sqliteDialect));
        for (const index of createIndexes(table.name, table)) database.run(index);
      }
    });
    for (const [name, sql] of projection.views) this.#checkView(name, sql);
    const row = this.#database
      .query<{ batch: number; incarnation: string }, []>("SELECT batch, incarnation FROM warp_build")
      .get();
    return row?.incarnation === incarnation ? row.batch : undefined;
  }

  async last(): Promise<{ batch: number; writer: string }> {
    const sql = "SELECT batch, writer FROM warp_build";
    return this.#database.query<{ batch: number; writer: string }, []>(sql).get() ?? { batch: 0, writer: "" };
  }

  readonly read = (table: Table, key: readonly Stored[]): Row | null => {
    const [row] = this.#statements(table).select.values(...key);
    return (row as Row | undefined) ?? null;
  };

  async fetch(table: Table, keys: readonly (readonly Stored[])[]): Promise<readonly (Row | null)[]> {
    return keys.map((key) => this.read(table, key));
  }

  async all(table: Table): Promise<readonly Row[]> {
    return this.#database.query(selectAll(table.name, table)).values() as Row[];
  }

  async about(table: Table, entity: string): Promise<readonly Row[]> {
    const sql = selectSubject(table.name, table, sqliteDialect);
    return this.#database.query(sql).values(...table.subjects.map(() => entity)) as Row[];
  }

  async commit(commit: Commit): Promise<void> {
    try {
      transact(this.#database, this.#path, "IMMEDIATE", () => this.#write(commit));
    } catch (thrown) {
      const error = toWarpError(thrown, "SINK_UNAVAILABLE", { file: this.#path });
      if (error.code !== "IO_ERROR" || commit.statements.length === 0) throw error;
      throw new WarpError("PROJECTION_FAILED", `plain SQL failed: ${error.message}`, {}, error);
    }
    if (statSync(`${this.#path}-wal`).size > walBytesMax) checkpoint(this.#database, this.#path, "PASSIVE");
  }

  nameOf(table: Table): string {
    return quoted(table.name);
  }

  async publish(): Promise<void> {}

  async purge(): Promise<void> {
    const database = this.#database;
    // Every row is copied into a temporary file: not into memory, whatever its size, and not into another directory.
    database.run(`PRAGMA temp_store_directory = ${literal(dirname(this.#path))}`);
    database.run("PRAGMA temp_store = FILE");
    try {
      database.run("VACUUM");
    } finally {
      database.run("PRAGMA temp_store = MEMORY");
    }
    if (!emptyWal(this.#database, this.#path, "TRUNCATE")) {
      throw new WarpError("SINK_UNAVAILABLE", `${this.#path}: a reader holds the WAL`, { file: this.#path });
    }
  }

  /** The file is removed as a whole, by whoever knows that nobody has it open. */
  async drop(): Promise<void> {}

  async close(): Promise<void> {
    this.#prepared.clear();
    try {
      checkpoint(this.#database, this.#path, "PASSIVE");
    } finally {
      this.#database.close();
    }
  }

  /**
   * Views are made by every connection that queries, since they may name tables of other projections, which are other
   * files. What cannot be SQL is found here.
   */
  #checkView(name: string, sql: string): void {
    try {
      this.#database.run(`CREATE TEMP VIEW ${quoted(name)} AS ${sql}`);
      this.#database.run(`DROP VIEW temp.${quoted(name)}`);
    } catch (thrown) {
      const message = `the view ${name} of ${this.#build.projection.name} cannot be made: ${String(thrown)}`;
      throw new WarpError("APPLICATION_INVALID", message, { view: name }, thrown);
    }
  }

  #write({ batch, writer, rows, statements, erased }: Commit): void {
    const database = this.#database;
    const raise = database.query("UPDATE warp_build SET batch = batch + 1, writer = ? WHERE batch = ?");
    const { changes } = raise.run(writer, batch);
    if (changes !== 1)
      throw new WarpError("ABORTED", `${this.#path}: someone else has written to it`, { file: this.#path });
    if (erased !== undefined) {
      for (const table of tablesOf(this.#build).filter(({ subjects }) => subjects.length > 0)) {
        database
          .query(deleteSubject(table.name, table, sqliteDialect))
          .run(...table.subjects.map(() => erased));
      }
    }
    for (const { table, changes } of rows) {
      const prepared = this.#statements(table);
      let many: Stored[] = [];
      const width = table.columns.length * rowsAtOnce;
      for (const { key, row } of changes) {
        if (row === null) {
          prepared.deleteOne.run(...key);
          continue;
        }
        many.push(...row);
        if (many.length < width) continue;
        prepared.upsertMany.run(...many);
        many = [];
      }
      const single = table.columns.length;
      for (let i = 0; i < many.length; i += single) prepared.upsertOne.run(...many.slice(i, i + single));
    }
    for (const { sql, params } of statements) database.query(sql).run(...params);
  }

  #statements(table: Table): Prepareds {
    let prepared = this.#prepared.get(table);
    if (prepared === undefined) {
      const prepare = (sql: string) => this.#database.prepare(sql);
      prepared = {
        upsertOne: prepare(upsert(table.name, table, sqliteDialect, 1)),
        upsertMany: prepare(upsert(table.name, table, sqliteDialect, rowsAtOnce)),
        deleteOne: prepare(deleteRows(table.name, table, sqliteDialect, 1)),
        select: prepare(selectRows(table.name, table, sqliteDialect, 1)),
      };
      this.#prepared.set(table, prepared);
    }
    return prepared;
  }
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
