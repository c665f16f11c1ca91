/**
 * The ledger of a shard: what was erased in it, for ever. Append-only, and hash-chained so that nothing can be taken out.
 *
 * - An entry is written and fdatasynced before the key of its entity is destroyed; a number that is in the ledger is
 *   never given a key again, and nothing of it is settled or restored.
 * - It holds no personal data: a number, a fingerprint, a keyed hash, and two short texts that are checked elsewhere.
 * - Every entry's chain is the SHA-256 of the one before and of the entry. A bad entry with another behind it is damage;
 *   a bad last one is a write that was cut off, as long as nobody is known to have relied on it (`atLeast`).
 *
 * Layout, little-endian: a header of 256 bytes (8 bytes "WARPLEDG", u32 format, u16 shard, u16 length of the context, the context,
 * zeros, at 224 the SHA-256 of what is before: the first chain), then entries of 256 bytes; see docs/data-files.md.
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { fingerprintBytes, idHashBytes } from "../../core/erasure.ts";
import { toWarpError, WarpError } from "../../core/errors.ts";
import { replaceFile } from "../../core/replace-file.ts";

export const ledgerHeaderBytes = 256;
export const ledgerEntryBytes = 256;
/** A reason and a `by` are this many ASCII characters at most. */
export const ledgerTextMax = 63;
const magic = "WARPLEDG";
const ledgerFormat = 1;
const entryMagic = 0x574c4531;
const chainBytes = 32;
const at = {
  magic: 0,
  kind: 4,
  index: 8,
  number: 16,
  position: 24,
  erasedAt: 32,
  fingerprint: 40,
  idHash: 56,
  reason: 88,
  by: 152,
  chain: 224,
} as const;

export interface LedgerEntry {
  /** 1, 2, 3 … within the shard. */
  readonly index: number;
  readonly number: number;
  /** Of the ERASE record. */
  readonly position: number;
  /** ms since 1970. */
  readonly erasedAt: number;
  /** Of the key that was destroyed; zeros when the entity never had one on disk. */
  readonly fingerprint: Uint8Array;
  readonly idHash: Uint8Array;
  readonly reason: string;
  readonly by: string;
}

export type LedgerDraft = Omit<LedgerEntry, "index">;

export interface LedgerPlace {
  readonly path: string;
  readonly context: string;
  readonly shard: number;
}

/** Where a walk over a ledger ended. */
export interface LedgerEnd {
  readonly count: number;
  /** Chain of the last entry, or of the header. */
  readonly chain: Uint8Array;
  /** Bytes of a last entry that was cut off, and counts for nothing. */
  readonly torn: number;
}

/** Reads `length` bytes from `offset` of a ledger, fewer at its end. */
export type ReadLedgerBytes = (offset: number, length: number) => Uint8Array;

const chunkEntries = 256;

/**
 * Every entry, verified against the chain; returns where it ends. Errors: CORRUPT with the offset,
 * FORMAT_UNSUPPORTED, CONFIG_MISMATCH (the ledger of another shard or context).
 */
