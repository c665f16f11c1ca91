/**
 * Seals blocks, writes them at the shared position (position.ts) and makes them durable. Each thread that writes has one of its own; only
 * the holder of the position may call it.
 *
 * - The next block is written only after the one before is fsynced (under "fsync").
 * - Under "fsync" blocks bypass the page cache where the file system can: nobody reads them back but a replay, and a
 *   write with its sync takes a fifth less time and a third less of the processor (docs/decisions/0013).
 */
import { ptr } from "bun:ffi";
import { createCipheriv } from "node:crypto";
import { fdatasyncSync, writeSync } from "node:fs";
import { nonceBytes, release } from "../core/aead.ts";
import { assert, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { randomBytesPooled } from "../core/random.ts";
import {
  beginBlockHeader,
  blockBytes,
  blockHeaderBytes,
  encodeSegmentHeader,
  finishBlockHeader,
  segmentHeaderBytes,
  segmentName,
} from "./format.ts";
import type { OpenSegment, Position } from "./position.ts";

export interface BlockWriterOptions {
  readonly durability: "fsync" | "os";
  readonly segmentBytes: number;
}

/** A block without a body. */
const markerBytes = blockBytes(0);
/** What the cipher gets at once: its output is new memory every time, which costs twice as much beyond this. */
const cipherBytes = 64 * 1024;
/** Holds a turn of some hundred small appends; grows to the largest block seen. */
const firstBufferBytes = 64 * 1024;

export class BlockWriter {
  readonly #position: Position;
  readonly #options: BlockWriterOptions;
  /** The block under construction, at an address that an unbuffered write takes. */
  #block = alignedBuffer(firstBufferBytes);

  constructor(position: Position, options: BlockWriterOptions) {
    this.#position = position;
    this.#options = options;
  }

  /** True when a block with this body goes into the open segment, and a marker behind it. */
  hasRoom(bodyBytes: number): boolean {
    return this.#hasBytes(blockBytes(bodyBytes) + markerBytes);
  }

  /** True when a block without a body does. */
  get hasRoomForMarker(): boolean {
    return this.#hasBytes(markerBytes);
  }

  #hasBytes(bytes: number): boolean {
    return this.#position.segment !== 0 && this.#position.at + bytes <= this.#options.segmentBytes;
  }

  /** Writes the header of a segment, makes it durable, and lets blocks go there. Its key slot must be durable. */
  begin(segment: OpenSegment): void {
    const { segmentBytes, durability } = this.#options;
    const firstSequence = this.#position.sequence + 1;
    this.#block.set(encodeSegmentHeader({ use: segment.use, segmentBytes, firstSequence, durability }), 0);
    writeWhole(segment.file, this.#block.subarray(0, segmentHeaderBytes), 0, segmentName(segment.id));
    fdatasyncSync(segment.file);
    this.#position.openSegment(segment, segmentHeaderBytes);
  }

  /** Seals and writes one block and makes it durable. There must be room. */
  write(kind: number, body: readonly Uint8Array[]): void {
    const { segment, file, use, at: start } = this.#position;
    assert(segment !== 0, "a segment is open");
    let bodyBytes = 0;
    for (const piece of body) bodyBytes += piece.length;
    const total = blockBytes(bodyBytes);
    if (total > this.#block.length) this.#block = alignedBuffer(total * 2);
    const block = this.#block;
    const nonce = randomBytesPooled(nonceBytes);
    const sequence = this.#position.sequence + 1;
    const associated = beginBlockHeader(block, { use, sequence, kind, bodyBytes, nonce });
    const cipher = createCipheriv("aes-256-gcm", this.#position.key, nonce);
    cipher.setAAD(associated);
    let at = blockHeaderBytes;
    for (const piece of body) {
      for (let from = 0; from < piece.length; from += cipherBytes) {
        const ciphertext = cipher.update(piece.subarray(from, from + cipherBytes));
        block.set(ciphertext, at);
        at += ciphertext.length;
        release(ciphertext);
      }
    }
    cipher.final();
    finishBlockHeader(block, cipher.getAuthTag());
    block.fill(0, at, total);
    writeWhole(file, block.subarray(0, total), start, segmentName(segment));
    if (this.#options.durability === "fsync") fdatasyncSync(file);
    this.#position.advance(total);
  }
}

/** A buffer whose first byte stands at a multiple of the sector. */
function alignedBuffer(bytes: number): Buffer {
  const memory = new ArrayBuffer(bytes + limits.sectorBytes);
  const offset = (limits.sectorBytes - (ptr(memory) % limits.sectorBytes)) % limits.sectorBytes;
  return Buffer.from(memory, offset, bytes);
}

export function writeWhole(file: number, bytes: Uint8Array, at: number, name: string): void {
  const written = writeSync(file, bytes, 0, bytes.length, at);
  if (written === bytes.length) return;
  const details = { file: `journal/${name}`, offset: at, written, expected: bytes.length };
  throw new WarpError(
    "IO_ERROR",
    `journal/${name} took ${written} of ${bytes.length} bytes at offset ${at}`,
    details,
  );
}
