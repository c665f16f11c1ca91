/**
 * The form that all objects of a backup share: a header of JSON, blocks of rows, and an end mark.
 *
 * - Header and each block have a hash of their own, and the end says how many blocks there are: a flipped bit and a
 *   truncated object are found, and the error names object and offset.
 * - A block is rows of one table by columns: the numbers of all rows, compressed, and their bytes as they are, since what
 *   is encrypted does not compress.
 * - Blocks are self-contained, so they can be copied from object to object.
 *
 * Byte tables: docs/data-files.md.
 */
import { WarpError } from "../../core/errors.ts";

export const containerFormat = 1;
const magic = Buffer.from("WARPBKUP");
const prefixBytes = 24;
const blockHeaderBytes = 24;
const endKind = 0;
const nothing = new Uint8Array(0);
/** More than any header needs; a length beyond it is damage. */
const headerBytesMax = 16 * 1024 * 1024;

/** Rows of one table. */
export interface Block {
  /** Which table, from 1. */
  readonly kind: number;
  readonly rows: number;
  /** Per number column, a value per row. */
  readonly numbers: readonly Float64Array[];
  /** Per bytes column, the length of each row's value … */
  readonly lengths: readonly Uint32Array[];
  /** … and all values, row by row. */
  readonly data: Uint8Array;
}

/** How many columns a kind of block has. Undefined for an unknown kind. */
export type ShapeOf = (kind: number) => { readonly numbers: number; readonly bytes: number } | undefined;

/** The bytes of an object up to its first block. */
export function encodeHeader(header: object): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.alloc(prefixBytes + json.length);
  bytes.set(magic);
  bytes.writeUInt32LE(containerFormat, 8);
  bytes.writeUInt32LE(json.length, 12);
  bytes.set(json, prefixBytes);
  bytes.writeBigUInt64LE(hashOf(bytes.subarray(0, 16), json), 16);
  return bytes;
}

export function encodeBlock(block: Block): Buffer[] {
  const columns = Buffer.concat([...block.numbers, ...block.lengths].map(bytesOfArray));
  const packed = Bun.zstdCompressSync(columns, { level: 1 });
  const data = asBuffer(block.data);
  return [blockHeader(block.kind, block.rows, packed, data), packed, data];
}

/** The end of an object with this many blocks. */
export function encodeEnd(blocks: number): Buffer {
  return blockHeader(endKind, blocks, nothing, nothing);
}

/** An object without blocks. */
export function encodeObject(header: object): Buffer {
  return Buffer.concat([encodeHeader(header), encodeEnd(0)]);
}

/** The header, and the offset behind it. `bytes` may be only the beginning of the object. Errors: CORRUPT, FORMAT_UNSUPPORTED. */
export function decodeHeader<Header>(
  bytes: Uint8Array,
  object: string,
): { readonly header: Header; readonly end: number } {
  const buffer = asBuffer(bytes);
  if (buffer.length < prefixBytes || !buffer.subarray(0, magic.length).equals(magic)) {
    throw damaged(object, 0, "it is no object of a backup, or its beginning is lost");
  }
  const format = buffer.readUInt32LE(8);
  const length = buffer.readUInt32LE(12);
  const end = prefixBytes + length;
  if (length > headerBytesMax || end > buffer.length)
    throw damaged(object, buffer.length, "it ends inside its header");
  const json = buffer.subarray(prefixBytes, end);
  if (hashOf(buffer.subarray(0, 16), json) !== buffer.readBigUInt64LE(16)) {
    throw damaged(object, 0, "the hash of its header does not match");
  }
  if (format !== containerFormat) {
    throw new WarpError(
      "FORMAT_UNSUPPORTED",
      `${object} has backup format ${format}; this version reads ${containerFormat}`,
      { object, format },
    );
  }
  return { header: JSON.parse(json.toString("utf8")) as Header, end };
}

/** The header of an object that has no blocks, wholly verified. Errors: CORRUPT, FORMAT_UNSUPPORTED. */
export function decodeObject<Header>(bytes: Uint8Array, object: string): Header {
  const { header, end } = decodeHeader<Header>(bytes, object);
  for (const { kind } of decodeBlocks(bytes, end, object, () => undefined)) {
    throw damaged(object, end, `it has a block of the unknown kind ${kind}`);
  }
  return header;
}

