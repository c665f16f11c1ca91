/**
 * Queries over rows in rqlite and PostgreSQL. The database itself refuses to write and ends what takes too long.
 */
import { SQL } from "bun";
import { WarpError } from "../../core/errors.ts";
import type { SinkPlace } from "../messages.ts";
import { failure } from "../sinks/postgres-errors.ts";
import { RqliteClient } from "../sinks/rqlite-client.ts";
import { quoted } from "../sinks/statements.ts";
import type { QueryParam, QueryResult, QueryValue } from "./messages.ts";

export interface RemoteQuery {
  readonly sql: string;
  readonly params: readonly QueryParam[];
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly timeoutMs: number;
}

/** Connections that stay open between queries, by URL. */
export class RemoteQueries {
  readonly #postgres = new Map<string, SQL>();

  /** Errors: QUERY_FAILED, TIMEOUT, SINK_UNAVAILABLE. */
  run(place: Exclude<SinkPlace, { kind: "sqlite" }>, query: RemoteQuery): Promise<QueryResult> {
    return place.kind === "rqlite" ? queryRqlite(place.url, query) : this.#queryPostgres(place, query);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#postgres.values()].map((sql) => sql.close({ timeout: 0 })));
    this.#postgres.clear();
  }

  async #queryPostgres(
    { url, schema }: { url: string; schema: string },
    query: RemoteQuery,
  ): Promise<QueryResult> {
    let sql = this.#postgres.get(url);
    if (sql === undefined) {
      sql = new SQL(url, { max: 2, connectionTimeout: 5 });
      this.#postgres.set(url, sql);
    }
    // With a parameter of our own it is always a prepared statement, which PostgreSQL lets be only one.
    const limited = `SELECT * FROM (${query.sql}\n) AS q LIMIT $${query.params.length + 1}`;
    try {
      return await sql.begin("read only", async (transaction) => {
        await transaction.unsafe(`SET LOCAL statement_timeout = ${query.timeoutMs}`);
        await transaction.unsafe(`SET LOCAL search_path TO ${quoted(schema)}, public`);
        const found = transaction.unsafe(limited, [...query.params, query.rowsMax + 1]).values();
        const rows = (await found) as unknown[][] & {
          readonly columns?: readonly { name: string; type: number }[];
        };
        const columns = rows.columns ?? [];
        const values = rows.map((row) => row.map((value, i) => plain(value, columns[i]?.type)));
        return limit(
          columns.map(({ name }) => name),
          values,
          query,
        );
      });
    } catch (thrown) {
      throw failure(thrown, "QUERY_FAILED");
    }
  }
}

async function queryRqlite(url: string, query: RemoteQuery): Promise<QueryResult> {
  const sql = `SELECT * FROM (${query.sql}\n) LIMIT ?`;
  const params = [...query.params, query.rowsMax + 1].map((param) =>
    typeof param === "boolean" || typeof param === "bigint" ? Number(param) : param,
  );
  try {
    const [answer] = await new RqliteClient(url).query([{ sql, params }], query.timeoutMs);
    return limit(answer?.columns ?? [], (answer?.rows ?? []) as QueryValue[][], query);
  } catch (thrown) {
    if (!(thrown instanceof WarpError) || thrown.code !== "PROJECTION_FAILED") throw thrown;
    if (thrown.message.includes("timeout")) throw new WarpError("TIMEOUT", thrown.message, {}, thrown);
    throw new WarpError("QUERY_FAILED", thrown.message, {}, thrown);
  }
}

function limit(
  columns: readonly string[],
  rows: QueryValue[][],
  { rowsMax, bytesMax }: RemoteQuery,
): QueryResult {
  let bytes = 0;
  for (const [i, row] of rows.entries()) {
    if (i === rowsMax || bytes > bytesMax) return { columns, rows: rows.slice(0, i), isTruncated: true };
    for (const value of row)
      bytes += typeof value === "string" || value instanceof Uint8Array ? value.length + 4 : 9;
  }
  return { columns, rows, isTruncated: false };
}

/** PostgreSQL's number for int8 and numeric, which come as text. */
const int8 = 20;
const numeric = 1700;

function plain(value: unknown, type: number | undefined): QueryValue {
  if (value === null || value === undefined) return null;
  if ((type === int8 || type === numeric) && typeof value === "string") {
    const number = Number(value);
    if (type === int8) return Number.isSafeInteger(number) ? number : BigInt(value);
    return String(number) === value ? number : value;
  }
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return value;
  return typeof value === "object" ? JSON.stringify(value) : (value as QueryValue);
}
