/**
 * CSV after RFC 4180, with a header line: each row becomes an object of its columns.
 *
 * - Cells are text; only the columns named as numbers or booleans are converted, and an empty cell of those is null.
 *   Nothing is guessed: "007" stays text.
 * - A row with more or fewer cells than the header is a problem of that row. A wrong quote is damage: no one can say
 *   where the next row starts. Blank lines are no rows; a record ends with LF or CRLF.
 */
import { type CsvError, Parser } from "csv-parse";
import type { WarpError } from "../../../core/errors.ts";
import { type Row, type RowReader, rowBytesMax, rowTooLong, unreadable } from "./row.ts";

export interface CsvOptions {
  /** One character. */
  readonly delimiter: string;
  readonly numbers: readonly string[];
  readonly booleans: readonly string[];
}

type Convert = (cell: string) => unknown;

interface Column {
  readonly name: string;
  readonly convert: Convert | undefined;
}

/** What to say of the damage that the parser names by code. */
const damages: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: "a quote in the row that starts here is never closed",
  CSV_INVALID_CLOSING_QUOTE: "a closing quote must be followed by the delimiter or the end of the line",
  INVALID_OPENING_QUOTE: "a cell with a quote in it must be quoted as a whole, and its quotes doubled",
};

/** A converter answers this for a cell that it cannot read. */
const unusable = Symbol("unusable");
const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

export class CsvReader implements RowReader {
  private readonly options: CsvOptions;
  private readonly parser: Parser;
  /** Detects bytes that are not UTF-8, which the parser would replace. */
  private readonly utf8 = new TextDecoder("utf-8", { fatal: true });
  private columns: readonly Column[] | undefined;
  /** What the JSON of a row adds to its cells: the names of the columns, quotes, colons, commas. */
  private namesBytes = 0;
  private line = 1;
  private emptyLines = 0;
  private bytes = 0;
  private rows: Row[] = [];
  /** Kept until the parser returns: what is thrown inside it would become an event of its stream. */
  private damage: WarpError | undefined;

  constructor(options: CsvOptions) {
    this.options = options;
    this.parser = new Parser({
      delimiter: options.delimiter,
      record_delimiter: ["\r\n", "\n"],
      skip_empty_lines: true,
      relax_column_count: true,
      max_record_size: rowBytesMax,
      // With this, damage is reported by `on_skip` at once and not by an event later.
      skip_records_with_error: true,
      on_skip: (error) => {
        this.damage ??= this.damageOf(error);
        return undefined;
      },
      on_record: (cells: string[], context) => {
        this.record(cells, context.empty_lines, context.bytes);
        return null;
      },
    });
  }

  feed(bytes: Buffer, rows: Row[]): void {
    this.rows = rows;
    this.checkUtf8(bytes, true);
    this.parser.write(bytes);
    if (this.damage !== undefined) throw this.damage;
  }

  end(rows: Row[]): void {
    this.rows = rows;
    this.checkUtf8(Buffer.alloc(0), false);
    this.parser.end();
    if (this.damage !== undefined) throw this.damage;
    if (this.columns === undefined) throw unreadable(1, "there is no header");
  }

  private checkUtf8(bytes: Buffer, stream: boolean): void {
    try {
      this.utf8.decode(bytes, { stream });
    } catch {
      throw unreadable(this.line, "there is something that is not UTF-8 on this line or soon after it");
    }
  }

  private record(cells: readonly string[], emptyLines: number, bytes: number): void {
    if (this.damage !== undefined) return;
    this.line += emptyLines - this.emptyLines;
    this.emptyLines = emptyLines;
    if (this.columns === undefined) {
      this.damage = this.headerDamage(cells);
      this.columns = this.header(cells);
    } else {
      this.rows.push(this.row(cells, this.columns, bytes - this.bytes + this.namesBytes));
    }
    this.bytes = bytes;
    this.line++;
    for (const cell of cells) {
      for (let at = cell.indexOf("\n"); at >= 0; at = cell.indexOf("\n", at + 1)) this.line++;
    }
  }

  private headerDamage(names: readonly string[]): WarpError | undefined {
    if (names.includes("__proto__")) return unreadable(this.line, "no column can be named __proto__");
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) return unreadable(this.line, `the header names the column "${twice}" twice`);
    const missing = [...this.options.numbers, ...this.options.booleans].find((name) => !names.includes(name));
    if (missing === undefined) return undefined;
    return unreadable(this.line, `the header has no column "${missing}"; it has ${names.join(", ")}`);
  }

  private header(names: readonly string[]): Column[] {
    const { numbers, booleans } = this.options;
    this.namesBytes = names.reduce((sum, name) => sum + Buffer.byteLength(name) + 6, 0);
    return names.map((name) => ({
      name,
      convert: numbers.includes(name) ? toNumber : booleans.includes(name) ? toBoolean : undefined,
    }));
  }

  private row(cells: readonly string[], columns: readonly Column[], bytes: number): Row {
    const { line } = this;
    if (cells.length !== columns.length) {
      const problem = `has ${cells.length} cells, the header ${columns.length}`;
      return { line, bytes, value: undefined, problem };
    }
    const value: Record<string, unknown> = {};
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i];
      const cell = cells[i];
      if (column === undefined || cell === undefined) break;
      const converted = column.convert === undefined ? cell : column.convert(cell);
      if (converted === unusable) {
        const kind = column.convert === toNumber ? "a number that can be kept exactly" : "true or false";
        const problem = `has ${JSON.stringify(cell)} in column "${column.name}", which is not ${kind}`;
        return { line, bytes, value: undefined, problem };
      }
      value[column.name] = converted;
    }
    return { line, bytes, value };
  }

  private damageOf(error: CsvError | undefined): WarpError {
    if (error?.code === "CSV_MAX_RECORD_SIZE") return rowTooLong(this.line);
    return unreadable(this.line, damages[error?.code ?? ""] ?? error?.message ?? "a row cannot be read");
  }
}

function toNumber(cell: string): unknown {
  const text = cell.trim();
  if (text === "") return null;
  if (!number.test(text)) return unusable;
  const value = Number(text) + 0;
  const isExact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  return isExact ? value : unusable;
}

function toBoolean(cell: string): unknown {
  const text = cell.trim().toLowerCase();
  if (text === "") return null;
  return text === "true" ? true : text === "false" ? false : unusable;
}
