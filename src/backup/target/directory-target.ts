/**
 * A backup target that is a directory, on whatever file system it lies.
 *
 * - An object is a file. It is written under a name that ends in `.new`, synced, renamed, and its directory synced.
 * - Files that end in `.new` are what a crash left; they are never listed and are written over.
 * - A large object is synced piece by piece, so that the disk's other users (the journal) wait for little at a time.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { toWarpError } from "../../core/errors.ts";
import { syncDirectory } from "../../core/replace-file.ts";
import type { BackupTarget } from "./target.ts";

const stagedSuffix = ".new";
const syncedBytes = 4 * 1024 * 1024;

export class DirectoryTarget implements BackupTarget {
  readonly name: string;

  constructor(path: string) {
    this.name = path;
  }

  async put(object: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#attempt(object, (path) => this.#write(path, parts));
  }

  async replace(object: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#attempt(object, (path) => this.#write(path, parts));
  }

  async get(object: string, bytesMax?: number): Promise<Uint8Array | undefined> {
    return this.#attempt(object, (path) => {
      const file = openIfThere(path);
      if (file === undefined) return undefined;
      try {
        const size = fstatSync(file).size;
        const bytes = Buffer.allocUnsafe(Math.min(size, bytesMax ?? size));
        let at = 0;
        while (at < bytes.length) {
          const read = readSync(file, bytes, at, bytes.length - at, at);
          if (read === 0) break;
          at += read;
        }
        return bytes.subarray(0, at);
      } finally {
        closeSync(file);
      }
    });
  }

  async size(object: string): Promise<number | undefined> {
    return this.#attempt(object, (path) => statSync(path, { throwIfNoEntry: false })?.size);
  }

  async list(folder: string): Promise<string[]> {
    return this.#attempt(folder, (path) => {
      const entries = readIfThere(path);
      return entries
        .filter((entry) => !entry.endsWith(stagedSuffix))
        .sort()
        .map((entry) => `${folder}/${entry}`);
    });
  }

  async delete(object: string): Promise<void> {
    this.#attempt(object, (path) => rmSync(path, { force: true }));
  }

  #write(path: string, parts: readonly Uint8Array[]): void {
    const folder = dirname(path);
    makeFolder(folder);
    const staged = `${path}${stagedSuffix}`;
    rmSync(staged, { force: true });
    const file = openSync(staged, "wx", 0o600);
    try {
      let unsynced = 0;
      for (const part of parts) {
        for (let at = 0; at < part.length; ) {
          const written = writeSync(file, part, at, Math.min(part.length - at, syncedBytes));
          at += written;
          unsynced += written;
          if (unsynced < syncedBytes) continue;
          fdatasyncSync(file);
          unsynced = 0;
        }
      }
      fdatasyncSync(file);
    } catch (thrown) {
      closeSync(file);
      rmSync(staged, { force: true });
      throw thrown;
    }
    closeSync(file);
    renameSync(staged, path);
    syncDirectory(folder);
  }

  #attempt<Result>(object: string, work: (path: string) => Result): Result {
    try {
      return work(join(this.name, object));
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { target: this.name, object });
    }
  }
}

/** Makes a folder with all above it, and their names durable. */
function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) syncDirectory(dirname(made));
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}

/** The files of a folder; none when there is no folder. */
function readIfThere(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);
  } catch (thrown) {
    if (isMissing(thrown)) return [];
    throw thrown;
  }
}

function isMissing(thrown: unknown): boolean {
  return (
    thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR")
  );
}