/** All blocks behind the header, in order, each verified. Errors: CORRUPT. */
export function* decodeBlocks(
  bytes: Uint8Array,
  from: number,
  object: string,
  shapeOf: ShapeOf,
): Generator<Block> {
  const buffer = asBuffer(bytes);
  let blocks = 0;
  for (let at = from; ; ) {
    if (at + blockHeaderBytes > buffer.length) throw damaged(object, at, "it is cut off");
    const [kind, rows, columnBytes, dataBytes] = [0, 4, 8, 12].map((offset) =>
      buffer.readUInt32LE(at + offset),
    ) as [number, number, number, number];
    const columnsAt = at + blockHeaderBytes;
    const dataAt = columnsAt + columnBytes;
    const end = dataAt + dataBytes;
    if (end > buffer.length) throw damaged(object, at, "it is cut off");
    const packed = buffer.subarray(columnsAt, dataAt);
    const data = buffer.subarray(dataAt, end);
    if (hashOf(buffer.subarray(at, at + 16), packed, data) !== buffer.readBigUInt64LE(at + 16)) {
      throw damaged(object, at, "the hash of a block does not match");
    }
    if (kind === endKind) {
      if (rows !== blocks) throw damaged(object, at, `it has ${blocks} blocks and says ${rows}`);
      if (end !== buffer.length) throw damaged(object, end, "there is something behind its end");
      return;
    }
    const shape = shapeOf(kind);
    if (shape === undefined) throw damaged(object, at, `it has a block of the unknown kind ${kind}`);
    yield decodeColumns(kind, rows, shape, packed, data, object, at);
    blocks++;
    at = end;
  }
}

function decodeColumns(
  kind: number,
  rows: number,
  shape: { readonly numbers: number; readonly bytes: number },
  packed: Uint8Array,
  data: Uint8Array,
  object: string,
  at: number,
): Block {
  const columns = Bun.zstdDecompressSync(packed);
  if (columns.length !== rows * (shape.numbers * 8 + shape.bytes * 4)) {
    throw damaged(object, at, "the columns of a block do not add up");
  }
  // A copy has the alignment that typed arrays need.
  const memory = new Uint8Array(columns).buffer;
  const numbers = Array.from(
    { length: shape.numbers },
    (_, i) => new Float64Array(memory, i * rows * 8, rows),
  );
  const lengthsAt = shape.numbers * rows * 8;
  const lengths = Array.from(
    { length: shape.bytes },
    (_, i) => new Uint32Array(memory, lengthsAt + i * rows * 4, rows),
  );
  let total = 0;
  for (const column of lengths) for (const length of column) total += length;
  if (total !== data.length) throw damaged(object, at, "the values of a block do not add up");
  return { kind, rows, numbers, lengths, data };
}

/** Damage of an object of a backup, as the error to throw. */
export function damaged(object: string, offset: number | undefined, why: string): WarpError {
  const where = offset === undefined ? "" : ` at offset ${offset}`;
  return new WarpError("CORRUPT", `${object} is damaged${where}: ${why}`, {
    object,
    ...(offset === undefined ? {} : { offset }),
  });
}

export function missing(object: string): WarpError {
  return new WarpError("CORRUPT", `${object} is missing from the backup`, { object });
}

function blockHeader(kind: number, rows: number, packed: Uint8Array, data: Uint8Array): Buffer {
  const head = Buffer.alloc(blockHeaderBytes);
  for (const [i, value] of [kind, rows, packed.length, data.length].entries())
    head.writeUInt32LE(value, i * 4);
  head.writeBigUInt64LE(hashOf(head.subarray(0, 16), packed, data), 16);
  return head;
}

/** xxHash64, each part seeded with the hash of the parts before. */
function hashOf(...parts: readonly Uint8Array[]): bigint {
  let hash = 0n;
  for (const part of parts) hash = Bun.hash.xxHash64(part, hash);
  return hash;
}

function bytesOfArray(array: Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
