/**
 * Projections: tables that an application derives from its events. Checked when defined; run by builder.ts in a Worker.
 *
 * - Handlers are synchronous and look at nothing but the event and the tables: a rebuild gives the same rows.
 * - A table names its subjects, the columns that hold the id of the entity a row is about, or says that it is `shared`
 *   and what the erasure of an entity does to it.
 * - The names of tables and views are those that queries use, so they are unique in a context.
 */
import { WarpError } from "../core/errors.ts";
import { type Column, type ColumnSpec, columnOf, type ValueOf } from "./columns.ts";

/** An event as handlers see it: its data has the form of the newest version of its type. */
export interface ProjectedEvent<Type extends string = string, Data = unknown> {
  readonly entity: string;
  readonly seq: number;
  readonly type: Type;
  readonly data: Data;
  /** ms since 1970. */
  readonly recordedAt: number;
  readonly occurredAt?: number;
  /** Of a projection with `personal`: what it says of somebody else; null when that was erased. */
  readonly personal?: unknown;
}

export interface TableSpec {
  readonly columns: Readonly<Record<string, ColumnSpec>>;
  /** The columns that identify a row. */
  readonly key: readonly string[];
  /** The columns that hold the id of an entity that the row is about; its rows go when the entity is erased. */
  readonly subjects?: readonly string[];
  /** Rows about no entity in particular. */
  readonly shared?: true;
  /** What the erasure of an entity does to a shared table: everything is built again without it, or kept as it is. */
  readonly onErase?: "rebuild" | "keep";
  /** Lists of columns to be indexed. */
  readonly indexes?: readonly (readonly string[])[];
}

export type TableSpecs = Readonly<Record<string, TableSpec>>;

type RowOf<Spec extends TableSpec> = {
  readonly [Name in keyof Spec["columns"]]: ValueOf<Spec["columns"][Name]>;
};
type KeyOf<Spec extends TableSpec> = Pick<RowOf<Spec>, Spec["key"][number] & keyof RowOf<Spec>>;
type Changes<Spec extends TableSpec> = Partial<Omit<RowOf<Spec>, Spec["key"][number]>>;
type NumberColumns<Spec extends TableSpec> = {
  [Name in keyof Spec["columns"]]: Spec["columns"][Name] extends "integer" | "real" ? Name : never;
}[keyof Spec["columns"]];

/** A table as handlers use it. As text it is the table's name for plain SQL. */
export interface TableHandle<Spec extends TableSpec = TableSpec> {
  /** Adds a row. Fails when there is one with this key. */
  insert(row: RowOf<Spec>): void;
  /** Puts a row in the place of the one with its key, if there is one. */
  upsert(row: RowOf<Spec>): void;
  /** Changes columns of a row; false when there is none. */
  update(key: KeyOf<Spec>, changes: Changes<Spec>): boolean;
  /** Adds to columns; a row that is not there begins with zeros, so every other column must be in the key or nullable. */
  add(key: KeyOf<Spec>, amounts: { readonly [Name in NumberColumns<Spec>]?: number }): void;
  delete(key: KeyOf<Spec>): void;
  get(key: KeyOf<Spec>): RowOf<Spec> | undefined;
  toString(): string;
}

export type Tables<Specs extends TableSpecs> = { readonly [Name in keyof Specs]: TableHandle<Specs[Name]> };

/** Plain SQL in the dialect of the sink; behind it, the handlers of one record use no table. */
export type RunSql = (sql: string, params?: readonly (string | number | null)[]) => void;

// biome-ignore lint/suspicious/noExplicitAny: data whose type the application has not declared; it stays in its handlers.
type Loose = any;

export interface Message {
  readonly type: string;
  readonly data?: unknown;
}

type HandlerMap<E extends Message, Specs extends TableSpecs> = {
  readonly [T in E["type"]]?: (
    event: ProjectedEvent<T, Extract<E, { type: T }>["data"]>,
    tables: Tables<Specs>,
    run: RunSql,
  ) => void;
};

