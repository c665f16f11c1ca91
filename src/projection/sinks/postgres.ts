/**
 * PostgreSQL as a sink, through Bun's client.
 *
 * - Everything lives in a schema named like the context: tables of a build are `TABLE__BUILD`, views of the tables' own names
 *   show the build that is published.
 * - Rows travel as one JSON document a table and batch, so a batch is a few statements whatever its size.
 * - The counter of commits is raised first, under its row's lock: a transaction that a killed process has left under way is
 *   waited for, and then found out.
 * - Deleted rows are gone for queries at once; `purge` vacuums the tables. What the server keeps of its own log and of backups
 *   is its administrator's business.
 */
import { SQL } from "bun";
import { WarpError } from "../../core/errors.ts";
import type { Row } from "../build/rows.ts";
import type { ColumnType, Stored } from "../columns.ts";
import type { Table } from "../definition.ts";
import { type Build, type Commit, type Sink, tablesOf } from "../sink.ts";
import { failure, isMissing } from "./postgres-errors.ts";
import { inOrder } from "./rqlite.ts";
import { createIndexes, createTable, type Dialect, deleteSubject, isSubject, quoted } from "./statements.ts";

const types: Readonly<Record<ColumnType, string>> = {
  text: 'TEXT COLLATE "C"',
  integer: "BIGINT",
  real: "DOUBLE PRECISION",
  boolean: "BOOLEAN",
  json: "JSONB",
};
const dialect: Dialect = { types, place: (index) => `$${index}`, tableOptions: "" };
const connectSeconds = 5;

/** What is removed stays so: this transaction waits for the disk also where a server or role is set not to (`synchronous_commit`). */
async function waitForDisk(sql: SQL): Promise<void> {
  await sql.unsafe(
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
  );
}

export class PostgresSink implements Sink {
  readonly #sql: SQL;
  readonly #build: Build;
  readonly #schema: string;
  readonly read = undefined;

  constructor(place: { readonly url: string; readonly schema: string }, build: Build) {
    this.#sql = new SQL(place.url, { max: 1, connectionTimeout: connectSeconds });
    this.#build = build;
    this.#schema = place.schema;
  }

