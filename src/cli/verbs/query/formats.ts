/**
 * The rows of a query as files that other programs read.
 *
 * - CSV is that of RFC 4180: a text is in quotes where it needs them, and an empty one to be told from null, which is nothing.
 * - NDJSON is an object a line; of columns with one name the last one counts.
 * - Parquet: a column of whole numbers is INT64, of numbers DOUBLE, of bytes BYTE_ARRAY, of anything else STRING.
 */
import { extname } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { UsageError } from "../../exit.ts";
import { toJson } from "../../output.ts";
import type { QueryResult, QueryValue } from "../../target.ts";

export type Format = "table" | "csv" | "ndjson" | "parquet";
export const formats: readonly Format[] = ["table", "csv", "ndjson", "parquet"];

/** How rows are written. With `--json` a table is one for programs, so it is NDJSON. Errors: UsageError. */
export function formatOf({
  format,
  out,
  json,
}: {
  readonly format: Format | undefined;
  readonly out: string | undefined;
  readonly json: boolean;
}): Format {
  if (out === undefined) {
    if (format === "parquet") throw new UsageError("parquet is written to a file: --out FILE");
    if (format !== undefined && format !== "table") return format;
    return json ? "ndjson" : "table";
  }
  const written = format ?? formatOfEnding(out);
  if (written !== undefined && written !== "table") return written;
  throw new UsageError("a file is .csv, .ndjson, .jsonl or .parquet, or has another --format than table");
}

function formatOfEnding(path: string): Format | undefined {
  const ending = extname(path).slice(1).toLowerCase();
  return ending === "jsonl" ? "ndjson" : formats.find((format) => format === ending);
}

export function csvOf({ columns, rows }: QueryResult): string {
  const lines = [columns.map(cell), ...rows.map((row) => row.map(cell))];
  return lines.map((cells) => `${cells.join(",")}\r\n`).join("");
}

function cell(value: QueryValue): string {
  if (value === null) return "";
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  const text = String(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function ndjsonOf({ columns, rows }: QueryResult): string {
  return rows
    .map((row) => `${toJson(Object.fromEntries(columns.map((column, i) => [column, row[i] ?? null])))}\n`)
    .join("");
}

export function parquetOf({ columns, rows }: QueryResult): Uint8Array {
  const columnData = columns.map((name, i) => {
    const values = rows.map((row) => row[i] ?? null);
    return { name, nullable: true, ...typed(values) };
  });
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

function typed(values: QueryValue[]) {
  const some = values.filter((value) => value !== null);
  if (some.length > 0 && some.every(isWhole)) {
    return {
      type: "INT64" as const,
      data: values.map((value) => (value === null ? null : BigInt(value as number))),
    };
  }
  if (some.length > 0 && some.every((value) => typeof value === "number")) {
    return { type: "DOUBLE" as const, data: values };
  }
  if (some.length > 0 && some.every((value) => typeof value === "boolean")) {
    return { type: "BOOLEAN" as const, data: values };
  }
  if (some.length > 0 && some.every((value) => value instanceof Uint8Array)) {
    return { type: "BYTE_ARRAY" as const, data: values };
  }
  const text = (value: QueryValue) =>
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : String(value);
  return { type: "STRING" as const, data: values.map((value) => (value === null ? null : text(value))) };
}

function isWhole(value: QueryValue): boolean {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}