/** What happens when a handler fails: hold back the entity, leave the event out, or try again until it succeeds. */
export type FailurePolicy = "park" | "skip" | "retry";

export interface ProjectionSpec<Specs extends TableSpecs, On> {
  /** One of its kind in a context. */
  readonly name: string;
  /** 1 by default. Raise it with every change of tables or handlers: the new version is built beside the old one. */
  readonly version?: number;
  readonly tables: Specs;
  readonly on: On;
  /** SELECT statements by name, over the tables of this and other projections of the same sink. */
  readonly views?: Readonly<Record<string, string>>;
  /** `park` by default. */
  readonly onFailure?: FailurePolicy;
  /** The name of a sink of the settings; an embedded SQLite file when absent. */
  readonly sink?: string;
  /**
   * Handlers have `event.personal`. The price: when somebody is erased of whom events speak that were handled, all rows are
   * built again.
   */
  readonly personal?: boolean;
}

export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  /** Indexes into `columns`. */
  readonly key: readonly number[];
  /** Names of columns. */
  readonly subjects: readonly string[];
  readonly onErase: "rows" | "rebuild" | "keep";
  readonly indexes: readonly (readonly string[])[];
}

export type Handle = (
  event: ProjectedEvent,
  tables: Readonly<Record<string, unknown>>,
  run: RunSql,
) => unknown;

/** A checked definition. */
export interface Projection {
  readonly kind: "projection";
  readonly name: string;
  readonly version: number;
  readonly tables: readonly Table[];
  readonly handlers: ReadonlyMap<string, Handle>;
  readonly views: ReadonlyMap<string, string>;
  readonly onFailure: FailurePolicy;
  readonly sink: string | undefined;
  readonly personal: boolean;
}

/**
 * Declares a projection. `defineProjection({ … })` leaves event data loose; `defineProjection<AccountEvent>()({ … })` types
 * every event. Throws APPLICATION_INVALID.
 */
export function defineProjection<const Specs extends TableSpecs>(
  spec: ProjectionSpec<
    Specs,
    Readonly<
      Record<string, (event: ProjectedEvent<string, Loose>, tables: Tables<Specs>, run: RunSql) => void>
    >
  >,
): Projection;
export function defineProjection<E extends Message>(): <const Specs extends TableSpecs>(
  spec: ProjectionSpec<Specs, HandlerMap<E, Specs>>,
) => Projection;
export function defineProjection(spec?: ProjectionSpec<TableSpecs, Loose>): unknown {
  return spec === undefined ? check : check(spec);
}

const namePattern = /^[a-z][a-z0-9_]{0,47}$/i;

function check(spec: ProjectionSpec<TableSpecs, Readonly<Record<string, Handle | undefined>>>): Projection {
  const { name, version = 1, views = {}, onFailure = "park", sink } = spec;
  requireName(name, "a projection");
  if (!Number.isSafeInteger(version) || version < 1) {
    throw invalid(`the version of projection ${name} is a whole number from 1, not ${String(version)}`);
  }
  if (!["park", "skip", "retry"].includes(onFailure)) {
    throw invalid(`onFailure of projection ${name} is park, skip or retry, not ${String(onFailure)}`);
  }
  const tables = Object.entries(spec.tables ?? {}).map(([table, of]) => checkTable(name, table, of));
  if (tables.length === 0) throw invalid(`projection ${name} has no tables`);
  const handlers = new Map<string, Handle>();
  for (const [type, handler] of Object.entries(spec.on ?? {})) {
    if (typeof handler !== "function") throw invalid(`on.${type} of projection ${name} is no function`);
    handlers.set(type, handler);
  }
  if (handlers.size === 0) throw invalid(`projection ${name} handles no event type`);
  for (const [view, sql] of Object.entries(views)) {
    requireName(view, `a view of projection ${name}`);
    if (typeof sql !== "string") throw invalid(`the view ${view} of projection ${name} is no SQL text`);
    if (view in spec.tables) throw invalid(`projection ${name} has a table and a view ${view}`);
  }
  return {
    kind: "projection",
    name,
    version,
    tables,
    handlers,
    views: new Map(Object.entries(views)),
    onFailure,
    sink,
    personal: spec.personal === true,
  };
}

