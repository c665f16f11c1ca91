/**
 * A JSON array of any length, element by element: finds where each element starts and ends, and hands its bytes on.
 *
 * - Only brackets, braces, commas and strings are looked at here; whether an element is JSON is found out when it is
 *   parsed, and is a problem of that row alone as long as its brackets and quotes are balanced.
 * - Memory is one element, whatever the length of the array. The input must end with the array.
 */
import { jsonRow } from "./json-row.ts";
import { type Row, type RowReader, UnfinishedRow, unreadable } from "./row.ts";

const char = {
  tab: 9,
  lineFeed: 10,
  carriageReturn: 13,
  space: 32,
  quote: 34,
  comma: 44,
  bracket: 91,
  backslash: 92,
  bracketEnd: 93,
  brace: 123,
  braceEnd: 125,
} as const;

/** Where in the array the next byte stands. */
type Place = "before" | "first" | "element" | "inside" | "behind" | "after";

export class JsonArrayReader implements RowReader {
  private readonly unfinished = new UnfinishedRow();
  private place: Place = "before";
  private depth = 0;
  private inString = false;
  private isEscaped = false;
  private line = 1;
  /** Line on which the element under way started. */
  private elementLine = 1;

  feed(bytes: Buffer, rows: Row[]): void {
    let start = 0;
    let at = 0;
    while (at < bytes.length) {
      if (this.place === "inside") {
        at = this.findEnd(bytes, at);
        if (at < 0) break;
        rows.push(
          jsonRow(this.unfinished.finish(bytes.subarray(start, at), this.elementLine), this.elementLine),
        );
        this.place = "behind";
      } else if (this.startsElement(bytes[at] ?? 0)) {
        start = at;
      } else {
        at++;
      }
    }
    if (this.place === "inside") this.unfinished.keep(bytes.subarray(start), this.elementLine);
  }

  end(): void {
    if (this.place === "after") return;
    if (this.place === "before") throw unreadable(this.line, "there is no JSON array");
    if (this.place === "inside") {
      throw unreadable(this.elementLine, "the input ends inside the element that starts here");
    }
    throw unreadable(this.line, "the input ends before the closing ]");
  }

  /** Takes a byte between elements; true, without taking it, when an element starts with it. */
  private startsElement(byte: number): boolean {
    switch (byte) {
      case char.lineFeed:
        this.line++;
        return false;
      case char.space:
      case char.carriageReturn:
      case char.tab:
        return false;
    }
    switch (this.place) {
      case "before":
        if (byte !== char.bracket) throw unreadable(this.line, "a JSON array starts with [");
        this.place = "first";
        return false;
      case "first":
        if (byte !== char.bracketEnd) return this.enter(byte);
        this.place = "after";
        return false;
      case "element":
        return this.enter(byte);
      case "behind":
        if (byte === char.comma) this.place = "element";
        else if (byte === char.bracketEnd) this.place = "after";
        else throw unreadable(this.line, "expected , or ] behind an element");
        return false;
      default:
        throw unreadable(this.line, "there is something behind the closing ]");
    }
  }

  private enter(byte: number): boolean {
    if (byte === char.comma || byte === char.bracketEnd || byte === char.braceEnd) {
      throw unreadable(this.line, `expected an element, found ${String.fromCharCode(byte)}`);
    }
    this.place = "inside";
    this.depth = 0;
    this.elementLine = this.line;
    return true;
  }

  /** The offset behind the element under way, or -1 when it goes on in the next piece. */
  private findEnd(bytes: Buffer, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === char.lineFeed) this.line++;
      if (this.inString) {
        if (this.isEscaped) this.isEscaped = false;
        else if (byte === char.backslash) this.isEscaped = true;
        else if (byte === char.quote) this.inString = false;
      } else if (byte === char.quote) {
        this.inString = true;
      } else if (byte === char.brace || byte === char.bracket) {
        this.depth++;
      } else if (byte === char.braceEnd || byte === char.bracketEnd) {
        // At depth 0 it closes the array and ends a bare value, such as the 1 in [1].
        if (this.depth === 0) return at;
        this.depth--;
        if (this.depth === 0) return at + 1;
      } else if (byte === char.comma && this.depth === 0) {
        return at;
      }
    }
    return -1;
  }
}
