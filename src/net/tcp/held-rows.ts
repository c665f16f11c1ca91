/**
 * The rows of query results that were too many for one reply, until the client has asked for them, page by page: what waits
 * here is a connection's own, and bounded in number and time; in bytes it is bounded for all connections together.
 */

import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import type { QueryResult, QueryValue } from "../protocol/querying.ts";

type Rows = readonly (readonly QueryValue[])[];

/** A part of a result, and the number to ask for the next by. */
export interface RowsPage {
  readonly rows: Rows;
  readonly next: number | undefined;
}

interface Held {
  readonly rows: Rows;
  readonly bytes: number;
  at: number;
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

  /** The first page of a result; what is left is held. A result for which there is no place is cut there, and says so. */
  first(result: QueryResult): QueryResult & RowsPage {
    const end = pageEnd(result.rows, 0);
    if (end === result.rows.length) return { ...result, next: undefined };
    const rows = result.rows.slice(0, end);
    const bytes = bytesOf(result.rows);
    if (this.#held.size >= limits.heldResultsMax || !this.#space.take(bytes))
      return { ...result, rows, isTruncated: true, next: undefined };
    const number = nextNumber++;
    this.#held.set(number, { rows: result.rows, bytes, at: end, expires: this.#expiry(number) });
    return { ...result, rows, next: number };
  }

  /** Errors: ABORTED when the result is not there any more. */
  next(number: number): RowsPage {
    const held = this.#held.get(number);
    if (held === undefined) throw new WarpError("ABORTED", "the rest of the result is not held any more");
    clearTimeout(held.expires);
    const from = held.at;
    held.at = pageEnd(held.rows, from);
    const isDone = held.at === held.rows.length;
    if (isDone) this.#forget(number);
    else held.expires = this.#expiry(number);
    return { rows: held.rows.slice(from, held.at), next: isDone ? undefined : number };
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

/** Up to where rows from this one on fit in a reply; one of any size does. */
function pageEnd(rows: Rows, from: number): number {
  let bytes = 0;
  for (let at = from; at < rows.length; at++) {
    bytes += rowBytes(rows[at] ?? []);
    if (bytes > limits.queryBytes) return at + 1;
  }
  return rows.length;
}

function bytesOf(rows: Rows): number {
  let bytes = 0;
  for (const row of rows) bytes += rowBytes(row);
  return bytes;
}

function rowBytes(row: readonly QueryValue[]): number {
  let bytes = 0;
  for (const value of row)
    bytes += typeof value === "string" || value instanceof Uint8Array ? value.length + 4 : 9;
  return bytes;
}
