/**
 * Bytes of the journal's files: segment headers, block headers and key slots. Byte tables: docs/data-files.md.
 *
 * - A header is valid only with its CRC-32, its magic and its format version. Writers write whole sectors.
 * - A block is one turn of the engine: records of all shards, sealed under the key of the segment's current use.
 * - A disk is trusted to write 512 bytes atomically, and nothing more.
 */
import { nonceBytes, tagBytes } from "../core/aead.ts";
import { bytesOf } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";

export const journalFormat = 1;
const segmentMagic = 0x57_4a_53_31;
const blockMagic = 0x57_4a_42_31;
const slotMagic = 0x57_4a_4b_31;

export const segmentHeaderBytes = limits.sectorBytes;
export const blockHeaderBytes = 64;
export const slotBytes = limits.sectorBytes;
const slotCipherBytes = 60;

export const blockKind = { records: 1, idle: 2, stop: 3 } as const;

export interface SegmentHeader {
  /** 1, 2, 3 … over the life of the directory: which filling of which file this is. */
  readonly use: number;
  readonly segmentBytes: number;
  /** Sequence of the first block of this use. */
  readonly firstSequence: number;
  readonly durability: "fsync" | "os";
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const { buffer, view } = bytesOf(new ArrayBuffer(segmentHeaderBytes));
  view.setUint32(0, segmentMagic, true);
  view.setUint32(8, journalFormat, true);
  view.setUint32(12, header.durability === "fsync" ? 1 : 2, true);
  view.setFloat64(16, header.use, true);
  view.setFloat64(24, header.firstSequence, true);
  view.setFloat64(32, header.segmentBytes, true);
  view.setUint32(4, Bun.hash.crc32(buffer.subarray(8, 40)), true);
  return buffer;
}

/** Undefined when the sector holds no valid header; throws FORMAT_UNSUPPORTED for another version's. */
export function decodeSegmentHeader(sector: Buffer, file: string): SegmentHeader | undefined {
  if (sector.length < 40 || sector.readUInt32LE(0) !== segmentMagic) return undefined;
  if (sector.readUInt32LE(4) !== Bun.hash.crc32(sector.subarray(8, 40))) return undefined;
  const format = sector.readUInt32LE(8);
  if (format !== journalFormat) {
    throw new WarpError(
      "FORMAT_UNSUPPORTED",
      `${file} has journal format ${format}, this is ${journalFormat}`,
      {
        file,
        format,
      },
    );
  }
  return {
    durability: sector.readUInt32LE(12) === 2 ? "os" : "fsync",
    use: sector.readDoubleLE(16),
    firstSequence: sector.readDoubleLE(24),
    segmentBytes: sector.readDoubleLE(32),
  };
}

export interface BlockHeader {
  readonly use: number;
  /** 1, 2, 3 … over the life of the directory, without gaps. */
  readonly sequence: number;
  readonly kind: number;
  readonly bodyBytes: number;
  readonly nonce: Uint8Array;
  readonly tag: Uint8Array;
}

/** Offset behind the part of a block header that the body's seal authenticates. */
const blockAssociatedBytes = 36;

/** Writes all of a block header but its tag and checksum, and returns what the body's seal authenticates. */
export function beginBlockHeader(out: Buffer, block: Omit<BlockHeader, "tag">): Buffer {
  out.writeUInt32LE(blockMagic, 0);
  out.writeDoubleLE(block.use, 8);
  out.writeDoubleLE(block.sequence, 16);
  out.writeUInt32LE(block.bodyBytes, 24);
  out.writeUInt32LE(block.kind, 28);
  out.writeUInt32LE(0, 32);
  out.set(block.nonce, blockAssociatedBytes);
  return out.subarray(8, blockAssociatedBytes);
}

export function finishBlockHeader(out: Buffer, tag: Uint8Array): void {
  out.set(tag, blockAssociatedBytes + nonceBytes);
  out.writeUInt32LE(Bun.hash.crc32(out.subarray(8, blockHeaderBytes)), 4);
}

/** Undefined when there is no valid block header at the start of `bytes`. */
export function decodeBlockHeader(bytes: Buffer): BlockHeader | undefined {
  if (bytes.length < blockHeaderBytes || bytes.readUInt32LE(0) !== blockMagic) return undefined;
  if (bytes.readUInt32LE(4) !== Bun.hash.crc32(bytes.subarray(8, blockHeaderBytes))) return undefined;
  const nonceEnd = blockAssociatedBytes + nonceBytes;
  return {
    use: bytes.readDoubleLE(8),
    sequence: bytes.readDoubleLE(16),
    bodyBytes: bytes.readUInt32LE(24),
    kind: bytes.readUInt32LE(28),
    nonce: bytes.subarray(blockAssociatedBytes, nonceEnd),
    tag: bytes.subarray(nonceEnd, nonceEnd + tagBytes),
  };
}

export function associatedOfBlock(header: Buffer): Buffer {
  return header.subarray(8, blockAssociatedBytes);
}

/** The bytes that a block with this body takes in its segment. */
export function blockBytes(bodyBytes: number): number {
  return Math.ceil((blockHeaderBytes + bodyBytes) / limits.sectorBytes) * limits.sectorBytes;
}

export interface KeySlot {
  readonly use: number;
  /** The period key that wraps it. */
  readonly period: number;
  /** nonce ‖ ciphertext ‖ tag of the 32-byte key. */
  readonly wrapped: Uint8Array;
}

export function encodeSlot(slot: KeySlot): Buffer {
  const out = Buffer.alloc(slotBytes);
  out.writeUInt32LE(slotMagic, 0);
  out.writeDoubleLE(slot.use, 8);
  out.writeUInt32LE(slot.period, 16);
  out.set(slot.wrapped, 20);
  out.writeUInt32LE(Bun.hash.crc32(out.subarray(8, 20 + slotCipherBytes)), 4);
  return out;
}

/** Undefined for an empty (retired or never used) slot; throws CORRUPT for a damaged one. */
export function decodeSlot(sector: Buffer, file: string, offset: number): KeySlot | undefined {
  const end = 20 + slotCipherBytes;
  if (sector.subarray(0, end).every((byte) => byte === 0)) return undefined;
  const valid =
    sector.readUInt32LE(0) === slotMagic &&
    sector.readUInt32LE(4) === Bun.hash.crc32(sector.subarray(8, end));
  if (!valid)
    throw new WarpError("CORRUPT", `${file} has a damaged key slot at offset ${offset}`, { file, offset });
  return {
    use: sector.readDoubleLE(8),
    period: sector.readUInt32LE(16),
    wrapped: Buffer.from(sector.subarray(20, end)),
  };
}

/** What the seal of a segment's key authenticates. */
export function associatedOfSlot(context: string, segment: number, use: number): Buffer {
  return Buffer.from(`warp journal key|${context}|${segment}|${use}`);
}

/** `journal/0001` and so on. */
export function segmentName(segment: number): string {
  return String(segment).padStart(4, "0");
}

export const keysName = "keys";
