/**
 * Tables: the data of many events with the same keys, column by column, so that no key is written twice and no number as text. The form
 * stands in entries (docs/data-files.md) and in appends (docs/protocol.md), byte for byte the same.
 *
 * - Little-endian: u32 rows, u16 columns, u32 bytes of the keys, the keys as a JSON list of texts; then each column: u8 kind, u32 bytes,
 *   content. Kinds: 0 the JSON text of the list of its values; 1 f64 base and an i32 for each row, whose sum is the value; 2 an f64 for
 *   each row; 3 texts: u16 bytes of each, then all of them in UTF-8, one behind the other.
 * - Who writes has made sure that the values are JSON data and no key is `__proto__`; aggregate/tables.ts does.
 */
import { readUtf8, writeUtf8 } from "./utf8.ts";

const headerBytes = 10;
const columnHeaderBytes = 5;
export const tableColumnsMax = 64;
/** A column with a longer text than this is written as JSON. */
export const tableTextBytesMax = 0xffff;

const kind = { json: 0, whole: 1, float: 2, text: 3 } as const;

/** The values of a key in all rows. */
export type Column =
  /** JSON texts of lists that follow each other. */
  | { readonly kind: "json"; readonly pieces: readonly string[] }
  | { readonly kind: "whole"; readonly base: number; readonly values: Float64Array }
  | { readonly kind: "float"; readonly values: Float64Array }
  /** All texts one behind the other, well-formed, and the bytes of each and together. */
  | { readonly kind: "text"; readonly text: string; readonly lengths: Uint16Array; readonly bytes: number };

/** What can be written as a table. */
export interface TableData {
  /** The most bytes that {@link write} takes. */
  readonly bytesMax: number;
  /** Writes it at `at` and returns the offset behind it. */
  write(buffer: Buffer, view: DataView, at: number): number;
}

/** A table whose columns are in memory. */
export class Table implements TableData {
  readonly bytesMax: number;
  readonly #rows: number;
  readonly #keys: string;
  readonly #columns: readonly Column[];

  /** A column for each key, each with a value for each row. */
  constructor(rows: number, keys: readonly string[], columns: readonly Column[]) {
    this.#rows = rows;
    this.#keys = JSON.stringify(keys);
    this.#columns = columns;
    let bytes = headerBytes + 3 * this.#keys.length;
    for (const column of columns) bytes += columnHeaderBytes + contentBytesMax(column, rows);
    this.bytesMax = bytes;
  }

