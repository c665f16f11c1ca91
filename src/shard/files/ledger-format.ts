/**
 * The bytes of a ledger; docs/data-files.md has them as tables.
 *
 * Little-endian: a header of 256 bytes (8 bytes "WARPLEDG", u32 format, u16 shard, u16 length of the context, the context,
 * zeros, at 224 the SHA-256 of what is before: the first chain), then entries of 256 bytes.
 */
import { fingerprintBytes, idHashBytes } from "../../core/erasure.ts";
import { WarpError } from "../../core/errors.ts";

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
  firstOfWrite: 216,
  chain: 224,
} as const;

/** Whose key an entry says to be destroyed. Entries of the first versions have 0 for subjects too. */
const kinds = ["entity", "subject"] as const;

/** A subject is somebody whom entities of the shard speak of; what dies with its key are personal parts. */
export type LedgerKind = (typeof kinds)[number];

export interface LedgerEntry {
  /** 1, 2, 3 … within the shard. */
  readonly index: number;
  readonly kind: LedgerKind;
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

export function headerOf({ context, shard }: LedgerPlace): Buffer {
  const header = Buffer.alloc(ledgerHeaderBytes);
  header.write(magic, 0, "latin1");
  header.writeUInt32LE(ledgerFormat, 8);
  header.writeUInt16LE(shard, 12);
  header.writeUInt16LE(header.write(context, 16, "utf8"), 14);
  header.set(chainOf(new Uint8Array(0), header), at.chain);
  return header;
}

/** The first chain. */
export function readHeader(header: Buffer, place: LedgerPlace): Buffer {
  const { path } = place;
  const isWhole =
    header.length === ledgerHeaderBytes &&
    header.toString("latin1", 0, 8) === magic &&
    chainOf(new Uint8Array(0), header).equals(header.subarray(at.chain));
  if (!isWhole) throw damagedLedger(path, 0, "the header is damaged");
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

/** True when it is the entry of this index behind `before`, as it was written. */
export function isEntry(entry: Buffer, before: Uint8Array, index: number): boolean {
  return hasShape(entry, index) && chainOf(before, entry).equals(chainIn(entry));
}

/** Writes an entry and returns its chain. `first`: the index of the first entry that is written together with it. */
export function encodeEntry(out: Buffer, entry: LedgerEntry, first: number, before: Uint8Array): Uint8Array {
  out.writeUInt32LE(entryMagic, at.magic);
  out.writeUInt32LE(kinds.indexOf(entry.kind), at.kind);
  out.writeDoubleLE(entry.index, at.index);
  out.writeDoubleLE(entry.number, at.number);
  out.writeDoubleLE(entry.position, at.position);
  out.writeDoubleLE(entry.erasedAt, at.erasedAt);
  out.set(entry.fingerprint.subarray(0, fingerprintBytes), at.fingerprint);
  out.set(entry.idHash.subarray(0, idHashBytes), at.idHash);
  out.writeUInt8(out.write(entry.reason, at.reason + 1, ledgerTextMax, "latin1"), at.reason);
  out.writeUInt8(out.write(entry.by, at.by + 1, ledgerTextMax, "latin1"), at.by);
  out.writeDoubleLE(first, at.firstOfWrite);
  const chain = chainOf(before, out);
  out.set(chain, at.chain);
  return chain;
}

/** What an entry and all before it are known by. */
export function chainIn(entry: Buffer): Buffer {
  return entry.subarray(at.chain, at.chain + chainBytes);
}

/** True when it looks like the entry of this index; whether it is unchanged, only its chain says. */
export function hasShape(entry: Buffer, index: number): boolean {
  return (
    entry.length === ledgerEntryBytes &&
    entry.readUInt32LE(at.magic) === entryMagic &&
    entry.readDoubleLE(at.index) === index
  );
}

/** The index of the first entry that was written together with it; its own in ledgers of the first versions. */
export function firstOfWrite(entry: Buffer): number {
  return entry.readDoubleLE(at.firstOfWrite) || entry.readDoubleLE(at.index);
}

export function decodeEntry(entry: Buffer): LedgerEntry {
  const text = (from: number) => entry.toString("latin1", from + 1, from + 1 + entry.readUInt8(from));
  return {
    index: entry.readDoubleLE(at.index),
    kind: kinds[entry.readUInt32LE(at.kind)] ?? "entity",
    number: entry.readDoubleLE(at.number),
    position: entry.readDoubleLE(at.position),
    erasedAt: entry.readDoubleLE(at.erasedAt),
    fingerprint: Uint8Array.from(entry.subarray(at.fingerprint, at.fingerprint + fingerprintBytes)),
    idHash: Uint8Array.from(entry.subarray(at.idHash, at.idHash + idHashBytes)),
    reason: text(at.reason),
    by: text(at.by),
  };
}

export function damagedLedger(file: string, offset: number, why: string): WarpError {
  return new WarpError("CORRUPT", `${file}: ${why}`, { file, offset });
}
