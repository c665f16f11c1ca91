/**
 * Making the files of the journal's ring: key slots, and segments that are allocated and zeroed, whole or not at all; and when the ring
 * needs another one.
 */
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";
import { open as openAsync, rename } from "node:fs/promises";
import { join } from "node:path";
import { toWarpError } from "../core/errors.ts";
import { replaceFile, syncDirectory } from "../core/replace-file.ts";
import type { JournalControl } from "./control.ts";
import { keysName, segmentName, slotBytes } from "./format.ts";

const zeroChunkBytes = 1024 * 1024;

/** Makes the journal directory's key slots, whole or not at all; zeros, so that every slot is empty. */
export function createKeySlots(directory: string, segmentsMax: number): void {
  replaceFile(join(directory, keysName), Buffer.alloc(segmentsMax * slotBytes));
}

/** Sees to a slot for every segment that may come, before it does: a setting may have been raised. */
export function growKeySlots(directory: string, segmentsMax: number): void {
  try {
    const file = openSync(join(directory, keysName), "r+");
    const size = fstatSync(file).size;
    const missing = Buffer.alloc(Math.max(0, segmentsMax * slotBytes - size));
    for (let at = 0; at < missing.length; ) {
      at += writeSync(file, missing, at, missing.length - at, size + at);
    }
    if (missing.length > 0) fsyncSync(file);
    closeSync(file);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: `journal/${keysName}` });
  }
}

/** A segment is made under another name, so that one that is there is whole. */
const unfinished = ".new";

function createSegmentNow(directory: string, id: number, segmentBytes: number): void {
  const path = join(directory, segmentName(id));
  try {
    const file = openSync(path + unfinished, "w");
    const zeros = Buffer.alloc(Math.min(zeroChunkBytes, segmentBytes));
    for (let at = 0; at < segmentBytes; ) {
      at += writeSync(file, zeros, 0, Math.min(zeros.length, segmentBytes - at), at);
    }
    fsyncSync(file);
    closeSync(file);
    renameSync(path + unfinished, path);
    syncDirectory(directory);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: `journal/${segmentName(id)}` });
  }
}

async function createSegment(directory: string, id: number, segmentBytes: number): Promise<void> {
  const path = join(directory, segmentName(id));
  const file = await openAsync(path + unfinished, "w");
  const zeros = Buffer.alloc(Math.min(zeroChunkBytes, segmentBytes));
  for (let at = 0; at < segmentBytes; ) {
    at += (await file.write(zeros, 0, Math.min(zeros.length, segmentBytes - at), at)).bytesWritten;
    await file.datasync();
  }
  await file.sync();
  await file.close();
  await rename(path + unfinished, path);
  syncDirectory(directory);
}

function syncNames(directory: string): void {
  try {
    syncDirectory(directory);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: "journal" });
  }
}

export interface SpareSegmentsOptions {
  readonly directory: string;
  readonly segmentBytes: number;
  readonly segmentsMax: number;
  /** Segment files that exist already. */
  readonly count: number;
  readonly onFailed: (thrown: unknown) => void;
}

/** Keeps the ring supplied: two files at the start, and one more, made in the background, whenever all are in use. */
export class SpareSegments {
  readonly #control: JournalControl;
  readonly #options: SpareSegmentsOptions;
  #count: number;
  #creating: Promise<void> | undefined;
  #lastSeenUse = 0;
  #closed = false;

  constructor(control: JournalControl, options: SpareSegmentsOptions) {
    this.#control = control;
    this.#options = options;
    this.#count = options.count;
    growKeySlots(options.directory, options.segmentsMax);
    while (this.#count < 2) createSegmentNow(options.directory, ++this.#count, options.segmentBytes);
    // The names of those that a process made which was killed.
    syncNames(options.directory);
    control.publishSegments(this.#count);
  }

  /** Called whenever something became durable: makes a file when the ring is short of free ones. */
  keep(): void {
    const use = this.#control.currentUse;
    if (use === this.#lastSeenUse || this.#creating !== undefined || this.#closed) return;
    this.#lastSeenUse = use;
    const inUse = use - this.#control.retiredUse;
    const { directory, segmentBytes, segmentsMax, onFailed } = this.#options;
    if (inUse < this.#count || this.#count >= segmentsMax) return;
    this.#creating = createSegment(directory, this.#count + 1, segmentBytes)
      .then(() => this.#control.publishSegments(++this.#count))
      .catch(onFailed)
      .finally(() => {
        this.#creating = undefined;
        this.#lastSeenUse = 0;
      });
  }

  /** Makes no more files; resolves when none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#creating;
  }
}
