/**
 * What the readers of all formats have in common: rows, the interface of a reader that is fed byte by byte, and the
 * bytes of the row under way.
 *
 * - A reader makes the same rows however its input is cut into pieces, and keeps no more than one unfinished row.
 * - A row that is wrong in itself is handed out with its `problem`; the caller stops or skips it. Damage after which
 *   rows cannot be told apart is thrown (INVALID_ARGUMENT, with the line).
 */
import { WarpError } from "../../../core/errors.ts";

const miB = 1024 * 1024;
/** Bytes of one row as it stands in the file; a longer one means that the format is another. */
export const rowBytesMax = 16 * miB;

export interface Row {
  /** Line of the file, from 1, on which the row starts. */
  readonly line: number;
  /** Its size in the file, or an upper estimate; the same in every run over the same file. */
  readonly bytes: number;
  readonly value: unknown;
  /** Why the row cannot be used; `value` is then undefined. */
  readonly problem?: string;
}

/** Fed with UTF-8 without a byte order mark. */
export interface RowReader {
  /** Takes the next bytes, which the caller does not change afterwards, and adds the rows they complete to `rows`. */
  feed(bytes: Buffer, rows: Row[]): void;
  /** Takes the end of the input. */
  end(rows: Row[]): void;
}

/** Damage behind which rows cannot be told apart. */
export function unreadable(line: number, what: string): WarpError {
  return new WarpError("INVALID_ARGUMENT", `line ${line}: ${what}`, { line });
}

export function rowTooLong(line: number): WarpError {
  return unreadable(line, `a row is longer than ${rowBytesMax / miB} MiB; is the format right?`);
}

/** The first bytes of a row whose end is in a later piece of the input. */
export class UnfinishedRow {
  private pieces: Buffer[] = [];
  private bytes = 0;

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  /** Keeps a piece of the row that starts on `line`. */
  keep(piece: Buffer, line: number): void {
    this.bytes += piece.length;
    if (this.bytes > rowBytesMax) throw rowTooLong(line);
    if (piece.length > 0) this.pieces.push(piece);
  }

  /** The row, ended by `last`, and forgotten. */
  finish(last: Buffer, line: number): Buffer {
    if (this.bytes + last.length > rowBytesMax) throw rowTooLong(line);
    if (this.bytes === 0) return last;
    const row = Buffer.concat([...this.pieces, last]);
    this.pieces = [];
    this.bytes = 0;
    return row;
  }
}
