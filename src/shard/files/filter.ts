/**
 * Existence filters: Bloom filters over shared memory that the writer and the engine's main thread both read and write.
 *
 * - `mayHave` never says no of what was added by this thread, or by another before a message from it arrived.
 * - Bits are only ever set, and set atomically: an addition of one thread is never lost to another's.
 * - A full filter grows by a layer; older layers stay, so whoever still holds the smaller filter loses nothing by
 *   adding to it. An element is in the filter when any layer has it.
 * - An element is a text under a seed. Ids use seed 0, caller keys the number of their entity.
 *
 * The hash is two 32-bit multiplicative lanes over UTF-8 (after cyrb53), the bits of a layer follow by double hashing.
 * It differs from the one of placement.ts: within a shard that one has too few values left.
 */
import { assert } from "../../core/errors.ts";
import type { FilterMemory } from "../messages.ts";

/** Bits set per element and layer; with 12 bits of space per element about 0.3 % of false positives a full layer. */
const hashesPerElement = 8;
const bitsPerElement = 12;
const layerBitsMin = 2 ** 17;
const layerBitsMax = 2 ** 32;

const utf8 = new TextEncoder();

/** Results of the hash functions below, which are called too often to allocate. */
let laneA = 0;
let laneB = 0;

function hashText(text: string, seed: number): void {
  begin(seed);
  let a = laneA;
  let b = laneB;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) {
      const bytes = utf8.encode(text);
      hashBytes(bytes, 0, bytes.length, seed);
      return;
    }
    a = Math.imul(a ^ code, 0x9e3779b1);
    b = Math.imul(b ^ code, 0x5f356495);
  }
  finish(a, b, text.length);
}

function hashBytes(bytes: Uint8Array, from: number, to: number, seed: number): void {
  begin(seed);
  let a = laneA;
  let b = laneB;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0;
    a = Math.imul(a ^ byte, 0x9e3779b1);
    b = Math.imul(b ^ byte, 0x5f356495);
  }
  finish(a, b, to - from);
}

function begin(seed: number): void {
  const low = seed | 0;
  const high = (seed / 2 ** 32) | 0;
  laneA = Math.imul(low ^ 0xdeadbeef, 0x85ebca6b) ^ high;
  laneB = Math.imul(low ^ 0x41c6ce57, 0xc2b2ae35) ^ Math.imul(high, 0x27d4eb2f);
}

function finish(a: number, b: number, length: number): void {
  const first = Math.imul(a ^ (a >>> 16) ^ length, 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  const second =
    Math.imul(b ^ (b >>> 16) ^ length, 0x85ebca6b) ^ Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
  laneA = (first ^ (first >>> 16)) >>> 0;
  // Odd, so that the double hashing walks over all bits.
  laneB = ((second ^ (second >>> 15)) | 1) >>> 0;
}

/** The hash of an element, for storing it: 64 bits in two numbers. */
export interface ElementHash {
  readonly a: number;
  readonly b: number;
}

export function elementHash(text: string, seed: number): ElementHash {
  hashText(text, seed);
  return { a: laneA, b: laneB };
}

export function elementHashOfBytes(bytes: Uint8Array, from: number, to: number, seed: number): ElementHash {
  hashBytes(bytes, from, to, seed);
  return { a: laneA, b: laneB };
}

export class Filter {
  readonly memory: FilterMemory;
  readonly #layers: readonly Int32Array[];

  /** A view of memory that another thread may have made. */
  constructor(memory: FilterMemory) {
    assert(memory.hashes === hashesPerElement && memory.layers.length > 0, "a filter has this format");
    this.memory = memory;
    this.#layers = memory.layers.map((layer) => new Int32Array(layer));
  }

  /** An empty filter with space for about `elements`. */
  static forElements(elements: number): Filter {
    return new Filter({ layers: [emptyLayer(elements)], hashes: hashesPerElement });
  }

  /** The same elements with one more, empty, layer: twice the newest, or with space for `elements` if that is more. */
  grown(elements = 0): Filter {
    const layer = emptyLayer(Math.max(this.newestCapacity * 2, elements));
    return new Filter({ layers: [...this.memory.layers, layer], hashes: hashesPerElement });
  }

  /** How many elements the newest layer takes before it answers "perhaps" too often. */
  get newestCapacity(): number {
    return Math.floor(((this.memory.layers.at(-1)?.byteLength ?? 0) * 8) / bitsPerElement);
  }

  /** False: certainly not added. True: most likely added. */
  mayHave(text: string, seed = 0): boolean {
    hashText(text, seed);
    return this.#has(laneA, laneB);
  }

  mayHaveHash(hash: ElementHash): boolean {
    return this.#has(hash.a, hash.b);
  }

  add(text: string, seed = 0): void {
    hashText(text, seed);
    this.#set(laneA, laneB);
  }

  /** Adds the text whose UTF-8 stands in `bytes` from `from` to `to`. */
  addBytes(bytes: Uint8Array, from: number, to: number, seed = 0): void {
    hashBytes(bytes, from, to, seed);
    this.#set(laneA, laneB);
  }

  addHash(hash: ElementHash): void {
    this.#set(hash.a, hash.b);
  }

  #has(a: number, b: number): boolean {
    for (const layer of this.#layers) {
      const mask = layer.length * 32 - 1;
      let bit = a;
      let i = 0;
      for (; i < hashesPerElement; i++) {
        const at = (bit & mask) >>> 0;
        if (((layer[at >>> 5] ?? 0) & (1 << (at & 31))) === 0) break;
        bit = (bit + b) | 0;
      }
      if (i === hashesPerElement) return true;
    }
    return false;
  }

  #set(a: number, b: number): void {
    const layer = this.#layers[this.#layers.length - 1];
    if (layer === undefined) return;
    const mask = layer.length * 32 - 1;
    let bit = a;
    for (let i = 0; i < hashesPerElement; i++) {
      const at = (bit & mask) >>> 0;
      Atomics.or(layer, at >>> 5, 1 << (at & 31));
      bit = (bit + b) | 0;
    }
  }
}

function emptyLayer(elements: number): SharedArrayBuffer {
  let bits = layerBitsMin;
  while (bits < elements * bitsPerElement && bits < layerBitsMax) bits *= 2;
  return new SharedArrayBuffer(bits / 8);
}
