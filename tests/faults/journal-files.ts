/**
 * Where things lie in the journal of a data directory, for tests that damage them.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../../src/core/limits.ts";
import {
  blockBytes,
  decodeBlockHeader,
  decodeSegmentHeader,
  decodeSlot,
  slotBytes,
} from "../../src/journal/format.ts";

export interface LiveSegment {
  readonly name: string;
  readonly use: number;
}

/** Segments with a key, in the order of their uses. */
export function liveSegments(dataDir: string): LiveSegment[] {
  const directory = join(dataDir, "journal");
  const keys = readFileSync(join(directory, "keys"));
  return readdirSync(directory)
    .filter((name) => /^\d{4}$/.test(name))
    .flatMap((name) => {
      const at = (Number(name) - 1) * slotBytes;
      const slot = decodeSlot(keys.subarray(at, at + slotBytes), "keys", at);
      return slot === undefined ? [] : [{ name, use: slot.use }];
    })
    .sort((a, b) => a.use - b.use);
}

export interface Block {
  readonly offset: number;
  readonly kind: number;
}

/** The blocks of the current use of a segment. */
export function blocksOf(path: string): Block[] {
  const contents = readFileSync(path);
  const use = decodeSegmentHeader(contents.subarray(0, limits.sectorBytes), path)?.use;
  const blocks: Block[] = [];
  for (let offset: number = limits.sectorBytes; offset < contents.length; ) {
    const header = decodeBlockHeader(contents.subarray(offset));
    if (header === undefined || header.use !== use) break;
    blocks.push({ offset, kind: header.kind });
    offset += blockBytes(header.bodyBytes);
  }
  return blocks;
}

/** The key slots, by the names of their segments. */
export function slotsOf(dataDir: string): {
  copy(from: string, to: string): void;
  clear(name: string): void;
} {
  const path = join(dataDir, "journal/keys");
  const at = (name: string) => (Number(name) - 1) * slotBytes;
  return {
    copy: (from, to) => {
      const keys = readFileSync(path);
      keys.copy(keys, at(to), at(from), at(from) + slotBytes);
      writeFileSync(path, keys);
    },
    clear: (name) => zero(path, at(name), slotBytes),
  };
}

/** Flips all bits of some bytes. */
export function garble(path: string, offset: number, length: number): void {
  const contents = readFileSync(path);
  for (let at = offset; at < offset + length; at++) contents[at] = ~(contents[at] ?? 0) & 0xff;
  writeFileSync(path, contents);
}

export function zero(path: string, offset: number, length: number): void {
  const contents = readFileSync(path);
  contents.fill(0, offset, offset + length);
  writeFileSync(path, contents);
}