  async open(): Promise<number | undefined> {
    const { incarnation } = this.#build;
    return await this.#begin(async (sql) => {
      // Builds of several projections may do this at once.
      await sql.unsafe("SELECT pg_advisory_xact_lock(hashtext($1))", [`warp ${this.#schema}`]);
      await sql.unsafe(`CREATE SCHEMA IF NOT EXISTS ${quoted(this.#schema)}`);
      if (await this.#lacksSome(sql)) return undefined;
      await sql.unsafe(
        `CREATE TABLE IF NOT EXISTS ${this.#counter} (id BIGINT PRIMARY KEY, batch BIGINT NOT NULL, writer TEXT NOT NULL, incarnation TEXT NOT NULL)`,
      );
      for (const table of tablesOf(this.#build)) {
        const name = physical(table, this.#build);
        await sql.unsafe(createTable(name, table, dialect));
        for (const index of createIndexes(name, table)) await sql.unsafe(index);
      }
      await sql.unsafe(`INSERT INTO ${this.#counter} VALUES (1, 0, '', $1) ON CONFLICT DO NOTHING`, [
        incarnation,
      ]);
      const [row] = await sql.unsafe(`SELECT batch, incarnation FROM ${this.#counter} WHERE id = $1`, [1]);
      return row.incarnation === incarnation ? Number(row.batch) : undefined;
    });
  }

  async last(): Promise<{ batch: number; writer: string }> {
    return await this.#begin(async (sql) => {
      // The lock waits for a transaction that may still be under way.
      const [row] = await sql.unsafe(
        `SELECT batch, writer FROM ${this.#counter} WHERE id = $1 FOR UPDATE`,
        [1],
      );
      return { batch: Number(row?.batch), writer: String(row?.writer) };
    });
  }

  async fetch(table: Table, keys: readonly (readonly Stored[])[]): Promise<readonly (Row | null)[]> {
    const columns = table.key.map((index) => table.columns[index]?.name ?? "");
    const on = columns.map((column) => `t.${quoted(column)} = k.${quoted(column)}`).join(" AND ");
    // There is no such row where a text has the character 0, which PostgreSQL does not even take in a question.
    const document = keys
      .filter((key) => !key.some((value) => typeof value === "string" && value.includes("\0")))
      .map((key) => Object.fromEntries(columns.map((column, i) => [column, key[i]])));
    const from = `FROM ${this.nameOf(table)} t JOIN ${this.#given(table, columns)} ON ${on}`;
    const found = await this.#begin((sql) =>
      sql.unsafe(`SELECT ${this.#selected(table)} ${from}`, [JSON.stringify(document)]).values(),
    ).catch((thrown: unknown) => {
      throw isMissing(thrown) ? this.#aborted(thrown) : thrown;
    });
    return inOrder(
      table,
      keys,
      (found as unknown[][]).map((row) => storedRow(table, row)),
    );
  }

  async all(table: Table): Promise<readonly Row[]> {
    const sql = `SELECT ${this.#selected(table)} FROM ${this.nameOf(table)} t`;
    const found = await this.#begin((transaction) => transaction.unsafe(sql).values());
    return (found as unknown[][]).map((row) => storedRow(table, row));
  }

  async about(table: Table, entity: string): Promise<readonly Row[]> {
    const sql = `SELECT ${this.#selected(table)} FROM ${this.nameOf(table)} t WHERE ${isSubject(table, dialect)}`;
    const ids = table.subjects.map(() => entity);
    const found = await this.#begin((transaction) => transaction.unsafe(sql, ids).values());
    return (found as unknown[][]).map((row) => storedRow(table, row));
  }

  async commit({ batch, writer, rows, statements, erased }: Commit): Promise<void> {
    await this.#begin(async (sql) => {
      await this.#raise(sql, batch, writer);
      if (erased !== undefined) {
        await waitForDisk(sql);
        for (const table of tablesOf(this.#build).filter(({ subjects }) => subjects.length > 0)) {
          const name = physical(table, this.#build);
          await sql.unsafe(
            deleteSubject(name, table, dialect),
            table.subjects.map(() => erased),
          );
        }
      }
      for (const { table, changes } of rows) {
        const puts = changes.flatMap(({ row }) => (row === null ? [] : [row]));
        const keys = changes.flatMap(({ key, row }) => (row === null ? [key] : []));
        if (puts.length > 0) await sql.unsafe(this.#upsert(table), [documentOf(table, puts)]);
        if (keys.length > 0) await sql.unsafe(...this.#delete(table, keys));
      }
      for (const statement of statements) await sql.unsafe(statement.sql, [...statement.params]);
    });
  }

  nameOf(table: Table): string {
    return `${quoted(this.#schema)}.${quoted(physical(table, this.#build))}`;
  }

  async publish(): Promise<void> {
    const { tables, views, name: projection } = this.#build.projection;
    await this.#begin(async (sql) => {
      await sql.unsafe("SELECT pg_advisory_xact_lock(hashtext($1))", [`warp ${this.#schema}`]);
      await sql.unsafe(
        "CREATE TABLE IF NOT EXISTS warp_views (projection TEXT, name TEXT PRIMARY KEY, sql TEXT NOT NULL, ordinal BIGINT NOT NULL)",
      );
      for (const table of tables) await replaceView(sql, table.name, `SELECT * FROM ${this.nameOf(table)}`);
      await sql.unsafe("DELETE FROM warp_views WHERE projection = $1", [projection]);
      let ordinal = 0;
      for (const [name, text] of views) {
        await sql.unsafe("INSERT INTO warp_views VALUES ($1, $2, $3, $4)", [
          projection,
          name,
          text,
          ordinal++,
        ]);
        await sql.unsafe(`DROP VIEW IF EXISTS ${quoted(name)} CASCADE`);
      }
      // Those of other projections may have lost a table, or be waiting for one.
      const all = await sql.unsafe(
        "SELECT name, sql, to_regclass(quote_ident(name)) AS made FROM warp_views ORDER BY projection, ordinal",
      );
      for (const { name, sql: text, made } of all) {
        if (made === null) await attempt(sql, `CREATE VIEW ${quoted(name)} AS ${text}`);
      }
    });
  }

  async purge(): Promise<void> {
    for (const table of tablesOf(this.#build).filter(({ subjects }) => subjects.length > 0)) {
      await this.#guarded(() => this.#sql.unsafe(`VACUUM ${this.nameOf(table)}`));
    }
  }

  async drop(): Promise<void> {
    await this.#begin(async (sql) => {
      await waitForDisk(sql);
      for (const name of [this.#counter, ...tablesOf(this.#build).map((table) => this.nameOf(table))]) {
        await sql.unsafe(`DROP TABLE IF EXISTS ${name} CASCADE`);
      }
    });
  }

  async close(): Promise<void> {
    await this.#sql.close({ timeout: 1 });
  }

  /** Somebody has removed tables, but not all of them: what the others say is not so any more. */
  async #lacksSome(sql: SQL): Promise<boolean> {
    const names = [this.#counter, ...tablesOf(this.#build).map((table) => this.nameOf(table))];
    const those = names.map((_, i) => `(to_regclass($${i + 1}) IS NOT NULL)::int`);
    const [row] = await sql.unsafe(`SELECT ${those.join(" + ")} AS there`, names);
    return Number(row.there) > 0 && Number(row.there) < names.length;
  }

  /** Errors: ABORTED when the counter has another value, or is not there any more. */
  async #raise(sql: SQL, batch: number, writer: string): Promise<void> {
    const raise = `UPDATE ${this.#counter} SET batch = batch + 1, writer = $2 WHERE id = 1 AND batch = $1 RETURNING batch`;
    const raised = await sql.unsafe(raise, [batch, writer]).catch((thrown: unknown) => {
      throw isMissing(thrown) ? this.#aborted(thrown) : thrown;
    });
    if (raised.length !== 1) throw this.#aborted();
  }

  /** The build finds out where its rows are, and goes on from there. */
  #aborted(cause?: unknown): WarpError {
    return new WarpError("ABORTED", `${this.#counter}: someone else has changed these rows`, {}, cause);
  }

  get #counter(): string {
    return `${quoted(this.#schema)}.${quoted(`warp_build__${this.#build.number}`)}`;
  }

  async #begin<Result>(work: (sql: SQL) => Promise<Result>): Promise<Result> {
    return await this.#guarded(() =>
      this.#sql.begin(async (sql) => {
        await sql.unsafe(`SET LOCAL search_path TO ${quoted(this.#schema)}, public`);
        return await work(sql);
      }),
    );
  }

  async #guarded<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (thrown) {
      throw failure(thrown, "PROJECTION_FAILED");
    }
  }

  #upsert(table: Table): string {
    const names = table.columns.map(({ name }) => quoted(name));
    const key = table.key.map((index) => names[index]).join(", ");
    const sets = names.filter((_, i) => !table.key.includes(i)).map((name) => `${name} = excluded.${name}`);
    const onConflict = sets.length === 0 ? "DO NOTHING" : `DO UPDATE SET ${sets.join(", ")}`;
    const given = this.#given(
      table,
      table.columns.map(({ name }) => name),
    );
    return `INSERT INTO ${this.nameOf(table)} (${names.join(", ")}) SELECT ${names.join(", ")} FROM ${given} ON CONFLICT (${key}) ${onConflict}`;
  }

  #delete(table: Table, keys: readonly (readonly Stored[])[]): [string, string[]] {
    const columns = table.key.map((index) => table.columns[index]?.name ?? "");
    const on = columns.map((column) => `t.${quoted(column)} = k.${quoted(column)}`).join(" AND ");
    const document = keys.map((key) => Object.fromEntries(columns.map((column, i) => [column, key[i]])));
    const sql = `DELETE FROM ${this.nameOf(table)} t USING ${this.#given(table, columns)} WHERE ${on}`;
    return [sql, [JSON.stringify(document)]];
  }

  /** Rows that are given as the first parameter. The client would encode a parameter of type json once more. */
  #given(table: Table, columns: readonly string[]): string {
    const typed = columns.map((name) => {
      const type = table.columns.find((column) => column.name === name)?.type ?? "text";
      return `${quoted(name)} ${type === "text" ? "TEXT" : types[type]}`;
    });
    return `json_to_recordset($1::text::json) AS k(${typed.join(", ")})`;
  }

  #selected(table: Table): string {
    return table.columns
      .map(({ name, type }) => (type === "json" ? `t.${quoted(name)}::text` : `t.${quoted(name)}`))
      .join(", ");
  }
}

