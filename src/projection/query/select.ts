/**
 * Runs one query over embedded rows, in a process of its own (pool.ts).
 *
 * - Read-only by SQLite's own means: the files are opened read-only, and the connection's authorizer allows nothing but to
 *   select: no ATTACH, no PRAGMA, no temporary table.
 * - Memory is limited by SQLite too, so that a sort of everything is an error and not the end of the machine.
 * - Every projection is a schema of its name; a table's bare name does as well, since it is unique in a context.
 */
import { existsSync } from "node:fs";
import { constants, DatabaseSync } from "node:sqlite";
import { WarpError } from "../../core/errors.ts";
import { rowBytes } from "../../core/row-bytes.ts";
import { quoted } from "../sinks/statements.ts";
import type { QueryRequest, QueryResult, QueryValue } from "./messages.ts";

const heapBytesMax = 256 * 1024 * 1024;
const busyTimeoutMs = 2000;
/** What SQLite lets a connection attach. */
export const projectionsMax = 10;

const allowed: ReadonlySet<number> = new Set([
  constants.SQLITE_SELECT,
  constants.SQLITE_READ,
  constants.SQLITE_FUNCTION,
  constants.SQLITE_RECURSIVE,
]);

/** Errors: QUERY_FAILED. */
export function select(request: QueryRequest): QueryResult {
  const database = new DatabaseSync(":memory:", { timeout: busyTimeoutMs, readBigInts: true } as object);
  try {
    open(database, request);
    return run(database, request);
  } catch (thrown) {
    if (thrown instanceof WarpError) throw thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new WarpError("QUERY_FAILED", message);
  } finally {
    database.close();
  }
}

function open(database: DatabaseSync, { place }: QueryRequest): void {
  if (place.files.length > projectionsMax) {
    throw new WarpError(
      "QUERY_FAILED",
      `a query sees at most ${projectionsMax} projections, not ${place.files.length}`,
    );
  }
  for (const pragma of [`hard_heap_limit = ${heapBytesMax}`, "temp_store = MEMORY", "trusted_schema = OFF"]) {
    database.exec(`PRAGMA ${pragma}`);
  }
  for (const { name, path } of place.files) {
    // A projection that could not be started yet has no rows.
    if (!existsSync(path)) continue;
    const uri = `file:${encodeURI(path).replaceAll("?", "%3F").replaceAll("#", "%23")}?mode=ro`;
    database.prepare(`ATTACH ? AS ${quoted(name)}`).run(uri);
  }
  for (const [name, sql] of place.views) database.exec(`CREATE TEMP VIEW ${quoted(name)} AS ${sql}`);
  database.setAuthorizer((action: number) =>
    allowed.has(action) ? constants.SQLITE_OK : constants.SQLITE_DENY,
  );
}

function run(database: DatabaseSync, { sql, params, rowsMax, bytesMax }: QueryRequest): QueryResult {
  const statement = database.prepare(sql);
  const columns = statement.columns().map(({ name }) => name);
  if (columns.length === 0) throw new WarpError("QUERY_FAILED", "a query is one SELECT");
  if (!isEmpty(database, sql.slice(statement.sourceSQL.length))) {
    throw new WarpError("QUERY_FAILED", "a query is one statement");
  }
  statement.setReturnArrays(true);
  const rows: QueryValue[][] = [];
  let bytes = 0;
  const bound = params.map((param) => (typeof param === "boolean" ? Number(param) : param));
  for (const row of statement.iterate(...bound) as Iterable<unknown> as Iterable<
    (QueryValue | undefined)[]
  >) {
    if (rows.length === rowsMax || bytes > bytesMax) return { columns, rows, isTruncated: true };
    const values = row.map(plain);
    bytes += rowBytes(values);
    rows.push(values);
  }
  return { columns, rows, isTruncated: false };
}

/** True for text without a statement: comments and spaces. */
function isEmpty(database: DatabaseSync, rest: string): boolean {
  if (rest.trim() === "") return true;
  try {
    return database.prepare(rest).sourceSQL === "";
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "ERR_INVALID_STATE";
  }
}

/** Integers that a number holds exactly are numbers. */
function plain(value: QueryValue | undefined): QueryValue {
  if (typeof value !== "bigint") return value ?? null;
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}
