/**
 * Event data as a table (core/table.ts): from the values that a caller gives, and back from one that somebody else made.
 */
import {
  type Column,
  readTable,
  rowsOf,
  Table,
  type TableBytes,
  tableColumnsMax,
  tableTextBytesMax,
} from "../core/table.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { readStrictUtf8 } from "../core/utf8.ts";
import { isJsonNumber, jsonUnits } from "./json-data.ts";

/** Below so many rows the keys are too small a part. */
export const tableRowsMin = 8;

/** UTF-8 and escapes: bytes of JSON that a UTF-16 unit, and a number or a word with what is around it, may take. */
const unitBytesMax = 6;
const valueBytesMax = 32;

/** Values that are written as JSON at once: their text mostly fits the 8 KiB that JSON.stringify has beforehand. */
const pieceRows = 64;

/** The values of a key while rows are added: numbers, as long as there is nothing else. */
type Values = Float64Array | unknown[];

/**
 * The table of the data of events. Undefined where JSON or msgpack has to hold it, or to say what is wrong: few events, data that is not
 * JSON, keys that differ or come in another order, and events so large that limits are to be looked at closely.
 */
export function tableOf(values: readonly unknown[]): Table | undefined {
  const rows = values.length;
  const first = values[0];
  if (rows < tableRowsMin || !isPlain(first)) return undefined;
  const keys = Object.keys(first);
  const count = keys.length;
  if (count === 0 || count > tableColumnsMax || !keys.every(mayName)) return undefined;
  const columns = keys.map((key): Values => valuesLike(first[key], rows));
  let units = 0;
  let rowUnitsMax = 0;
  for (let i = 0; i < rows; i++) {
    const row = values[i];
    if (!isPlain(row)) return undefined;
    let rowUnits = 0;
    let j = 0;
    for (const key in row) {
      const column = columns[j];
      if (column === undefined || key !== keys[j]) return undefined;
      const value = row[key];
      if (typeof value === "number") {
        if (!isJsonNumber(value)) return undefined;
        column[i] = value;
      } else {
        const more = typeof value === "string" ? value.length : jsonUnits(value, 1);
        if (more < 0) return undefined;
        rowUnits += more;
        if (Array.isArray(column)) column[i] = value;
        else columns[j] = mixed(column, i, value);
      }
      j++;
    }
    // As many keys, and none that was not enumerated.
    if (j !== count || Reflect.ownKeys(row).length !== count) return undefined;
    units += rowUnits;
    if (rowUnits > rowUnitsMax) rowUnitsMax = rowUnits;
  }
  if (!isWithinLimits(keys, rows, units, rowUnitsMax)) return undefined;
  const made: Column[] = [];
  for (const values of columns) {
    const column = columnOf(values);
    if (column === undefined) return undefined;
    made.push(column);
  }
  return new Table(rows, keys, made);
}

function mayName(key: string): boolean {
  return key !== "__proto__" && key.isWellFormed();
}

function valuesLike(first: unknown, rows: number): Values {
  return typeof first === "number" ? new Float64Array(rows) : new Array(rows);
}

/** A column of numbers with a value at `index` that is none. */
function mixed(numbers: Float64Array, index: number, value: unknown): unknown[] {
  const values: unknown[] = new Array(numbers.length);
  for (let i = 0; i < index; i++) values[i] = numbers[i];
  values[index] = value;
  return values;
}

