/**
 * What a projection needs of the database that its rows live in. One object is one *build*: the tables of one projection
 * as one version derives them, filled once from the beginning.
 *
 * - Rows and checkpoint are written in one transaction, and only behind the batch that the caller knows of: a commit whose
 *   answer was lost is never done twice.
 * - What a killed process has left under way cannot count twice either: whoever comes later finds another number of commits
 *   (ABORTED), and begins again where the rows are.
 * - A failure is SINK_UNAVAILABLE when the database cannot be reached or asks for patience, and PROJECTION_FAILED when it
 *   refuses what it was given.
 */

import type { Changed, Row } from "./build/rows.ts";
import type { Stored } from "./columns.ts";
import type { Projection, Table } from "./definition.ts";

/** Which rows of which projection; made by the main thread, and never reused. */
export interface Build {
  readonly number: number;
  readonly projection: Projection;
  /** Of the context whose events they are. */
  readonly incarnation: string;
}

export interface Statement {
  readonly sql: string;
  readonly params: readonly Stored[];
}

/** One transaction. */
export interface Commit {
  /** Commits that were done before; one that finds another number fails with ABORTED. */
  readonly batch: number;
  /** Who commits: another one in every life of a build. */
  readonly writer: string;
  readonly rows: readonly { readonly table: Table; readonly changes: readonly Changed[] }[];
  /** Run behind the rows. */
  readonly statements: readonly Statement[];
  /** The id of an entity whose rows are removed, before anything else. */
  readonly erased: string | undefined;
}

export interface Sink {
  /** Makes the tables that are missing. Returns the commits done so far, or undefined when the rows are of another incarnation, or some of the tables are gone. */
  open(): Promise<number | undefined>;
  /** Commits done so far, and who has done the last. */
  last(): Promise<{ readonly batch: number; readonly writer: string }>;
  /** The row of a key, where it can be had without waiting. */
  readonly read: ((table: Table, key: readonly Stored[]) => Row | null) | undefined;
  fetch(table: Table, keys: readonly (readonly Stored[])[]): Promise<readonly (Row | null)[]>;
  /** All rows of a table of ours. */
  all(table: Table): Promise<readonly Row[]>;
  /** The rows of a table that name the entity in one of its subjects. */
  about(table: Table, entity: string): Promise<readonly Row[]>;
  commit(commit: Commit): Promise<void>;
  /** The table's name in SQL. */
  nameOf(table: Table): string;
  /** Makes this build the one that queries see. */
  publish(): Promise<void>;
  /** Removes what deleted rows left behind in the files, as far as the database can be told to. */
  purge(): Promise<void>;
  /** Removes the tables of the build. */
  drop(): Promise<void>;
  close(): Promise<void>;
}

const integer = (name: string) => ({ name, type: "integer", isNullable: false }) as const;
const text = (name: string) => ({ name, type: "text", isNullable: false }) as const;
const keep = { subjects: [], onErase: "keep", indexes: [] } as const;

/** Our own tables, kept beside those of every build. */
export const checkpoints: Table = {
  name: "warp_checkpoints",
  columns: [integer("shard"), integer("position"), integer("recorded_at")],
  key: [0],
  ...keep,
};

/** Entities that are held back since an event of theirs failed. */
export const parked: Table = {
  name: "warp_parked",
  columns: [
    integer("shard"),
    integer("number"),
    text("entity"),
    integer("seq"),
    integer("position"),
    text("type"),
    text("error"),
    integer("parked_at"),
  ],
  key: [0, 1],
  ...keep,
  subjects: ["entity"],
};

/** Entities that a build with shared rows has seen: the erasure of one makes it worthless. */
export const seen: Table = {
  name: "warp_seen",
  columns: [integer("shard"), integer("number")],
  key: [0, 1],
  ...keep,
};

export const totals: Table = {
  name: "warp_totals",
  columns: [integer("id"), integer("skipped")],
  key: [0],
  ...keep,
};

export const ownTables: readonly Table[] = [checkpoints, parked, seen, totals];

export function tablesOf({ projection }: Build): readonly Table[] {
  return [...projection.tables, ...ownTables];
}
