/**
 * The ring of preallocated segment files, as the journal Worker keeps it; blocks are written by block-writer.ts.
 *
 * - A segment is taken for a new use only when its old use is retired; then its key slot already holds zeros.
 * - Slots are zeroed in the order of their uses, each synced before the next: what replay finds has no holes. At a start that keeps
 *   none of the former ones it is the other way round: what replay finds then ends where it did.
 * - Segments of earlier processes that are not retired are as if this one had written them.
 * - Order at a switch: key slot, fsync, segment header, fsync, blocks. Under "os" only the blocks are not synced.
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, fdatasyncSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { keyBytes, seal } from "../core/aead.ts";
import { PeriodKeys } from "../core/period-keys.ts";
import { BlockWriter, writeWhole } from "./block-writer.ts";
import {
  associatedOfSlot,
  type blockKind,
  decodeSlot,
  encodeSlot,
  keysName,
  segmentName,
  slotBytes,
} from "./format.ts";
import { Position } from "./position.ts";

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
  readonly #position: Position;
  readonly #writer: BlockWriter;
  #use: number;

  /** `position` is held by the caller. */
  constructor(options: SegmentsOptions, position = new Position()) {
    this.#options = options;
    this.#periods = new PeriodKeys(options.periods);
    this.#use = options.lastUse;
    this.#position = position;
    this.#position.sequence = options.lastSequence;
    this.#writer = new BlockWriter(position, options);
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
      if (segment.id === this.#position.segment) this.#position.closeSegment();
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
    // Newest first: behind a hole that durability "os" left, nothing may remain of which the beginning is gone.
    for (const { id, use } of former.sort((a, b) => b.use - a.use)) {
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
    return this.#writer.hasRoom(bodyBytes);
  }

  /** Starts the next use in a free segment; false when there is none. */
  advance(): boolean {
    const next = this.#segments.find((segment) => segment.use === 0);
    if (next === undefined) return false;
    const { context } = this.#options;
    const { period, key: periodKey } = this.#periods.current;
    this.#use++;
    const key = randomBytes(keyBytes);
    const wrapped = seal(periodKey, key, associatedOfSlot(context, next.id, this.#use));
    const slot = encodeSlot({ use: this.#use, period, wrapped });
    writeWhole(this.#keys, slot, (next.id - 1) * slotBytes, keysName);
    fdatasyncSync(this.#keys);
    this.#writer.begin({ id: next.id, file: next.file, use: this.#use, key });
    next.use = this.#use;
    return true;
  }

  /** Writes one block and makes it durable; returns the use it went to. There must be room. */
  write(kind: number, body: readonly Uint8Array[]): number {
    this.#writer.write(kind, body);
    return this.#use;
  }

  /** Makes everything durable that was written; each block is already, but under durability "os". */
  sync(): void {
    if (this.#options.durability === "fsync") return;
    // All of them: behind a hole nothing is replayed.
    for (const { use, file } of this.#segments) if (use > 0) fdatasyncSync(file);
  }

  /**
   * Says on disk that everything before was acknowledged and nothing was under way. Behind records there is room for it; there may
   * be none behind another marker, which has said so.
   */
  mark(kind: typeof blockKind.idle | typeof blockKind.stop): void {
    if (this.#writer.hasRoomForMarker) this.#writer.write(kind, []);
  }

  close(): void {
    for (const segment of this.#segments) closeSync(segment.file);
    closeSync(this.#keys);
  }
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
