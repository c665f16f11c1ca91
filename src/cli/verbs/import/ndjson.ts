/**
 * NDJSON: one JSON value a line, ended by LF or CRLF; the last end may be missing. Blank lines are no rows.
 *
 * A line that is not JSON is a problem of that row alone: the next line feed starts the next row.
 */
import { jsonRow } from "./json-row.ts";
import { type Row, type RowReader, UnfinishedRow } from "./row.ts";

const lineFeed = 10;
const blank = new Set([9, 13, 32]);

export class NdjsonReader implements RowReader {
  private readonly unfinished = new UnfinishedRow();
  private line = 1;

  feed(bytes: Buffer, rows: Row[]): void {
    let start = 0;
    for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, start)) {
      this.row(bytes.subarray(start, at), rows);
      this.line++;
      start = at + 1;
    }
    this.unfinished.keep(bytes.subarray(start), this.line);
  }

  end(rows: Row[]): void {
    if (!this.unfinished.isEmpty) this.row(Buffer.alloc(0), rows);
  }

  private row(last: Buffer, rows: Row[]): void {
    const bytes = this.unfinished.finish(last, this.line);
    if (!bytes.every((byte) => blank.has(byte))) rows.push(jsonRow(bytes, this.line));
  }
}
