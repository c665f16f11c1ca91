/**
 * Queries over rows in rqlite and PostgreSQL. The database itself refuses to write and ends what takes too long.
 */
import { SQL } from "bun";
import { WarpError } from "../../core/errors.ts";
import { rowBytes } from "../../core/row-bytes.ts";
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
    const limited = `DECLARE asked NO SCROLL CURSOR FOR SELECT * FROM (${query.sql}\n) AS q LIMIT $${query.params.length + 1}`;
    const end = performance.now() + query.timeoutMs;
    const answer = sql.begin("read only", async (transaction) => {
      const limitTime = () =>
        transaction.unsafe(
          `SET LOCAL statement_timeout = ${Math.max(1, Math.ceil(end - performance.now()))}`,
        );
      await limitTime();
      await transaction.unsafe(`SET LOCAL search_path TO ${quoted(schema)}, public`);
      await transaction.unsafe(limited, [...query.params, query.rowsMax + 1]);
      let columns: Columns = [];
      const rows: QueryValue[][] = [];
      let bytes = 0;
      for (let fetched = rowsAtFirst; ; ) {
        await limitTime();
        const found = (await transaction.unsafe(`FETCH ${fetched} FROM asked`).values()) as unknown[][] & {
          readonly columns?: Columns;
        };
        columns = found.columns ?? columns;
        for (const row of found) {
          const values = row.map((value, i) => plain(value, columns[i]?.type));
          rows.push(values);
          bytes += rowBytes(values);
        }
        if (found.length < fetched || bytes > query.bytesMax) break;
        // About a piece's bytes at a time, so that it is never much more than asked for.
        fetched = Math.max(1, Math.min(rowsAtOnce, Math.floor((pieceBytes * rows.length) / bytes)));
      }
      return limit(
        columns.map(({ name }) => name),
        rows,
        query,
      );
    });
    try {
      return await inTime(answer, query.timeoutMs + graceMs);
    } catch (thrown) {
      const error = failure(thrown, "QUERY_FAILED");
      if (error.code === "TIMEOUT" && error.details.state === undefined) this.#giveUp(url, sql);
      throw error;
    }
  }

  /** The server does not even end it: what is left of the connections is closed, and the next query makes others. */
  #giveUp(url: string, sql: SQL): void {
    if (this.#postgres.get(url) === sql) this.#postgres.delete(url);
    void sql.close({ timeout: 0 });
  }
}

type Columns = readonly { readonly name: string; readonly type: number }[];

/** Rows that are fetched before it is known how large they are … */
const rowsAtFirst = 64;
/** … and at most at once afterwards. */
const rowsAtOnce = 5000;
const pieceBytes = 1024 * 1024;
/** What PostgreSQL has to end a query itself before it is given up. */
const graceMs = 1000;
/** How much longer the answer of rqlite may be than its values, as JSON with escapes. */
const jsonFactor = 2;

/** Errors: TIMEOUT, without a state of the server. */
async function inTime<Result>(work: Promise<Result>, ms: number): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const why = `PostgreSQL did not answer within ${ms} ms`;
    timer = setTimeout(() => reject(new WarpError("TIMEOUT", why)), ms);
  });
  // Whichever comes second is of no interest.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Its parameters are JSON. Errors: INVALID_ARGUMENT for a number that JSON does not carry. */
function rqliteParam(param: QueryParam): string | number | null {
  if (typeof param === "boolean") return Number(param);
  if (typeof param !== "bigint") return param;
  const value = Number(param);
  if (Number.isSafeInteger(value)) return value;
  throw new WarpError(
    "INVALID_ARGUMENT",
    `rqlite takes no whole number beyond 2^53 as a parameter: ${param}`,
  );
}

async function queryRqlite(url: string, query: RemoteQuery): Promise<QueryResult> {
  const sql = `SELECT * FROM (${query.sql}\n) LIMIT ?`;
  const params = [...query.params, query.rowsMax + 1].map(rqliteParam);
  try {
    // Text takes more as JSON than it is; the values are counted afterwards.
    const bounds = { timeoutMs: query.timeoutMs, bytesMax: query.bytesMax * jsonFactor };
    const [answer] = await new RqliteClient(url).query([{ sql, params }], bounds);
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
    bytes += rowBytes(row);
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
