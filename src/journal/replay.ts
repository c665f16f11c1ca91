/**
 * Reading the journal back after a start. The table of what is found and what follows is docs/recovery.md.
 *
 * - Blocks come out in the order of their sequence, each verified by its tag, none skipped: a hole is CORRUPT.
 * - A bad block with nothing of its use behind it is a write that was under way: the journal ends before it.
 * - A segment whose key slot is zero is retired: everything in it is in the shards, and it is not looked at.
 * - What was read is on the disk when the replay ends: the last block may have been written and not yet synced. If its sync failed,
 *   the system may have it in memory and take it for written: before anything is served it is written once more.
 */
import { createDecipheriv } from "node:crypto";
import { closeSync, existsSync, fdatasyncSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { basename, join } from "node:path";
import { open as unseal } from "../core/aead.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { writeWhole } from "./block-writer.ts";
import {
  associatedOfBlock,
  associatedOfSlot,
  blockBytes,
  blockHeaderBytes,
  blockKind,
  decodeBlockHeader,
  decodeSegmentHeader,
  decodeSlot,
  keysName,
  type SegmentHeader,
  segmentHeaderBytes,
  segmentName,
  slotBytes,
} from "./format.ts";

export interface ReplayOptions {
  readonly directory: string;
  readonly context: string;
  /** The period key that wrapped a segment's key; undefined when the keyring has no such period. */
  readonly keyOf: (period: number) => Uint8Array | undefined;
  /** Writes the last block of a synced journal once more; whoever only looks writes nothing. */
  readonly rewritesLast?: boolean;
}

export interface ReplaySummary {
  /** Segment files to go on with; their ids are 1 … segments. None while no use has begun: they are made anew, as large as is set now. */
  readonly segments: number;
  readonly segmentBytes: number | undefined;
  readonly lastUse: number;
  /** Uses up to this one are retired: `lastUse` when nothing is live. */
  readonly retiredUse: number;
  readonly lastSequence: number;
  readonly blocks: number;
  readonly bytes: number;
  /** Where a torn last write was found, if one was. */
  readonly torn: { readonly file: string; readonly offset: number } | undefined;
  /** True when records may be missing behind the end because the journal was not fsynced (durability "os"). */
  readonly cutShort: boolean;
  /** Where blocks are missing before others that are there, and are not replayed (durability "os"); `behind` is the first of those. */
  readonly hole: { readonly file: string; readonly offset: number; readonly behind: number } | undefined;
  /** True when the last thing in the journal is the mark of a clean stop, or nothing is live. */
  readonly cleanStop: boolean;
}

interface LiveSegment {
  readonly id: number;
  readonly header: SegmentHeader;
  readonly key: Uint8Array;
}

/** Yields the records of each block, in order. */
export function* replayJournal(options: ReplayOptions): Generator<Buffer, ReplaySummary> {
  const { live, segments, lastUse, retiredUse, segmentBytes } = findSegments(options);
  let expected: number | undefined;
  let lastSequence = 0;
  let blocks = 0;
  let bytes = 0;
  let lastKind: number = blockKind.stop;
  let torn: ReplaySummary["torn"];
  let hole: ReplaySummary["hole"];
  let last: LastBlock | undefined;
  /** Every segment is read into the same memory: each page of it is made and cleared once. */
  let memory: Buffer = Buffer.alloc(0);

  // What a process that was killed had written may be nowhere but in memory, and what is made of it is synced.
  for (const { id } of live) syncFile(join(options.directory, segmentName(id)));
  for (const [index, segment] of live.entries()) {
    const { header } = segment;
    const file = join(options.directory, segmentName(segment.id));
    const name = `journal/${segmentName(segment.id)}`;
    if (expected !== undefined && header.firstSequence !== expected) {
      if (header.durability === "os") {
        hole = { file: name, offset: 0, behind: header.firstSequence };
        break;
      }
      throw corrupt(name, 0, `it starts at block ${header.firstSequence} and block ${expected} is missing`);
    }
    const contents = readFile(file, memory);
    if (contents.buffer !== memory.buffer) memory = contents;
    if (contents.length !== header.segmentBytes) {
      throw corrupt(name, contents.length, `it should have ${header.segmentBytes} bytes`);
    }
    const end: End = { offset: segmentHeaderBytes, sequence: header.firstSequence };
    let lastAt = end.offset;
    for (;;) {
      const block = readBlock(contents, end.offset, segment, end.sequence);
      if (block === undefined) break;
      lastAt = end.offset;
      end.offset += blockBytes(block.plaintext.length);
      end.sequence++;
      lastKind = block.kind;
      blocks++;
      bytes += block.plaintext.length;
      if (block.kind === blockKind.records) yield block.plaintext;
    }
    expected = end.sequence;
    lastSequence = end.sequence - 1;
    // Those before it were synced, or written once more, before this segment was begun.
    if (header.durability === "fsync" && index === live.length - 1)
      last = { file, at: lastAt, block: contents.subarray(lastAt, end.offset) };
    if (end.offset + blockHeaderBytes > contents.length) continue;
    const behind = findBlockBehind(contents, segment, end);
    const next = live[index + 1];
    const isHole = behind !== undefined || (next !== undefined && next.header.firstSequence !== end.sequence);
    if (isHole && header.durability === "os") {
      hole = { file: name, offset: end.offset, behind: behind ?? next?.header.firstSequence ?? end.sequence };
      break;
    }
    if (isHole) {
      const later = behind ?? 0;
      throw corrupt(
        name,
        end.offset,
        `block ${end.sequence} is damaged, and later ones are there (${later})`,
      );
    }
    if (next === undefined && !isBlank(contents, end.offset, header.use))
      torn = { file: name, offset: end.offset };
  }
  if (last !== undefined && options.rewritesLast) {
    rewrite(last);
    syncFile(last.file);
  }
  return {
    segments,
    segmentBytes,
    lastUse,
    retiredUse,
    lastSequence,
    blocks,
    bytes,
    torn,
    hole,
    cutShort:
      hole !== undefined ||
      (lastKind !== blockKind.stop && live.some(({ header }) => header.durability === "os")),
    cleanStop: lastKind === blockKind.stop,
  };
}

/** The newest block as it stands in its file; empty in a segment without one. */
interface LastBlock {
  readonly file: string;
  readonly at: number;
  readonly block: Uint8Array;
}

/** Where the good blocks of a segment end. */
interface End {
  offset: number;
  sequence: number;
}

/** The verified block at `offset`, if it is block `sequence` of this use. */
function readBlock(
  contents: Buffer,
  offset: number,
  segment: LiveSegment,
  sequence: number | undefined,
): { kind: number; sequence: number; plaintext: Buffer } | undefined {
  const headerAt = contents.subarray(offset, offset + blockHeaderBytes);
  const header = decodeBlockHeader(headerAt);
  if (header === undefined || header.use !== segment.header.use) return undefined;
  if (sequence !== undefined && header.sequence !== sequence) return undefined;
  const bodyAt = offset + blockHeaderBytes;
  if (bodyAt + header.bodyBytes > contents.length) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", segment.key, header.nonce);
  decipher.setAAD(associatedOfBlock(headerAt));
  decipher.setAuthTag(header.tag);
  const plaintext = decipher.update(contents.subarray(bodyAt, bodyAt + header.bodyBytes));
  try {
    decipher.final();
  } catch {
    // The one way node:crypto has to say that the tag does not match: not a block.
    return undefined;
  }
  return { kind: header.kind, sequence: header.sequence, plaintext };
}

/** The sequence of a good block of the same use behind a bad one, whatever its alignment. */
function findBlockBehind(contents: Buffer, segment: LiveSegment, end: End): number | undefined {
  for (let offset = end.offset; offset + blockHeaderBytes <= contents.length; offset += limits.sectorBytes) {
    const block = readBlock(contents, offset, segment, undefined);
    if (block !== undefined && block.sequence >= end.sequence) return block.sequence;
  }
  return undefined;
}

/** True when the sector at the end holds no trace of a write of this use: zeros, or a block of an older use. */
function isBlank(contents: Buffer, offset: number, use: number): boolean {
  const sector = contents.subarray(offset, offset + limits.sectorBytes);
  const header = decodeBlockHeader(sector);
  if (header !== undefined) return header.use !== use;
  return sector.every((byte) => byte === 0);
}

/** The segments that are not retired, in the order of their use. */
function findSegments(options: ReplayOptions): {
  live: LiveSegment[];
  segments: number;
  lastUse: number;
  retiredUse: number;
  segmentBytes: number | undefined;
} {
  const { directory, context, keyOf } = options;
  const keysFile = `journal/${keysName}`;
  const keys = existsSync(join(directory, keysName)) ? readFile(join(directory, keysName)) : Buffer.alloc(0);
  const ids = readdirSync(directory)
    .filter((name) => /^\d{4}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
  if (keys.length < ids.length * slotBytes) throw corrupt(keysFile, keys.length, "key slots are missing");
  const live: LiveSegment[] = [];
  let lastUse = 0;
  let oldestUse = Number.POSITIVE_INFINITY;
  let segmentBytes: number | undefined;
  for (let id = 1; id * slotBytes <= keys.length; id++) {
    const slotAt = (id - 1) * slotBytes;
    const slot = decodeSlot(keys.subarray(slotAt, slotAt + slotBytes), keysFile, slotAt);
    const name = `journal/${segmentName(id)}`;
    if (!ids.includes(id)) {
      if (slot === undefined) continue;
      throw corrupt(name, 0, `the file is missing and ${keysFile} says that it is in use`);
    }
    const header = decodeSegmentHeader(readHead(join(directory, segmentName(id))), name);
    if (header !== undefined) {
      lastUse = Math.max(lastUse, header.use);
      segmentBytes = header.segmentBytes;
    }
    if (slot === undefined) continue;
    lastUse = Math.max(lastUse, slot.use);
    oldestUse = Math.min(oldestUse, slot.use);
    const period = keyOf(slot.period);
    const key = period && unseal(period, slot.wrapped, associatedOfSlot(context, id, slot.use));
    if (key === undefined) throw corrupt(keysFile, slotAt, `the key of segment ${id} does not open`);
    if (header === undefined || header.use !== slot.use) {
      refuseLostHeader(join(directory, segmentName(id)), name, { id, use: slot.use, key });
      continue;
    }
    live.push({ id, header, key });
  }
  live.sort((a, b) => a.header.use - b.header.use);
  const retiredUse = Math.min(lastUse, oldestUse - 1);
  const segments = segmentBytes === undefined ? 0 : ids.length;
  return { live, segments, lastUse, retiredUse, segmentBytes };
}

/** A use whose header never reached the disk has no blocks; one that has blocks has lost its header. */
function refuseLostHeader(
  file: string,
  name: string,
  lost: { id: number; use: number; key: Uint8Array },
): void {
  const contents = readFile(file);
  const header = {
    use: lost.use,
    firstSequence: 0,
    segmentBytes: contents.length,
    durability: "fsync" as const,
  };
  const segment = { id: lost.id, header, key: lost.key };
  const behind = findBlockBehind(contents, segment, { offset: segmentHeaderBytes, sequence: 0 });
  if (behind !== undefined)
    throw corrupt(name, 0, `its header is damaged, and block ${behind} stands behind it`);
}

/** The file's content, in `memory` if it fits there. */
function readFile(path: string, memory: Buffer = Buffer.alloc(0)): Buffer {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const contents = size <= memory.length ? memory : Buffer.allocUnsafeSlow(size);
    let length = 0;
    for (;;) {
      const read = readSync(file, contents, length, size - length, length);
      length += read;
      if (read === 0 || length === size) return contents.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

function rewrite({ file, at, block }: LastBlock): void {
  const opened = openSync(file, "r+");
  try {
    writeWhole(opened, block, at, basename(file));
  } finally {
    closeSync(opened);
  }
}

function syncFile(path: string): void {
  const file = openSync(path, "r");
  try {
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

function readHead(path: string): Buffer {
  const file = openSync(path, "r");
  try {
    const head = Buffer.alloc(segmentHeaderBytes);
    return head.subarray(0, readSync(file, head, 0, head.length, 0));
  } finally {
    closeSync(file);
  }
}

function corrupt(file: string, offset: number, why: string): WarpError {
  return new WarpError("CORRUPT", `${file} is damaged at offset ${offset}: ${why}`, { file, offset });
}
