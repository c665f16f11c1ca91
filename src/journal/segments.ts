/**
 * The ring of preallocated segment files, as the journal Worker writes it.
 *
 * - The next block is written only after the one before is fsynced (under "fsync").
 * - A segment is taken for a new use only when its old use is retired; then its key slot already holds zeros.
 * - Slots are zeroed in the order of their uses, each synced before the next: what replay finds has no holes.
 * - Segments of earlier processes that are not retired are as if this one had written them.
 * - Order at a switch: key slot, fsync, segment header, fsync, blocks. Under "os" only the blocks are not synced.
 * - Under "fsync" blocks bypass the page cache where the file system can: nobody reads them back but a replay, and a
 *   write with its sync takes a fifth less time and a third less of the processor (docs/decisions/0013).
 */
import { ptr } from "bun:ffi";
import { createCipheriv, randomBytes } from "node:crypto";
import { closeSync, constants, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { keyBytes, nonceBytes, release, seal } from "../core/aead.ts";
import { assert, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { PeriodKeys } from "../core/period-keys.ts";
import { randomBytesPooled } from "../core/random.ts";
import {
  associatedOfSlot,
  beginBlockHeader,
  blockBytes,
  blockHeaderBytes,
  type blockKind,
  decodeSlot,
  encodeSegmentHeader,
  encodeSlot,
  finishBlockHeader,
  keysName,
  segmentHeaderBytes,
  segmentName,
  slotBytes,
} from "./format.ts";

export interface SegmentsOptions {
  readonly directory: string;
  readonly context: string;
  readonly durability: "fsync" | "os";
  readonly segmentBytes: number;
  /** The period keys (core/period-keys.ts); the current one wraps the key of each use. */
  readonly periods: SharedArrayBuffer;
  /** Uses up to this one are retired, whatever their slots say. */
  readonly retiredUse: number;
  /** The newest use and block sequence that the directory has seen. */
  readonly lastUse: number;
  readonly lastSequence: number;
}

interface Segment {
  readonly id: number;
  readonly file: number;
  /** 0 when free. */
  use: number;
}

export class Segments {
  readonly #options: SegmentsOptions;
  readonly #periods: PeriodKeys;
  readonly #keys: number;
  readonly #segments: Segment[] = [];
  /** Uses of earlier processes that are not retired, by segment. */
  readonly #formerUses = new Map<number, number>();
  #current: Segment | undefined;
  #key: Buffer = Buffer.alloc(keyBytes);
  #at = 0;
  #use: number;
  #sequence: number;
  /** The block under construction, at an address that an unbuffered write takes. */
  #block = alignedBuffer(blockBufferBytes);

  constructor(options: SegmentsOptions) {
    this.#options = options;
    this.#periods = new PeriodKeys(options.periods);
    this.#use = options.lastUse;
    this.#sequence = options.lastSequence;
    this.#keys = openSync(join(options.directory, keysName), "r+");
    this.#takeFormer();
  }

  /** Makes the segment files up to `count` known; they exist, zeroed and synced. */
  addSegments(count: number): void {
    for (let id = this.#segments.length + 1; id <= count; id++) {
      const path = join(this.#options.directory, segmentName(id));
      const file = this.#options.durability === "fsync" ? openUnbuffered(path) : openSync(path, "r+");
      this.#segments.push({ id, file, use: this.#formerUses.get(id) ?? 0 });
    }
  }

  /** Zeroes the key slots of uses up to `use`: what those segments held can no longer be read. */
  retire(use: number): void {
    const retired = this.#segments.filter((segment) => segment.use !== 0 && segment.use <= use);
    for (const segment of retired.sort((a, b) => a.use - b.use)) {
      if (segment === this.#current) this.#current = undefined;
      segment.use = 0;
      this.#zeroSlot(segment.id);
    }
  }

  /** Takes over what earlier processes left, and retires what of it is in the shards. */
  #takeFormer(): void {
    const keys = Buffer.alloc(fstatSync(this.#keys).size);
    readSync(this.#keys, keys, 0, keys.length, 0);
    const former: { readonly id: number; readonly use: number }[] = [];
    for (let at = 0; at + slotBytes <= keys.length; at += slotBytes) {
      const slot = decodeSlot(keys.subarray(at, at + slotBytes), `journal/${keysName}`, at);
      if (slot !== undefined) former.push({ id: at / slotBytes + 1, use: slot.use });
    }
    for (const { id, use } of former.sort((a, b) => a.use - b.use)) {
      if (use <= this.#options.retiredUse) this.#zeroSlot(id);
      else this.#formerUses.set(id, use);
    }
  }

  #zeroSlot(id: number): void {
    writeWhole(this.#keys, Buffer.alloc(slotBytes), (id - 1) * slotBytes, keysName);
    fdatasyncSync(this.#keys);
  }

  /** Of the segment that the next block goes to. */
  get use(): number {
    return this.#use;
  }

  /** True when a block with this body goes into the current segment, and a marker behind it. */
  hasRoom(bodyBytes: number): boolean {
    return this.#hasBytes(blockBytes(bodyBytes) + markerBytes);
  }

  #hasBytes(bytes: number): boolean {
    return this.#current !== undefined && this.#at + bytes <= this.#options.segmentBytes;
  }

  /** Starts the next use in a free segment; false when there is none. */
  advance(): boolean {
    const next = this.#segments.find((segment) => segment.use === 0);
    if (next === undefined) return false;
    const { context, durability, segmentBytes } = this.#options;
    const { period, key: periodKey } = this.#periods.current;
    this.#use++;
    this.#key = randomBytes(keyBytes);
    const wrapped = seal(periodKey, this.#key, associatedOfSlot(context, next.id, this.#use));
    const slot = encodeSlot({ use: this.#use, period, wrapped });
    writeWhole(this.#keys, slot, (next.id - 1) * slotBytes, keysName);
    fdatasyncSync(this.#keys);
    const header = encodeSegmentHeader({
      use: this.#use,
      segmentBytes,
      firstSequence: this.#sequence + 1,
      durability,
    });
    this.#block.set(header, 0);
    writeWhole(next.file, this.#block.subarray(0, segmentHeaderBytes), 0, segmentName(next.id));
    fdatasyncSync(next.file);
    next.use = this.#use;
    this.#current = next;
    this.#at = segmentHeaderBytes;
    return true;
  }

  /** Seals and writes one block and makes it durable; returns the use it went to. There must be room. */
  write(kind: number, body: readonly Uint8Array[]): number {
    const segment = this.#current;
    assert(segment !== undefined, "a segment is open");
    let bodyBytes = 0;
    for (const piece of body) bodyBytes += piece.length;
    const total = blockBytes(bodyBytes);
    if (total > this.#block.length) this.#block = alignedBuffer(total * 2);
    const block = this.#block;
    const nonce = randomBytesPooled(nonceBytes);
    const sequence = this.#sequence + 1;
    const associated = beginBlockHeader(block, { use: this.#use, sequence, kind, bodyBytes, nonce });
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce);
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
    writeWhole(segment.file, block.subarray(0, total), this.#at, segmentName(segment.id));
    this.#sync(segment.file);
    this.#at += total;
    this.#sequence = sequence;
    return this.#use;
  }

  /**
   * Says on disk that everything before was acknowledged and nothing was under way. Behind records there is room for it; there may
   * be none behind another marker, which has said so.
   */
  mark(kind: typeof blockKind.idle | typeof blockKind.stop): void {
    if (this.#hasBytes(markerBytes)) this.write(kind, []);
  }

  close(): void {
    for (const segment of this.#segments) closeSync(segment.file);
    closeSync(this.#keys);
  }

  #sync(file: number): void {
    if (this.#options.durability === "fsync") fdatasyncSync(file);
  }
}

/** A block without a body. */
const markerBytes = blockBytes(0);
/** What the cipher gets at once: its output is new memory every time, which costs twice as much beyond this. */
const cipherBytes = 64 * 1024;

/** Holds a turn of a thousand small appends; grows to the largest block seen. */
const blockBufferBytes = 1024 * 1024;

/** A buffer whose first byte stands at a multiple of the sector. */
function alignedBuffer(bytes: number): Buffer {
  const memory = new ArrayBuffer(bytes + limits.sectorBytes);
  const offset = (limits.sectorBytes - (ptr(memory) % limits.sectorBytes)) % limits.sectorBytes;
  return Buffer.from(memory, offset, bytes);
}

/** Some file systems (tmpfs on older kernels, network file systems) know no unbuffered writes. */
function openUnbuffered(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | (constants.O_DIRECT ?? 0));
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EINVAL") return openSync(path, "r+");
    throw thrown;
  }
}

function writeWhole(file: number, bytes: Uint8Array, at: number, name: string): void {
  const written = writeSync(file, bytes, 0, bytes.length, at);
  if (written === bytes.length) return;
  const details = { file: `journal/${name}`, offset: at, written, expected: bytes.length };
  throw new WarpError(
    "IO_ERROR",
    `journal/${name} took ${written} of ${bytes.length} bytes at offset ${at}`,
    details,
  );
}
