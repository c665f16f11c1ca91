/**
 * SQLite's own structure: every page, every index entry and the schema.
 *
 * A database is opened as unchanging when it has no WAL, so that checking a closed directory writes nothing into it.
 */
import { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { basesByPosition } from "../files/bases.ts";
import { guard, metaSchema } from "../sqlite/database.ts";
import { damage, type Finding } from "./finding.ts";

/** SQLITE_OPEN_READONLY | SQLITE_OPEN_URI */
const openFlags = 0x01 | 0x40;

export function openToCheck(path: string): Database {
  const hasWal = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
  const uri = `file:${encodeURI(path).replaceAll("?", "%3f").replaceAll("#", "%23")}`;
  return guard(path, () => {
    const database = new Database(`${uri}${hasWal ? "" : "?immutable=1"}`, openFlags);
    database.run("PRAGMA query_only = ON");
    database.run("PRAGMA trusted_schema = OFF");
    return database;
  });
}

export function* checkStructure(
  database: Database,
  file: string,
  schema: readonly string[],
): Generator<Finding> {
  const pageBytes = database.query<{ page_size: number }, []>("PRAGMA page_size").get()?.page_size ?? 0;
  for (const { integrity_check: line } of database
    .query<{ integrity_check: string }, []>("PRAGMA integrity_check(100)")
    .all()) {
    if (line === "ok") continue;
    const page = Number(/[Pp]age (\d+)/.exec(line)?.[1] ?? Number.NaN);
    yield damage(file, line, Number.isNaN(page) ? {} : { page, offset: (page - 1) * pageBytes });
  }
  const found = database
    .query<{ sql: string }, []>(
      "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'",
    )
    .all()
    .map(({ sql }) => sql)
    // A file that was not written to since has none.
    .filter((sql) => sql !== basesByPosition);
  const expected = [metaSchema, ...schema].filter((sql) => sql !== basesByPosition);
  if (found.toSorted().join("\n") !== expected.toSorted().join("\n")) {
    yield damage(file, "its tables are not those of this format", { found });
  }
}