function physical({ name }: Table, { number }: Build): string {
  return `${name}__${number}`;
}

async function replaceView(sql: SQL, name: string, text: string): Promise<void> {
  // In place, where the columns are the same, so that what others have made of it stays.
  if (await attempt(sql, `CREATE OR REPLACE VIEW ${quoted(name)} AS ${text}`)) return;
  await sql.unsafe(`DROP VIEW IF EXISTS ${quoted(name)} CASCADE`);
  await sql.unsafe(`CREATE VIEW ${quoted(name)} AS ${text}`);
}

/** True when it could be done; otherwise nothing was. */
async function attempt(sql: SQL, statement: string): Promise<boolean> {
  await sql.unsafe("SAVEPOINT attempt");
  try {
    await sql.unsafe(statement);
    await sql.unsafe("RELEASE SAVEPOINT attempt");
    return true;
  } catch (thrown) {
    if (failure(thrown, "PROJECTION_FAILED").code !== "PROJECTION_FAILED") throw thrown;
    await sql.unsafe("ROLLBACK TO SAVEPOINT attempt");
    return false;
  }
}

/** Rows as a JSON document; columns of JSON go in as they are. */
function documentOf(table: Table, rows: readonly Row[]): string {
  const columns = table.columns.map(({ name, type }) => ({ name: `${JSON.stringify(name)}:`, type }));
  const one = (row: Row) =>
    columns
      .map(({ name, type }, i) => {
        const value = row[i] ?? null;
        if (value === null) return `${name}null`;
        if (type === "boolean") return name + (value === 1 ? "true" : "false");
        return name + (type === "json" ? String(value) : JSON.stringify(value));
      })
      .join(",");
  return `[${rows.map((row) => `{${one(row)}}`).join(",")}]`;
}

function storedRow(table: Table, row: readonly unknown[]): Row {
  return table.columns.map(({ type }, i) => {
    const value = row[i];
    if (value === null || value === undefined) return null;
    if (type === "boolean") return value === true ? 1 : 0;
    return type === "text" || type === "json" ? String(value) : Number(value);
  });
}
