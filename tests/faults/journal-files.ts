/**
 * Where things lie in the journal of a data directory, for tests that damage them.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keyBytes, seal } from "../../src/core/aead.ts";
import { openKeyring } from "../../src/core/keyring.ts";
import { limits } from "../../src/core/limits.ts";
import {
  associatedOfSlot,
  blockBytes,
  blockKind,
  decodeBlockHeader,
  decodeSegmentHeader,
  decodeSlot,
  encodeSlot,
  segmentName,
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

/** Gives the next segment a key slot and nothing else, as a crash does that comes before its header. Returns its name. */
export function beginUse(dataDir: string, context: string): string {
  const last = liveSegments(dataDir).at(-1);
  const id = Number(last?.name) + 1;
  const use = (last?.use ?? 0) + 1;
  const name = segmentName(id);
  const path = join(dataDir, "journal", name);
  if (!existsSync(path)) writeFileSync(path, Buffer.alloc(statSync(join(dataDir, "journal/0001")).size));
  const { period, key } = openKeyring({ dataDir, context, create: false }).current;
  const wrapped = seal(key, randomBytes(keyBytes), associatedOfSlot(context, id, use));
  const keys = readFileSync(join(dataDir, "journal/keys"));
  encodeSlot({ use, period, wrapped }).copy(keys, (id - 1) * slotBytes);
  writeFileSync(join(dataDir, "journal/keys"), keys);
  return name;
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

/** True when the newest block is the marker of a journal that became idle, or the newest segment has no block yet. */
export function isMarkedIdle(dataDir: string): boolean {
  const last = liveSegments(dataDir).at(-1);
  if (last === undefined) return true;
  const block = blocksOf(join(dataDir, "journal", last.name)).at(-1);
  return block === undefined || block.kind === blockKind.idle;
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
