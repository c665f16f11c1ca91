/**
 * The ledger of a shard: what was erased in it, for ever. Append-only, and hash-chained so that nothing can be taken out.
 *
 * - An entry is written and fdatasynced before the key of its entity is destroyed; a number that is in the ledger is
 *   never given a key again, and nothing of it is settled or restored.
 * - It holds no personal data: a number, a fingerprint, a keyed hash, and two short texts that are checked elsewhere.
 * - Every entry's chain is the SHA-256 of the one before and of the entry. A write of several entries may be torn in any
 *   order by a power failure: bad entries at the end count for nothing, as long as nothing behind them was begun later
 *   (`firstOfWrite`), and nobody is known to have relied on them (`atLeast`). Every other bad entry is damage.
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { toWarpError } from "../../core/errors.ts";
import { replaceFile } from "../../core/replace-file.ts";
import {
  chainIn,
  damagedLedger,
  decodeEntry,
  encodeEntry,
  firstOfWrite,
  hasShape,
  headerOf,
  isEntry,
  type LedgerDraft,
  type LedgerEntry,
  type LedgerPlace,
  ledgerEntryBytes,
  ledgerHeaderBytes,
  readHeader,
} from "./ledger-format.ts";

/** Where a walk over a ledger ended. */
export interface LedgerEnd {
  readonly count: number;
  /** Chain of the last entry, or of the header. */
  readonly chain: Uint8Array;
  /** Bytes of a last write that was cut off, and count for nothing. */
  readonly torn: number;
}

/** Reads `length` bytes from `offset` of a ledger, fewer at its end. */
export type ReadLedgerBytes = (offset: number, length: number) => Uint8Array;

const chunkEntries = 256;

/**
 * Every entry behind `after`, verified against the chain; returns where the ledger ends. Errors: CORRUPT with the offset,
 * FORMAT_UNSUPPORTED, CONFIG_MISMATCH (the ledger of another shard or context).
 */
export function* walkLedger(
  read: ReadLedgerBytes,
  place: LedgerPlace,
  atLeast = 0,
  after = 0,
): Generator<LedgerEntry, LedgerEnd> {
  let chain: Uint8Array = readHeader(Buffer.from(read(0, ledgerHeaderBytes)), place);
  if (after > 0) chain = chainAt(read, place, after);
  let count = after;
  for (;;) {
    const offset = offsetOf(count + 1);
    const bytes = Buffer.from(read(offset, chunkEntries * ledgerEntryBytes));
    for (let from = 0; from < bytes.length; from += ledgerEntryBytes) {
      const entry = bytes.subarray(from, from + ledgerEntryBytes);
      const where = offset + from;
      if (!isEntry(entry, chain, count + 1)) {
        const torn = count < atLeast ? undefined : tornBytes(read, count + 1);
        if (torn !== undefined) return { count, chain, torn };
        throw damagedLedger(place.path, where, `entry ${count + 1} does not fit into the chain`);
      }
      chain = Buffer.from(chainIn(entry));
      count++;
      yield decodeEntry(entry);
    }
    if (bytes.length < chunkEntries * ledgerEntryBytes) break;
  }
  if (count < atLeast) {
    const why = `it ends after ${count} entries, and there were ${atLeast}`;
    throw damagedLedger(place.path, offsetOf(count + 1), why);
  }
  return { count, chain, torn: 0 };
}

function offsetOf(index: number): number {
  return ledgerHeaderBytes + (index - 1) * ledgerEntryBytes;
}

function chainAt(read: ReadLedgerBytes, { path }: LedgerPlace, index: number): Buffer {
  const entry = Buffer.from(read(offsetOf(index), ledgerEntryBytes));
  if (hasShape(entry, index)) return chainIn(entry);
  throw damagedLedger(path, offsetOf(index), `entry ${index} is not there`);
}

/**
 * How many bytes from a bad entry on may be a single write that a power failure tore; undefined when they are not: an
 * entry behind was begun when this one had been synced, or is none at all.
 */
