/**
 * Parts of a ledger that may be long, without reading all of it. Beside the writer that appends to it.
 */
import { closeSync, fstatSync, openSync } from "node:fs";
import { readFrom, walkLedger } from "./ledger.ts";
import {
  decodeEntry,
  hasShape,
  type LedgerEntry,
  type LedgerPlace,
  ledgerEntryBytes,
  ledgerHeaderBytes,
} from "./ledger-format.ts";

export interface LedgerPage {
  readonly entries: readonly LedgerEntry[];
  readonly hasMore: boolean;
}

/**
 * At most `limit` entries behind `after`, verified against the chain from there on: whoever reads page after page has
 * verified the whole. Errors: those of {@link walkLedger}, IO_ERROR.
 */
export function readLedgerPage(
  place: LedgerPlace,
  after: number,
  limit: number,
  atLeast: number,
): LedgerPage {
  return withFile(place, (file) => {
    const walk = walkLedger((offset, length) => readFrom(file, offset, length), place, atLeast, after);
    const entries: LedgerEntry[] = [];
    let step = walk.next();
    for (; !step.done && entries.length < limit; step = walk.next()) entries.push(step.value);
    return { entries, hasMore: !step.done };
  });
}

/** The newest entry of an id that was erased at a time. Times do not fall in a ledger, so few entries are read. */
export function findInLedger(
  place: LedgerPlace,
  erasedAt: number,
  idHash: Uint8Array,
): LedgerEntry | undefined {
  return withFile(place, (file) => {
    const entryAt = (index: number): LedgerEntry | undefined => {
      const offset = ledgerHeaderBytes + (index - 1) * ledgerEntryBytes;
      const entry = Buffer.from(readFrom(file, offset, ledgerEntryBytes));
      return hasShape(entry, index) ? decodeEntry(entry) : undefined;
    };
    let first = 1;
    let end = Math.floor((fstatSync(file).size - ledgerHeaderBytes) / ledgerEntryBytes) + 1;
    while (first < end) {
      const middle = Math.floor((first + end) / 2);
      // What is not there yet is behind all that is.
      if ((entryAt(middle)?.erasedAt ?? Number.POSITIVE_INFINITY) < erasedAt) first = middle + 1;
      else end = middle;
    }
    let found: LedgerEntry | undefined;
    for (let index = first; ; index++) {
      const entry = entryAt(index);
      if (entry?.erasedAt !== erasedAt) return found;
      if (Buffer.compare(entry.idHash, idHash) === 0) found = entry;
    }
  });
}

function withFile<Result>({ path }: LedgerPlace, work: (file: number) => Result): Result {
  const file = openSync(path, "r");
  try {
    return work(file);
  } finally {
    closeSync(file);
  }
}