function checkTable(projection: string, name: string, spec: TableSpec): Table {
  const where = `table ${name} of projection ${projection}`;
  requireName(name, `a table of projection ${projection}`);
  const columns = Object.entries(spec.columns ?? {}).map(([column, type]) => {
    requireName(column, `a column of ${where}`);
    const checked = columnOf(column, type);
    if (checked !== undefined) return checked;
    throw invalid(
      `${where}: ${column} is text, integer, real, boolean or json, with ? for null; not ${String(type)}`,
    );
  });
  const find = (column: string, role: string): Column => {
    const found = columns.find((one) => one.name === column);
    if (found === undefined) throw invalid(`${where}: ${role} names ${column}, which is no column`);
    return found;
  };
  const key = (spec.key ?? []).map((column) => {
    const { isNullable, type } = find(column, "key");
    if (isNullable || type === "json")
      throw invalid(`${where}: the key column ${column} is nullable or json`);
    return columns.findIndex((one) => one.name === column);
  });
  if (key.length === 0 || new Set(key).size < key.length)
    throw invalid(`${where} needs a key of different columns`);
  for (const index of spec.indexes ?? []) for (const column of index) find(column, "an index");
  const subjects = spec.subjects ?? [];
  for (const column of subjects) {
    if (find(column, "subjects").type !== "text") throw invalid(`${where}: the subject ${column} is no text`);
  }
  return { name, columns, key, subjects, onErase: eraseRule(where, spec), indexes: spec.indexes ?? [] };
}

function eraseRule(where: string, { subjects, shared, onErase }: TableSpec): Table["onErase"] {
  if (shared !== true) {
    if (subjects === undefined || subjects.length === 0) {
      throw invalid(
        `${where} says neither whose its rows are (subjects) nor that they are nobody's (shared)`,
      );
    }
    if (onErase !== undefined)
      throw invalid(`${where} has subjects, whose rows go with them: onErase is for shared`);
    return "rows";
  }
  if (subjects !== undefined) throw invalid(`${where} is shared and has subjects`);
  if (onErase === "rebuild" || onErase === "keep") return onErase;
  throw invalid(`${where} is shared and does not say what an erasure does: onErase is rebuild or keep`);
}

function requireName(name: unknown, what: string): void {
  const isName = typeof name === "string" && namePattern.test(name);
  if (!isName || /^(?:sqlite|warp|pg)_/i.test(name) || name.includes("__")) {
    throw invalid(`${what} has a name of 1 to 48 letters, digits and single _, not ${JSON.stringify(name)}`);
  }
}

function invalid(message: string): WarpError {
  return new WarpError("APPLICATION_INVALID", message);
}

/** By its shape: the application may have been loaded with another copy of this library. */
export function isProjection(value: unknown): value is Projection {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "projection";
}

/** What a database has to look like for it: a change of this without a new version is refused. */
export function schemaOf({ tables, views, sink }: Projection): string {
  const text = JSON.stringify([tables, [...views], sink ?? null]);
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16);
}

/** Errors: APPLICATION_INVALID for projections that do not go together. */
export function requireCompatible(projections: readonly Projection[]): void {
  const owners = new Map<string, string>();
  const versions = new Set<string>();
  for (const { name, version, tables, views } of projections) {
    const id = `${name} in version ${version}`;
    if (versions.has(id)) throw invalid(`there are two projections ${id}`);
    versions.add(id);
    for (const table of [...tables.map((one) => one.name), ...views.keys()]) {
      const other = owners.get(table.toLowerCase());
      if (other !== undefined && other !== name)
        throw invalid(`the projections ${other} and ${name} both have ${table}`);
      owners.set(table.toLowerCase(), name);
    }
  }
}
