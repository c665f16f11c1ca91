/**
 * The types of columns: what a handler may put there, and what stands for it in a database.
 *
 * - A value is checked when a handler gives it, so that what is wrong is the fault of one event and not of a batch.
 * - In memory and on its way to a sink a value is `string | number | null`: booleans are 0 and 1, JSON is its text.
 */
import { WarpError } from "../core/errors.ts";

export type ColumnType = "text" | "integer" | "real" | "boolean" | "json";
/** A type with `?` behind it takes null too. */
export type ColumnSpec = ColumnType | `${ColumnType}?`;

type Plain<Type> = Type extends "text"
  ? string
  : Type extends "integer" | "real"
    ? number
    : Type extends "boolean"
      ? boolean
      : unknown;

/** What a handler gives and gets for a column of this type. */
export type ValueOf<Spec> = Spec extends `${infer Type}?` ? Plain<Type> | null : Plain<Spec>;

/** A value as sinks see it. */
export type Stored = string | number | null;

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly isNullable: boolean;
}

const types: ReadonlySet<string> = new Set(["text", "integer", "real", "boolean", "json"]);

/** Undefined for what is no type. */
export function columnOf(name: string, spec: unknown): Column | undefined {
  if (typeof spec !== "string") return undefined;
  const isNullable = spec.endsWith("?");
  const type = isNullable ? spec.slice(0, -1) : spec;
  return types.has(type) ? { name, type: type as ColumnType, isNullable } : undefined;
}

/** Errors: PROJECTION_FAILED for what the column cannot hold. */
export function storedOf(table: string, column: Column, value: unknown): Stored {
  switch (column.type) {
    case "text":
      if (typeof value === "string") return value;
      break;
    case "integer":
      if (Number.isSafeInteger(value)) return value as number;
      break;
    case "real":
      if (typeof value === "number" && Number.isFinite(value)) return value;
      break;
    case "boolean":
      if (typeof value === "boolean") return value ? 1 : 0;
      break;
    case "json":
      if (value !== undefined && (value !== null || !column.isNullable)) return JSON.stringify(value);
      break;
  }
  if (value === null && column.isNullable) return null;
  const nullable = column.isNullable ? " or null" : "";
  const message = `${table}.${column.name} takes ${column.type}${nullable}, not ${shown(value)}`;
  throw new WarpError("PROJECTION_FAILED", message, { table, column: column.name });
}

/** The other way round. */
export function valueFrom(column: Column, stored: Stored): unknown {
  if (stored === null) return null;
  if (column.type === "boolean") return stored === 1;
  return column.type === "json" ? JSON.parse(String(stored)) : stored;
}

/** What kind of value it is; never the value, which may be personal and would outlive its deletion in a message. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "number") return Number.isSafeInteger(value) ? "integer" : "real";
  return typeof value === "string" ? "text" : typeof value;
}
