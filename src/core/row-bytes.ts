/**
 * What rows of queries take, wherever they are counted: as they are selected, cut into replies and held.
 */

/** Of MessagePack: the most that a number takes, and what stands before a text or bytes, or a row. */
const numberBytes = 9;
const headerBytes = 5;

/** Bytes of a row as MessagePack, at the most. As JSON it may take more: escapes and digits. */
export function rowBytes(row: readonly unknown[]): number {
  let bytes = headerBytes;
  for (const value of row) {
    if (typeof value === "string") bytes += headerBytes + Buffer.byteLength(value);
    else bytes += value instanceof Uint8Array ? headerBytes + value.length : numberBytes;
  }
  return bytes;
}
