/**
 * The disk itself: one thread writes and fdatasyncs blocks through a file that is allocated and zeroed, past the page cache
 * as the journal does, and through it as most others do. A turn of few callers fits into 4 KiB, one of hundreds into
 * 32 KiB, one of batches into 256 KiB.
 */
import { ptr } from "bun:ffi";
import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** fdatasync per second, by the bytes written before each. */
export interface DiskSpeed {
  readonly direct: Readonly<{ [bytes: string]: number }>;
  readonly cached: Readonly<{ [bytes: string]: number }>;
}

const fileBytes = 64 * 1024 * 1024;
const blockSizes = [4096, 32_768, 262_144];
const sectorBytes = 4096;

/** Blocks the thread: `seconds` for both ways together, of each size. */
export function measureDisk(seconds: number): DiskSpeed {
  const directory = mkdtempSync(join(tmpdir(), "warp-disk-"));
  const path = join(directory, "blocks");
  try {
    const file = openSync(path, "w");
    const zeros = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < fileBytes; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at);
    fsyncSync(file);
    closeSync(file);
    return { direct: measure(path, constants.O_DIRECT ?? 0, seconds), cached: measure(path, 0, seconds) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function measure(path: string, flags: number, seconds: number): DiskSpeed["direct"] {
  const file = openSync(path, constants.O_RDWR | flags);
  const speeds = blockSizes.map((bytes) => [bytes, syncsPerSecond(file, bytes, seconds / 2)] as const);
  closeSync(file);
  return Object.fromEntries(speeds);
}

function syncsPerSecond(file: number, bytes: number, seconds: number): number {
  // Writes past the page cache are from memory that is aligned.
  const memory = new ArrayBuffer(bytes + sectorBytes);
  const offset = (sectorBytes - (ptr(memory) % sectorBytes)) % sectorBytes;
  const block = Buffer.from(memory, offset, bytes).fill(7);
  const begun = performance.now();
  let syncs = 0;
  let elapsedMs = 0;
  while (elapsedMs < seconds * 1000) {
    writeSync(file, block, 0, bytes, (syncs * bytes) % fileBytes);
    fdatasyncSync(file);
    syncs++;
    elapsedMs = performance.now() - begun;
  }
  return (syncs / elapsedMs) * 1000;
}
