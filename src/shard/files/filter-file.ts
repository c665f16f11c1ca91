/**
 * A filter that is kept across restarts: the writer's side, with its file.
 *
 * - The file is a copy of the bits with the rowid up to which they are complete; opening adds only the rows after it.
 * - It is only a shortcut. When it is absent, damaged, of another format or ahead of the rows, it is rebuilt from them.
 * - It is saved only for rows that are in the main database file: rows that a power failure can still take back
 *   might return as other rows under the same rowids. So it needs no sync itself; its checksum tells a torn one.
 *
 * Layout, little-endian: 8 bytes "WARPFLTR", u32 format, u32 hashes, u16 shard, u16 layers, u32 zero, f64 complete up to
 * rowid, f64 elements, f64 elements of the newest layer; then per layer f64 byte length; then the layers; last a u64
 * xxHash64 of everything before.
 */
import { closeSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { assert } from "../../core/errors.ts";
import type { FilterMemory } from "../messages.ts";
import { type ElementHash, Filter } from "./filter.ts";

const magic = "WARPFLTR";
const filterFormat = 1;
const headerBytes = 48;
const checksumBytes = 8;
/**
 * Saved again when this share of the elements is new, and at least so many: a start after a crash reads a row for each of
 * them, about 2 µs, and a save writes 1.5 to 3 bytes for each of all elements.
 */
const savedShareMin = 0.02;
const savedCountMin = 1000;

export class KeptFilter {
  filter: Filter;
  readonly #path: string;
  readonly #shard: number;
  /** All elements, and those added since the newest layer was begun; an element added twice counts twice. */
  #elements: number;
  #newestElements: number;
  #savedElements: number;
  #hasGrown = false;
  #isPartial = false;

  private constructor(path: string, shard: number, filter: Filter, elements: number, newestElements: number) {
    this.#path = path;
    this.#shard = shard;
    this.filter = filter;
    this.#elements = elements;
    this.#newestElements = newestElements;
    this.#savedElements = elements;
  }

  /** An empty one with space for `elements`, to be filled from the rows. */
  static empty(path: string, shard: number, elements: number): KeptFilter {
    const kept = new KeptFilter(path, shard, Filter.forElements(elements), 0, 0);
    kept.#savedElements = -1;
    return kept;
  }

  /** The saved one with the rowid up to which it is complete, or undefined when it must be rebuilt. */
  static load(
    path: string,
    shard: number,
  ): { readonly kept: KeptFilter; readonly completeTo: number } | undefined {
    const file = readFilterFile(path);
    if (typeof file === "string" || file.shard !== shard) return undefined;
    const filter = new Filter(file.memory);
    return {
      kept: new KeptFilter(path, shard, filter, file.elements, file.newestElements),
      completeTo: file.completeTo,
    };
  }

  addBytes(bytes: Uint8Array, from: number, to: number, seed = 0): void {
    this.filter.addBytes(bytes, from, to, seed);
    this.#count();
  }

  addHash(hash: ElementHash): void {
    this.filter.addHash(hash);
    this.#count();
  }

  /** What it has of a row cannot be known now: it serves this process, and is never saved. */
  leaveOut(): void {
    this.#isPartial = true;
  }

  /** Makes sure that `count` more elements do not overfill the newest layer: begins another one if they would. */
  reserve(count: number): void {
    if (this.#newestElements + count <= this.filter.newestCapacity) return;
    this.filter = this.filter.grown(count);
    this.#newestElements = 0;
    this.#hasGrown = true;
  }

  /** True once after the filter has grown. */
  takeGrown(): boolean {
    const hasGrown = this.#hasGrown;
    this.#hasGrown = false;
    return hasGrown;
  }

  /** True when so much was added since the last save that the next start would feel it. */
  get isWorthSaving(): boolean {
    const added = this.#elements - this.#savedElements;
    return this.#savedElements < 0 || added > Math.max(savedCountMin, this.#savedElements * savedShareMin);
  }

  get isSaved(): boolean {
    return this.#elements === this.#savedElements;
  }

  /** Saves the bits, complete for all rows up to `completeTo`, which are in the main database file. */
  save(completeTo: number): void {
    if (this.#isPartial) return;
    const { layers, hashes } = this.filter.memory;
    const bitsBytes = layers.reduce((sum, layer) => sum + layer.byteLength, 0);
    const length = headerBytes + layers.length * 8 + bitsBytes + checksumBytes;
    const bytes = Buffer.alloc(length);
    bytes.write(magic, 0, "latin1");
    bytes.writeUInt32LE(filterFormat, 8);
    bytes.writeUInt32LE(hashes, 12);
    bytes.writeUInt16LE(this.#shard, 16);
    bytes.writeUInt16LE(layers.length, 18);
    bytes.writeDoubleLE(completeTo, 24);
    bytes.writeDoubleLE(this.#elements, 32);
    bytes.writeDoubleLE(this.#newestElements, 40);
    let at = headerBytes;
    for (const layer of layers) at = bytes.writeDoubleLE(layer.byteLength, at);
    for (const layer of layers) {
      bytes.set(new Uint8Array(layer), at);
      at += layer.byteLength;
    }
    bytes.writeBigUInt64LE(Bun.hash.xxHash64(bytes.subarray(0, at)), at);
    assert(at + checksumBytes === length, "a filter file is as long as its header says");
    const staged = `${this.#path}.new`;
    const file = openSync(staged, "w", 0o600);
    try {
      for (let written = 0; written < length; ) written += writeSync(file, bytes, written, length - written);
    } finally {
      closeSync(file);
    }
    renameSync(staged, this.#path);
    this.#savedElements = this.#elements;
  }

  #count(): void {
    this.#elements++;
    this.#newestElements++;
  }
}

export interface FilterFile {
  readonly shard: number;
  readonly completeTo: number;
  readonly elements: number;
  readonly newestElements: number;
  readonly memory: FilterMemory;
}

/** The content of a filter file, or why it cannot be used. */
export function readFilterFile(path: string): FilterFile | string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const end = bytes.length - checksumBytes;
  if (end < headerBytes || bytes.toString("latin1", 0, 8) !== magic) return "it is not a filter file";
  if (bytes.readUInt32LE(8) !== filterFormat) return `it has format ${bytes.readUInt32LE(8)}`;
  if (bytes.readBigUInt64LE(end) !== Bun.hash.xxHash64(bytes.subarray(0, end)))
    return "its checksum does not match";
  const layerCount = bytes.readUInt16LE(18);
  const layers: SharedArrayBuffer[] = [];
  let at = headerBytes + layerCount * 8;
  for (let i = 0; i < layerCount; i++) {
    const length = bytes.readDoubleLE(headerBytes + i * 8);
    if (at + length > end) return "its layers do not add up";
    const layer = new SharedArrayBuffer(length);
    new Uint8Array(layer).set(bytes.subarray(at, at + length));
    layers.push(layer);
    at += length;
  }
  if (at !== end || layers.length === 0) return "its layers do not add up";
  return {
    shard: bytes.readUInt16LE(16),
    completeTo: bytes.readDoubleLE(24),
    elements: bytes.readDoubleLE(32),
    newestElements: bytes.readDoubleLE(40),
    memory: { layers, hashes: bytes.readUInt32LE(12) },
  };
}