/** Whether no event, nor all together, can take more as JSON than an append may; `units` of all rows, and of the largest. */
function isWithinLimits(keys: readonly string[], rows: number, units: number, rowUnitsMax: number): boolean {
  let around = 0;
  for (const key of keys) around += unitBytesMax * key.length + valueBytesMax;
  return (
    around + unitBytesMax * rowUnitsMax <= limits.eventBytesMax &&
    rows * around + unitBytesMax * units <= limits.recordBytesMax
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

const int32Max = 2 ** 31 - 1;

/** Undefined when there may be lone surrogates in it, which UTF-8 cannot hold. */
function columnOf(values: Values): Column | undefined {
  if (!Array.isArray(values)) return numberColumn(values);
  for (let i = 0; i < values.length; i++) if (typeof values[i] !== "string") return jsonColumn(values);
  return textColumn(values as string[]) ?? jsonColumn(values);
}

function numberColumn(values: Float64Array): Column {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  let isWhole = true;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (value < least) least = value;
    if (value > most) most = value;
    if (Math.floor(value) !== value) isWhole = false;
  }
  const isNear = most - least <= int32Max && Number.isSafeInteger(least) && Number.isSafeInteger(most);
  return isWhole && isNear ? { kind: "whole", base: least, values } : { kind: "float", values };
}

/** Undefined when a text is too long, or not well-formed. */
function textColumn(values: readonly string[]): Column | undefined {
  const rows = values.length;
  const text = values.join("");
  const bytes = Buffer.byteLength(text);
  const isAscii = bytes === text.length;
  const lengths = new Uint16Array(rows);
  for (let i = 0; i < rows; i++) {
    const value = values[i] ?? "";
    const length = isAscii ? value.length : Buffer.byteLength(value);
    if (length > tableTextBytesMax || !(isAscii || value.isWellFormed())) return undefined;
    lengths[i] = length;
  }
  return { kind: "text", text, lengths, bytes };
}

/** Undefined when there may be lone surrogates in it, which JSON.stringify escapes. */
function jsonColumn(values: readonly unknown[]): Column | undefined {
  const pieces: string[] = [];
  for (let from = 0; from < values.length; from += pieceRows) {
    const piece = JSON.stringify(values.slice(from, from + pieceRows));
    if (piece.includes("\\ud")) return undefined;
    pieces.push(piece);
  }
  return { kind: "json", pieces };
}

/**
 * The rows of a table that somebody else made; `isPlain` of it says afterwards whether its bytes may be kept, because its rows are what
 * {@link tableOf} takes. Errors: INVALID_ARGUMENT when it is no table or no UTF-8, EVENT_TOO_LARGE when its rows would take more than an append may.
 */
export function readForeignTable(foreign: TableBytes): unknown[] {
  const table = read(foreign.bytes);
  if (table === undefined)
    throw new WarpError("INVALID_ARGUMENT", "a table cannot be read: its lengths do not add up");
  const { rows, keys, columns, texts } = table;
  if (rows > limits.appendEventsMax) {
    const message = `one append takes at most ${limits.appendEventsMax} events, not ${rows}`;
    throw new WarpError("EVENT_TOO_LARGE", message, { limit: "appendEventsMax" });
  }
  const isNamed = keys.length > 0 && new Set(keys).size === keys.length && !keys.includes("__proto__");
  if (!isNamed)
    throw new WarpError("INVALID_ARGUMENT", "the keys of a table are one or more different names");
  const rowUnits = new Float64Array(rows);
  // Escapes may stand for lone surrogates.
  let isPlain = !texts.some((text) => text.includes("\\u"));
  for (const values of columns) isPlain = isPlain && addUnits(rowUnits, values);
  let units = 0;
  let rowUnitsMax = 0;
  for (let i = 0; i < rows; i++) {
    units += rowUnits[i] ?? 0;
    rowUnitsMax = Math.max(rowUnitsMax, rowUnits[i] ?? 0);
  }
  foreign.isPlain = isPlain && isWithinLimits(keys, rows, units, rowUnitsMax);
  return rowsOf(rows, keys, columns);
}

/** Adds what a column takes to each row. False when it has what is no JSON data. */
function addUnits(rowUnits: Float64Array, values: readonly unknown[]): boolean {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value === "number") {
      if (!isJsonNumber(value)) return false;
      continue;
    }
    const units = typeof value === "string" ? value.length : jsonUnits(value, 1);
    if (units < 0) return false;
    rowUnits[i] = (rowUnits[i] ?? 0) + units;
  }
  return true;
}

function read(bytes: Uint8Array): ReturnType<typeof readTable> {
  const { buffer, byteOffset, length } = bytes;
  try {
    return readTable(
      Buffer.from(buffer, byteOffset, length),
      new DataView(buffer, byteOffset, length),
      0,
      length,
      textOf,
    );
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new WarpError("INVALID_ARGUMENT", `a table cannot be read: ${why}`, {}, thrown);
  }
}

function textOf(buffer: Buffer, from: number, to: number): string {
  const text = readStrictUtf8(buffer, from, to);
  if (text === undefined) throw new Error("a text is not UTF-8");
  return text;
}
