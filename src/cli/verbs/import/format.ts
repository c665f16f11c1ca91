/**
 * Which format an input has, and the reader for it.
 *
 * The name decides when it says something (`.csv`, `.tsv`, `.ndjson`, `.jsonl`), else the first character: `[` is a
 * JSON array, `{` is NDJSON, anything else CSV. A `.json` file is looked into, because both kinds carry that name.
 */
import { WarpError } from "../../../core/errors.ts";
import { CsvReader } from "./csv.ts";
import { JsonArrayReader } from "./json-array.ts";
import { NdjsonReader } from "./ndjson.ts";
import type { RowReader } from "./row.ts";

export const formats = ["ndjson", "json", "csv"] as const;
export type Format = (typeof formats)[number];

export interface FormatOptions {
  readonly format: Format | undefined;
  readonly delimiter: string | undefined;
  readonly numbers: readonly string[];
  readonly booleans: readonly string[];
}

/** How many bytes `chooseFormat` wants to see, if the input has as many. */
export const headBytes = 4096;

/** `name` is without a `.gz`; `head` is the start of the unpacked input without a byte order mark. */
export function chooseFormat(name: string, head: Buffer): Format {
  const suffix = /\.([a-z]+)$/.exec(name.toLowerCase())?.[1];
  if (suffix === "csv" || suffix === "tsv") return "csv";
  if (suffix === "ndjson" || suffix === "jsonl") return "ndjson";
  const first = head.toString("latin1").trimStart()[0];
  if (first === "[") return "json";
  return first === "{" || suffix === "json" ? "ndjson" : "csv";
}

export function createReader(name: string, head: Buffer, options: FormatOptions): RowReader {
  const format = options.format ?? chooseFormat(name, head);
  if (format !== "csv" && (options.delimiter ?? options.numbers[0] ?? options.booleans[0]) !== undefined) {
    const message = `--delimiter, --numbers and --booleans are for CSV, and this input is ${format}`;
    throw new WarpError("INVALID_ARGUMENT", message, { format });
  }
  if (format === "ndjson") return new NdjsonReader();
  if (format === "json") return new JsonArrayReader();
  const delimiter = options.delimiter ?? (name.toLowerCase().endsWith(".tsv") ? "\t" : ",");
  return new CsvReader({ delimiter, numbers: options.numbers, booleans: options.booleans });
}

/** The bytes behind a UTF-8 byte order mark. Refuses the marks of other encodings (INVALID_ARGUMENT). */
export function withoutByteOrderMark(head: Buffer): Buffer {
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return head.subarray(3);
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    throw new WarpError("INVALID_ARGUMENT", "the input is UTF-16; convert it to UTF-8 first");
  }
  return head;
}
