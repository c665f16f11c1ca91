/**
 * rqlite as a sink: a batch is one request with a transaction.
 *
 * - Tables of a build are `CONTEXT__TABLE__BUILD`; views of the tables' own names show the build that is published.
 * - The counter of commits is raised by a statement that fails unless it has the value that is known, and with it the batch.
 * - rqlite keeps what was deleted in its log until a snapshot has taken its place; `purge` asks every node that the settings
 *   name for one. How many entries it keeps behind that is its own setting.
 */
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { Row } from "../build/rows.ts";
import type { Stored } from "../columns.ts";
import type { Table } from "../definition.ts";
import { type Build, type Commit, type Sink, type Statement, tablesOf } from "../sink.ts";
import { RqliteClient } from "./rqlite-client.ts";
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

/** Rows or keys in one statement. */
const rowsAtOnce = 100;

export class RqliteSink implements Sink {
  readonly #client: RqliteClient;
  readonly #build: Build;
  readonly #prefix: string;
  readonly read = undefined;

  constructor(place: { readonly url: string; readonly schema: string }, build: Build) {
    this.#client = new RqliteClient(place.url);
    this.#build = build;
    this.#prefix = place.schema;
  }

  async open(): Promise<number | undefined> {
    const { incarnation } = this.#build;
    const counter = quoted(this.#counter);
    const statements = [
      `CREATE TABLE IF NOT EXISTS ${counter} (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, writer TEXT NOT NULL, incarnation TEXT NOT NULL) STRICT`,
      ...tablesOf(this.#build).flatMap((table) => {
        const name = this.#physical(table);
        return [createTable(name, table, sqliteDialect), ...createIndexes(name, table)];
      }),
    ].map(plain);
    if (await this.#lacksSome()) return undefined;
    const init = { sql: `INSERT OR IGNORE INTO ${counter} VALUES (1, 0, '', ?)`, params: [incarnation] };
    await this.#client.execute([...statements, init]);
    const [answer] = await this.#client.query([plain(`SELECT batch, incarnation FROM ${counter}`)]);
    const [batch, of] = answer?.rows[0] ?? [];
    return of === incarnation ? Number(batch) : undefined;
  }

  /** Somebody has removed tables, but not all of them: what the others say is not so any more. */
  async #lacksSome(): Promise<boolean> {
    const names = [this.#counter, ...tablesOf(this.#build).map((table) => this.#physical(table))];
    const places = names.map(() => "?").join(", ");
    const sql = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (${places})`;
    const [answer] = await this.#client.query([{ sql, params: names }]);
    const there = Number(answer?.rows[0]?.[0]);
    return there > 0 && there < names.length;
  }

  async last(): Promise<{ batch: number; writer: string }> {
    const [answer] = await this.#client.query([plain(`SELECT batch, writer FROM ${quoted(this.#counter)}`)]);
    const [batch, writer] = answer?.rows[0] ?? [];
    return { batch: Number(batch), writer: String(writer) };
  }

  async fetch(table: Table, keys: readonly (readonly Stored[])[]): Promise<readonly (Row | null)[]> {
    const statements: Statement[] = [];
    for (let i = 0; i < keys.length; i += rowsAtOnce) {
      const some = keys.slice(i, i + rowsAtOnce);
      const sql = selectRows(this.#physical(table), table, sqliteDialect, some.length);
      statements.push({ sql, params: some.flat() });
    }
    const answers = await this.#client.query(statements).catch((thrown: unknown) => {
      const isGone = thrown instanceof WarpError && thrown.message.includes("no such table");
      throw isGone ? this.#aborted(thrown) : thrown;
    });
    return inOrder(table, keys, answers.flatMap(({ rows }) => rows) as Row[]);
  }

  async all(table: Table): Promise<readonly Row[]> {
    const [answer] = await this.#client.query([plain(selectAll(this.#physical(table), table))]);
    return (answer?.rows ?? []) as Row[];
  }

  async about(table: Table, entity: string): Promise<readonly Row[]> {
    const sql = selectSubject(this.#physical(table), table, sqliteDialect);
    const [answer] = await this.#client.query([{ sql, params: table.subjects.map(() => entity) }]);
    return (answer?.rows ?? []) as Row[];
  }

  async commit({ batch, writer, rows, statements, erased }: Commit): Promise<void> {
    const counter = quoted(this.#counter);
    const all: Statement[] = [
      {
        sql: `UPDATE ${counter} SET batch = CASE WHEN batch = ? THEN batch + 1 ELSE NULL END, writer = ?`,
        params: [batch, writer],
      },
    ];
    if (erased !== undefined) {
      for (const table of tablesOf(this.#build).filter(({ subjects }) => subjects.length > 0)) {
        const sql = deleteSubject(this.#physical(table), table, sqliteDialect);
        all.push({ sql, params: table.subjects.map(() => erased) });
      }
    }
    for (const { table, changes } of rows) {
      const name = this.#physical(table);
      const puts = changes.flatMap(({ row }) => (row === null ? [] : [row]));
      const keys = changes.flatMap(({ key, row }) => (row === null ? [key] : []));
      for (let i = 0; i < puts.length; i += rowsAtOnce) {
        const some = puts.slice(i, i + rowsAtOnce);
        all.push({ sql: upsert(name, table, sqliteDialect, some.length), params: some.flat() });
      }
      for (let i = 0; i < keys.length; i += rowsAtOnce) {
        const some = keys.slice(i, i + rowsAtOnce);
        all.push({ sql: deleteRows(name, table, sqliteDialect, some.length), params: some.flat() });
      }
    }
    try {
      await this.#client.execute([...all, ...statements]);
    } catch (thrown) {
      const error = toWarpError(thrown, "SINK_UNAVAILABLE");
      if (error.code !== "PROJECTION_FAILED" || error.details.statement !== 0) throw error;
      throw this.#aborted(error);
    }
  }

  /** The build finds out where its rows are, and goes on from there. */
  #aborted(cause: unknown): WarpError {
    return new WarpError("ABORTED", `${this.#counter}: someone else has changed these rows`, {}, cause);
  }

  nameOf(table: Table): string {
    return quoted(this.#physical(table));
  }

  async publish(): Promise<void> {
    const { projection } = this.#build;
    const tables = projection.tables.map(
      (table) => [table.name, `SELECT * FROM ${this.nameOf(table)}`] as const,
    );
    const views = [...tables, ...projection.views];
    await this.#client.execute(
      views.flatMap(([name, sql]) => [
        plain(`DROP VIEW IF EXISTS ${quoted(name)}`),
        plain(`CREATE VIEW ${quoted(name)} AS ${sql}`),
      ]),
    );
  }

  async purge(): Promise<void> {
    await this.#client.execute([plain("VACUUM")], false);
    await this.#client.snapshot();
  }

  async drop(): Promise<void> {
    const names = [this.#counter, ...tablesOf(this.#build).map((table) => this.#physical(table))];
    await this.#client.execute(names.map((name) => plain(`DROP TABLE IF EXISTS ${quoted(name)}`)));
  }

  async close(): Promise<void> {}

  get #counter(): string {
    return `${this.#prefix}__warp_build__${this.#build.number}`;
  }

  #physical({ name }: Table): string {
    return `${this.#prefix}__${name}__${this.#build.number}`;
  }
}

function plain(sql: string): Statement {
  return { sql, params: [] };
}

/** The rows of keys, in the order of the keys. */
export function inOrder(
  table: Table,
  keys: readonly (readonly Stored[])[],
  rows: readonly Row[],
): (Row | null)[] {
  const byKey = new Map(rows.map((row) => [JSON.stringify(table.key.map((index) => row[index])), row]));
  return keys.map((key) => byKey.get(JSON.stringify(key)) ?? null);
}
