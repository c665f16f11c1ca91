/**
 * The SQL that the sinks have in common: declaring tables, writing and reading rows.
 *
 * A dialect says how types and places of parameters are written; everything else is the SQL that both databases speak.
 */
import type { ColumnType } from "../columns.ts";
import type { Table } from "../definition.ts";

export interface Dialect {
  readonly types: Readonly<Record<ColumnType, string>>;
  /** The place of a parameter, from 1. */
  readonly place: (index: number) => string;
  /** Behind the declaration of a table. */
  readonly tableOptions: string;
}

export const sqliteDialect: Dialect = {
  types: { text: "TEXT", integer: "INTEGER", real: "REAL", boolean: "INTEGER", json: "TEXT" },
  place: () => "?",
  tableOptions: " STRICT",
};

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function createTable(name: string, table: Table, dialect: Dialect): string {
  const columns = table.columns.map(
    ({ name: column, type, isNullable }) =>
      `${quoted(column)} ${dialect.types[type]}${isNullable ? "" : " NOT NULL"}`,
  );
  const key = keyNames(table).join(", ");
  return `CREATE TABLE IF NOT EXISTS ${quoted(name)} (${columns.join(", ")}, PRIMARY KEY (${key}))${dialect.tableOptions}`;
}

/** Indexes that were asked for, and one per subject, since an erasure looks for it. */
export function createIndexes(name: string, table: Table): string[] {
  const keyFirst = table.columns[table.key[0] ?? 0]?.name;
  const bySubject = table.subjects.filter((subject) => subject !== keyFirst).map((subject) => [subject]);
  return [...table.indexes, ...bySubject].map((columns) => {
    const index = quoted(`${name}_by_${columns.join("_")}`);
    return `CREATE INDEX IF NOT EXISTS ${index} ON ${quoted(name)} (${columns.map(quoted).join(", ")})`;
  });
}

/** Puts `rows` rows. */
export function upsert(name: string, table: Table, dialect: Dialect, rows: number): string {
  const { columns } = table;
  const names = columns.map((column) => quoted(column.name));
  const others = columns.filter((_, i) => !table.key.includes(i)).map((column) => quoted(column.name));
  const sets = others.map((column) => `${column} = excluded.${column}`);
  const onConflict = sets.length === 0 ? "DO NOTHING" : `DO UPDATE SET ${sets.join(", ")}`;
  const values = groups(rows, columns.length, dialect);
  return `INSERT INTO ${quoted(name)} (${names.join(", ")}) VALUES ${values} ON CONFLICT (${keyNames(table).join(", ")}) ${onConflict}`;
}

/** Deletes the rows of `keys` keys. */
export function deleteRows(name: string, table: Table, dialect: Dialect, keys: number): string {
  return `DELETE FROM ${quoted(name)} WHERE ${keyIn(table, dialect, keys)}`;
}

/** Reads the rows of `keys` keys, in no order. */
export function selectRows(name: string, table: Table, dialect: Dialect, keys: number): string {
  return `SELECT ${columnNames(table)} FROM ${quoted(name)} WHERE ${keyIn(table, dialect, keys)}`;
}

export function selectAll(name: string, table: Table): string {
  return `SELECT ${columnNames(table)} FROM ${quoted(name)}`;
}

/** Reads the rows about an entity, whose id is given once for each subject. */
export function selectSubject(name: string, table: Table, dialect: Dialect): string {
  return `${selectAll(name, table)} WHERE ${isSubject(table, dialect)}`;
}

/** Deletes them. */
export function deleteSubject(name: string, table: Table, dialect: Dialect): string {
  return `DELETE FROM ${quoted(name)} WHERE ${isSubject(table, dialect)}`;
}

export function isSubject(table: Table, dialect: Dialect): string {
  return table.subjects.map((subject, i) => `${quoted(subject)} = ${dialect.place(i + 1)}`).join(" OR ");
}

function columnNames({ columns }: Table): string {
  return columns.map((column) => quoted(column.name)).join(", ");
}

function keyNames(table: Table): string[] {
  return table.key.map((index) => quoted(table.columns[index]?.name ?? ""));
}

function keyIn(table: Table, dialect: Dialect, keys: number): string {
  const names = keyNames(table);
  if (keys === 1) return names.map((name, i) => `${name} = ${dialect.place(i + 1)}`).join(" AND ");
  return `(${names.join(", ")}) IN (${dialect === sqliteDialect ? "VALUES " : ""}${groups(keys, names.length, dialect)})`;
}

/** `(?, ?), (?, ?)` */
function groups(count: number, width: number, dialect: Dialect): string {
  const all: string[] = [];
  for (let row = 0; row < count; row++) {
    const places = Array.from({ length: width }, (_, i) => dialect.place(row * width + i + 1));
    all.push(`(${places.join(", ")})`);
  }
  return all.join(", ");
}