  write(buffer: Buffer, view: DataView, at: number): number {
    const keysAt = at + headerBytes;
    let end = keysAt + writeUtf8(buffer, this.#keys, keysAt);
    view.setUint32(at, this.#rows, true);
    view.setUint16(at + 4, this.#columns.length, true);
    view.setUint32(at + 6, end - keysAt, true);
    for (const column of this.#columns) {
      const from = end + columnHeaderBytes;
      buffer[end] = kind[column.kind];
      const length = writeContent(buffer, view, from, column);
      view.setUint32(end + 1, length, true);
      end = from + length;
    }
    return end;
  }

  toBytes(): TableBytes {
    const buffer = Buffer.allocUnsafe(this.bytesMax);
    const end = this.write(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0);
    return new TableBytes(buffer.subarray(0, end));
  }
}

/** A table that is written already. */
export class TableBytes implements TableData {
  readonly bytes: Uint8Array;
  /** Set by who has read it: its rows are what a table is made of, and the bytes may be kept. */
  isPlain = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get bytesMax(): number {
    return this.bytes.length;
  }

  write(buffer: Buffer, _view: DataView, at: number): number {
    buffer.set(this.bytes, at);
    return at + this.bytes.length;
  }
}

/** What the data of events was read from; it can be stored as it is. */
export type Parsed = string | TableBytes;

export function isTable(data: unknown): data is TableData {
  return data instanceof Table || data instanceof TableBytes;
}

function contentBytesMax(column: Column, rows: number): number {
  switch (column.kind) {
    case "json":
      return 3 * textLength(column.pieces);
    case "text":
      return textBytes(rows, column.bytes);
    default:
      return numbersBytes(column.kind === "whole", rows);
  }
}

function numbersBytes(isWhole: boolean, rows: number): number {
  return isWhole ? 8 + 4 * rows : 8 * rows;
}

function textBytes(rows: number, bytes: number): number {
  return 2 * rows + bytes;
}

function writeContent(buffer: Buffer, view: DataView, at: number, column: Column): number {
  switch (column.kind) {
    case "json":
      return writePieces(buffer, at, column.pieces) - at;
    case "text":
      return writeTexts(buffer, view, at, column.text, column.lengths);
    case "whole":
      return writeWhole(view, at, column.base, column.values);
    case "float":
      return writeFloats(view, at, column.values);
  }
}

function writeTexts(buffer: Buffer, view: DataView, at: number, text: string, lengths: Uint16Array): number {
  const rows = lengths.length;
  for (let i = 0; i < rows; i++) view.setUint16(at + 2 * i, lengths[i] ?? 0, true);
  return textBytes(rows, writeUtf8(buffer, text, at + 2 * rows));
}

function writeWhole(view: DataView, at: number, base: number, values: Float64Array): number {
  const rows = values.length;
  view.setFloat64(at, base, true);
  for (let i = 0; i < rows; i++) view.setInt32(at + 8 + 4 * i, (values[i] ?? 0) - base, true);
  return numbersBytes(true, rows);
}

function writeFloats(view: DataView, at: number, values: Float64Array): number {
  const rows = values.length;
  for (let i = 0; i < rows; i++) view.setFloat64(at + 8 * i, values[i] ?? 0, true);
  return numbersBytes(false, rows);
}

/** Writes texts of lists as one list: where two meet, their brackets become a comma. Returns the offset behind it. */
export function writePieces(buffer: Buffer, at: number, pieces: readonly string[]): number {
  let end = at + writeUtf8(buffer, pieces[0] ?? "[]", at);
  for (let i = 1; i < pieces.length; i++) {
    const joint = end - 1;
    end = joint + writeUtf8(buffer, pieces[i] ?? "[]", joint);
    buffer[joint] = comma;
  }
  return end;
}

const comma = 0x2c;

/** UTF-16 units of pieces of text. */
export function textLength(pieces: readonly string[]): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

/** A table as it was read. */
export interface TableContent {
  readonly rows: number;
  readonly keys: readonly string[];
  /** The values of each key. */
  readonly columns: readonly (readonly unknown[])[];
  /** The JSON texts among them: of the keys and of columns. */
  readonly texts: readonly string[];
}

/** Reads a text; it may throw for one that is not UTF-8. */
export type ReadText = (buffer: Buffer, from: number, to: number) => string;

/**
 * Reads the table from `from` up to `to`. Undefined when its lengths do not add up; throws what JSON.parse and `readText` throw. What the
 * values are, and whether keys are repeated, is not looked at.
 */
export function readTable(
  buffer: Buffer,
  view: DataView,
  from: number,
  to: number,
  readText: ReadText = readUtf8,
): TableContent | undefined {
  if (from + headerBytes > to) return undefined;
  const rows = view.getUint32(from, true);
  const count = view.getUint16(from + 4, true);
  const keysAt = from + headerBytes;
  let at = keysAt + view.getUint32(from + 6, true);
  if (at > to || count > tableColumnsMax) return undefined;
  const texts = [readText(buffer, keysAt, at)];
  const keys: unknown = JSON.parse(texts[0] ?? "");
  if (!Array.isArray(keys) || keys.length !== count || !keys.every((key) => typeof key === "string"))
    return undefined;
  const columns: (readonly unknown[])[] = [];
  for (let i = 0; i < count; i++) {
    const contentAt = at + columnHeaderBytes;
    if (contentAt > to) return undefined;
    const end = contentAt + view.getUint32(at + 1, true);
    if (end > to) return undefined;
    const values = readContent(buffer, view, buffer[at] ?? 0, contentAt, end, rows, texts, readText);
    if (!Array.isArray(values) || values.length !== rows) return undefined;
    columns.push(values);
    at = end;
  }
  return at === to ? { rows, keys, columns, texts } : undefined;
}

function readContent(
  buffer: Buffer,
  view: DataView,
  columnKind: number,
  from: number,
  to: number,
  rows: number,
  texts: string[],
  readText: ReadText,
): unknown {
  switch (columnKind) {
    case kind.json: {
      const text = readText(buffer, from, to);
      texts.push(text);
      return JSON.parse(text);
    }
    case kind.whole:
      return to - from === numbersBytes(true, rows) ? readWhole(view, from, rows) : undefined;
    case kind.float:
      return to - from === numbersBytes(false, rows) ? readFloats(view, from, rows) : undefined;
    case kind.text:
      return textBytes(rows, 0) <= to - from ? readTexts(buffer, view, from, to, rows, readText) : undefined;
    default:
      return undefined;
  }
}

function readWhole(view: DataView, from: number, rows: number): number[] {
  const values: number[] = new Array(rows);
  const base = view.getFloat64(from, true);
  for (let i = 0; i < rows; i++) values[i] = base + view.getInt32(from + 8 + 4 * i, true);
  return values;
}

function readFloats(view: DataView, from: number, rows: number): number[] {
  const values: number[] = new Array(rows);
  for (let i = 0; i < rows; i++) values[i] = view.getFloat64(from + 8 * i, true);
  return values;
}

/**
 * Texts are decoded together, this many bytes of them: a call for each costs more than all the rest. Each is a slice, which keeps what it
 * was cut from in memory as long as it lives; hence no more.
 */
const togetherBytes = 256;

function readTexts(
  buffer: Buffer,
  view: DataView,
  from: number,
  to: number,
  rows: number,
  readText: ReadText,
): string[] | undefined {
  const values: string[] = new Array(rows);
  let at = textBytes(rows, 0) + from;
  for (let i = 0; i < rows; ) {
    let next = i;
    let bytes = 0;
    while (next < rows) {
      const length = view.getUint16(from + 2 * next, true);
      if (bytes + length > togetherBytes && next > i) break;
      bytes += length;
      next++;
    }
    if (at + bytes > to) return undefined;
    const together = readText(buffer, at, at + bytes);
    // Where all is ASCII, bytes are units; and where each byte is none of UTF-8, and read as one.
    const isAscii = together.length === bytes;
    for (let offset = 0; i < next; i++) {
      const length = view.getUint16(from + 2 * i, true);
      values[i] = isAscii
        ? together.slice(offset, offset + length)
        : readText(buffer, at + offset, at + offset + length);
      offset += length;
    }
    at += bytes;
  }
  return at === to ? values : undefined;
}

/** The rows of a table as objects. */
export function rowsOf(
  rows: number,
  keys: readonly string[],
  columns: readonly (readonly unknown[])[],
): Record<string, unknown>[] {
  const objects: Record<string, unknown>[] = new Array(rows);
  for (let i = 0; i < rows; i++) {
    const object: Record<string, unknown> = {};
    for (let j = 0; j < keys.length; j++) object[keys[j] ?? ""] = columns[j]?.[i];
    objects[i] = object;
  }
  return objects;
}
