/**
 * Random bytes from the operating system, fetched in blocks because a call costs more than the bytes.
 */
import { randomFillSync } from "node:crypto";

const pool = Buffer.allocUnsafe(16 * 1024);
let used = pool.length;

/** A fresh copy of `length` random bytes; at most 4 KiB. */
export function randomBytesPooled(length: number): Buffer {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const bytes = Buffer.from(pool.subarray(used, used + length));
  pool.fill(0, used, used + length);
  used += length;
  return bytes;
}