function tornBytes(read: ReadLedgerBytes, bad: number): number | undefined {
  let index = bad + 1;
  for (;;) {
    const bytes = Buffer.from(read(offsetOf(index), chunkEntries * ledgerEntryBytes));
    for (let from = 0; from < bytes.length; from += ledgerEntryBytes, index++) {
      const entry = bytes.subarray(from, from + ledgerEntryBytes);
      const isOfOneWrite = hasShape(entry, index) && firstOfWrite(entry) <= bad;
      if (!isOfOneWrite && entry.length === ledgerEntryBytes && entry.some((byte) => byte !== 0))
        return undefined;
    }
    if (bytes.length === chunkEntries * ledgerEntryBytes) continue;
    const behind = (index - bad - 1) * ledgerEntryBytes;
    return Buffer.from(read(offsetOf(bad), ledgerEntryBytes)).length + behind;
  }
}

export class Ledger {
  readonly #place: LedgerPlace;
  readonly #file: number;
  #count = 0;
  #chain: Uint8Array = new Uint8Array(0);

  private constructor(place: LedgerPlace, file: number) {
    this.#place = place;
    this.#file = file;
  }

  /** Makes the file of a new shard, whole or not at all. */
  static create(place: LedgerPlace): void {
    replaceFile(place.path, headerOf(place));
  }

  /**
   * Opens it and verifies all of it; `onEntry` gets every entry. A last write that was cut off is taken away when it is
   * opened for writing. Errors: those of {@link walkLedger}, IO_ERROR.
   */
  static open(
    place: LedgerPlace,
    access: "read" | "write",
    atLeast: number,
    onEntry: (entry: LedgerEntry) => void,
  ): Ledger {
    const file = openSync(place.path, access === "read" ? "r" : "r+");
    try {
      const ledger = new Ledger(place, file);
      const walk = walkLedger(ledger.#read, place, atLeast);
      let step = walk.next();
      for (; !step.done; step = walk.next()) onEntry(step.value);
      const { count, chain, torn } = step.value;
      ledger.#count = count;
      ledger.#chain = chain;
      if (torn > 0 && access === "write") ledger.#cut();
      // What a killed process wrote may be in the system's memory alone, and is relied on from here on.
      else if (access === "write") fdatasyncSync(file);
      return ledger;
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  get count(): number {
    return this.#count;
  }

  /** What the newest entry, and with it every entry before, is known by. */
  get chain(): Uint8Array {
    return this.#chain;
  }

  /** One entry, which must be there. */
  entry(index: number): LedgerEntry {
    const offset = offsetOf(index);
    const bytes = Buffer.from(this.#read(offset, ledgerEntryBytes));
    if (hasShape(bytes, index)) return decodeEntry(bytes);
    throw damagedLedger(this.#place.path, offset, `entry ${index} is not there`);
  }

  /** Adds entries and returns when they are on the disk. Errors: IO_ERROR, DISK_FULL. */
  append(drafts: readonly LedgerDraft[]): void {
    if (drafts.length === 0) return;
    const bytes = Buffer.alloc(drafts.length * ledgerEntryBytes);
    const first = this.#count + 1;
    let chain = this.#chain;
    for (const [i, draft] of drafts.entries()) {
      const entry = bytes.subarray(i * ledgerEntryBytes, (i + 1) * ledgerEntryBytes);
      chain = encodeEntry(entry, { ...draft, index: first + i }, first, chain);
    }
    const offset = offsetOf(first);
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#file, bytes, done, bytes.length - done, offset + done);
      fdatasyncSync(this.#file);
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file: this.#place.path });
    }
    this.#count += drafts.length;
    this.#chain = chain;
  }

  close(): void {
    closeSync(this.#file);
  }

  readonly #read: ReadLedgerBytes = (offset, length) => readFrom(this.#file, offset, length);

  #cut(): void {
    ftruncateSync(this.#file, offsetOf(this.#count + 1));
    fdatasyncSync(this.#file);
  }
}

function readFrom(file: number, offset: number, length: number): Uint8Array {
  const size = fstatSync(file).size;
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
  return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, offset));
}

/** Every entry of a ledger file. Errors as {@link walkLedger}, IO_ERROR. */
export function readLedger(place: LedgerPlace, atLeast = 0): LedgerEntry[] {
  const entries: LedgerEntry[] = [];
  Ledger.open(place, "read", atLeast, (entry) => entries.push(entry)).close();
  return entries;
}

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
      const entry = Buffer.from(readFrom(file, offsetOf(index), ledgerEntryBytes));
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
