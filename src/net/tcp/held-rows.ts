/**
 * The rows of query results that were too many for one reply, until the client has asked for them, page by page: what waits
 * here is a connection's own, and bounded in number and time; in bytes it is bounded for all connections together.
 */

import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { rowBytes } from "../../core/row-bytes.ts";
import { type QueryResult, type QueryValue, rowTooLarge } from "../protocol/querying.ts";

type Rows = readonly (readonly QueryValue[])[];

/** A part of a result, and the number to ask for the next by. */
export interface RowsPage {
  readonly rows: Rows;
  readonly next: number | undefined;
}

interface Held {
  readonly rows: Rows;
  readonly bytes: number;
  /** Where each page ends, and how many of them were asked for. */
  readonly ends: readonly number[];
  pages: number;
  expires: NodeJS.Timeout;
}

/**
 * Numbers of results are those of the process and begin anywhere, so that one that was given on another connection, or by another
 * process, stands for nothing instead of for another result.
 */
let nextNumber = Math.floor(Math.random() * 2 ** 52);

/** What results may take that are held for all connections of a server. */
export class HeldSpace {
  #bytes = 0;

  /** Whether there is so much left; it is taken then. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > limits.heldResultBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

export class HeldRows {
  readonly #space: HeldSpace;
  readonly #held = new Map<number, Held>();

  constructor(space: HeldSpace) {
    this.#space = space;
  }

  /**
   * The first page of a result; what is left is held. A result for which there is no place is cut there, and says so. Errors:
   * QUERY_FAILED for a row that no reply can hold.
   */
  first(result: QueryResult): QueryResult & RowsPage {
    const { ends, bytes } = pagesOf(result.rows);
    if (ends.length <= 1) return { ...result, next: undefined };
    const rows = result.rows.slice(0, ends[0]);
    if (this.#held.size >= limits.heldResultsMax || !this.#space.take(bytes))
      return { ...result, rows, isTruncated: true, next: undefined };
    const number = nextNumber++;
    this.#held.set(number, { rows: result.rows, bytes, ends, pages: 1, expires: this.#expiry(number) });
    return { ...result, rows, next: number };
  }

  /** Errors: ABORTED when the result is not there any more. */
  next(number: number): RowsPage {
    const held = this.#held.get(number);
    if (held === undefined) throw new WarpError("ABORTED", "the rest of the result is not held any more");
    clearTimeout(held.expires);
    const { ends, pages } = held;
    held.pages++;
    const isDone = held.pages === ends.length;
    if (isDone) this.#forget(number);
    else held.expires = this.#expiry(number);
    return { rows: held.rows.slice(ends[pages - 1], ends[pages]), next: isDone ? undefined : number };
  }

  clear(): void {
    for (const number of [...this.#held.keys()]) this.#forget(number);
  }

  #expiry(number: number): NodeJS.Timeout {
    return setTimeout(() => this.#forget(number), limits.heldResultMs).unref();
  }

  #forget(number: number): void {
    const held = this.#held.get(number);
    if (held === undefined) return;
    clearTimeout(held.expires);
    this.#space.giveBack(held.bytes);
    this.#held.delete(number);
  }
}

/** What of a result fits in one reply. Errors: QUERY_FAILED for a first row that does not. */
export function cut(result: QueryResult): QueryResult {
  const { end } = pageFrom(result.rows, 0);
  return end === result.rows.length
    ? result
    : { ...result, rows: result.rows.slice(0, end), isTruncated: true };
}

function pagesOf(rows: Rows): { ends: number[]; bytes: number } {
  const ends: number[] = [];
  let total = 0;
  for (let from = 0; from < rows.length; ) {
    const { end, bytes } = pageFrom(rows, from);
    total += bytes;
    ends.push(end);
    from = end;
  }
  return { ends, bytes: total };
}

/** Up to where rows from this one on fit in a reply, and what they take. A large row goes alone. */
function pageFrom(rows: Rows, from: number): { end: number; bytes: number } {
  let bytes = 0;
  for (let at = from; at < rows.length; at++) {
    const more = rowBytes(rows[at] ?? []);
    if (at > from && bytes + more > limits.queryBytes) return { end: at, bytes };
    if (more > limits.frameBytesMax) throw rowTooLarge();
    bytes += more;
  }
  return { end: rows.length, bytes };
}