export function* walkLedger(
  read: ReadLedgerBytes,
  place: LedgerPlace,
  atLeast = 0,
): Generator<LedgerEntry, LedgerEnd> {
  let chain: Uint8Array = readHeader(Buffer.from(read(0, ledgerHeaderBytes)), place);
  let count = 0;
  for (;;) {
    const offset = ledgerHeaderBytes + count * ledgerEntryBytes;
    const bytes = Buffer.from(read(offset, chunkEntries * ledgerEntryBytes));
    for (let from = 0; from < bytes.length; from += ledgerEntryBytes) {
      const entry = bytes.subarray(from, from + ledgerEntryBytes);
      const where = offset + from;
      if (!isEntry(entry, chain, count + 1)) {
        const isLast = read(where + ledgerEntryBytes, 1).length === 0;
        if (isLast && count >= atLeast) return { count, chain, torn: entry.length };
        throw damaged(place.path, where, `entry ${count + 1} does not fit into the chain`);
      }
      chain = Buffer.from(entry.subarray(at.chain));
      count++;
      yield decode(entry);
    }
    if (bytes.length < chunkEntries * ledgerEntryBytes) break;
  }
  if (count < atLeast) {
    const where = ledgerHeaderBytes + count * ledgerEntryBytes;
    throw damaged(place.path, where, `it ends after ${count} entries, and there were ${atLeast}`);
  }
  return { count, chain, torn: 0 };
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
   * Opens it and verifies all of it; `onEntry` gets every entry. A last entry that was cut off is taken away when it is
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
    const offset = ledgerHeaderBytes + (index - 1) * ledgerEntryBytes;
    const bytes = Buffer.from(this.#read(offset, ledgerEntryBytes));
    if (bytes.length === ledgerEntryBytes && bytes.readDoubleLE(at.index) === index) return decode(bytes);
    throw damaged(this.#place.path, offset, `entry ${index} is not there`);
  }

  /** Adds entries and returns when they are on the disk. Errors: IO_ERROR, DISK_FULL. */
  append(drafts: readonly LedgerDraft[]): void {
    if (drafts.length === 0) return;
    const bytes = Buffer.alloc(drafts.length * ledgerEntryBytes);
    let chain = this.#chain;
    for (const [i, draft] of drafts.entries()) {
      const entry = bytes.subarray(i * ledgerEntryBytes, (i + 1) * ledgerEntryBytes);
      encode(entry, { ...draft, index: this.#count + 1 + i });
      chain = chainOf(chain, entry);
      entry.set(chain, at.chain);
    }
    const offset = ledgerHeaderBytes + this.#count * ledgerEntryBytes;
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

  readonly #read: ReadLedgerBytes = (offset, length) => {
    const size = fstatSync(this.#file).size;
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
    return bytes.subarray(0, readSync(this.#file, bytes, 0, bytes.length, offset));
  };

  #cut(): void {
    ftruncateSync(this.#file, ledgerHeaderBytes + this.#count * ledgerEntryBytes);
    fdatasyncSync(this.#file);
  }
}

/** Every entry of a ledger file. Errors as {@link walkLedger}, IO_ERROR. */
export function readLedger(place: LedgerPlace, atLeast = 0): LedgerEntry[] {
  const entries: LedgerEntry[] = [];
  Ledger.open(place, "read", atLeast, (entry) => entries.push(entry)).close();
  return entries;
}

function headerOf({ context, shard }: LedgerPlace): Buffer {
  const header = Buffer.alloc(ledgerHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(ledgerFormat, 8);
  header.writeUInt16LE(shard, 12);
  header.writeUInt16LE(header.write(context, 16, "utf8"), 14);
  header.set(chainOf(new Uint8Array(0), header), at.chain);
  return header;
}

/** The first chain. */
function readHeader(header: Buffer, place: LedgerPlace): Buffer {
  const { path } = place;
  const isWhole =
    header.length === ledgerHeaderBytes &&
    header.toString("latin1", 0, 8) === magic &&
    chainOf(new Uint8Array(0), header).equals(header.subarray(at.chain));
  if (!isWhole) throw damaged(path, 0, "the header is damaged");
  const format = header.readUInt32LE(8);
  if (format !== ledgerFormat) {
    const why = `${path} has format ${format}, known is ${ledgerFormat}`;
    throw new WarpError("FORMAT_UNSUPPORTED", why, { file: path });
  }
  if (headerOf(place).equals(header)) return header.subarray(at.chain);
  throw new WarpError("CONFIG_MISMATCH", `${path} belongs to another shard or context`, { file: path });
}

function chainOf(before: Uint8Array, entry: Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256").update(before).update(entry.subarray(0, at.chain)).digest();
}

function isEntry(entry: Buffer, before: Uint8Array, index: number): boolean {
  return (
    entry.length === ledgerEntryBytes &&
    entry.readUInt32LE(at.magic) === entryMagic &&
    entry.readDoubleLE(at.index) === index &&
    chainOf(before, entry).equals(entry.subarray(at.chain, at.chain + chainBytes))
  );
}

function encode(out: Buffer, entry: LedgerEntry): void {
  out.writeUInt32LE(entryMagic, at.magic);
  out.writeDoubleLE(entry.index, at.index);
  out.writeDoubleLE(entry.number, at.number);
  out.writeDoubleLE(entry.position, at.position);
  out.writeDoubleLE(entry.erasedAt, at.erasedAt);
  out.set(entry.fingerprint.subarray(0, fingerprintBytes), at.fingerprint);
  out.set(entry.idHash.subarray(0, idHashBytes), at.idHash);
  out.writeUInt8(out.write(entry.reason, at.reason + 1, ledgerTextMax, "latin1"), at.reason);
  out.writeUInt8(out.write(entry.by, at.by + 1, ledgerTextMax, "latin1"), at.by);
}

function decode(entry: Buffer): LedgerEntry {
  const text = (from: number) => entry.toString("latin1", from + 1, from + 1 + entry.readUInt8(from));
  return {
    index: entry.readDoubleLE(at.index),
    number: entry.readDoubleLE(at.number),
    position: entry.readDoubleLE(at.position),
    erasedAt: entry.readDoubleLE(at.erasedAt),
    fingerprint: Uint8Array.from(entry.subarray(at.fingerprint, at.fingerprint + fingerprintBytes)),
    idHash: Uint8Array.from(entry.subarray(at.idHash, at.idHash + idHashBytes)),
    reason: text(at.reason),
    by: text(at.by),
  };
}

function damaged(file: string, offset: number, why: string): WarpError {
  return new WarpError("CORRUPT", `${file}: ${why}`, { file, offset });
}
