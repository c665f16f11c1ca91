/**
 * The disk itself: one thread writes and fdatasyncs blocks through a file that is allocated and zeroed, as the journal
 * does. A turn of few callers fits into 4 KiB, one of hundreds into 32 KiB, one of batches into 256 KiB.
 */
import { closeSync, fdatasyncSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface DiskSpeed {
  /** fdatasync per second, by the bytes written before each. */
  readonly syncsPerSecond: Readonly<{ [bytes: string]: number }>;
}

const fileBytes = 64 * 1024 * 1024;
const blockSizes = [4096, 32_768, 262_144];

/** Blocks the thread: `seconds` for each size. */
export function measureDisk(seconds: number): DiskSpeed {
  const directory = mkdtempSync(join(tmpdir(), "warp-disk-"));
  try {
    const file = openSync(join(directory, "blocks"), "w");
    const zeros = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < fileBytes; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at);
    fsyncSync(file);
    const measured = blockSizes.map((bytes) => [bytes, syncsPerSecond(file, bytes, seconds)] as const);
    closeSync(file);
    return { syncsPerSecond: Object.fromEntries(measured) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function syncsPerSecond(file: number, bytes: number, seconds: number): number {
  const block = Buffer.alloc(bytes, 7);
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
