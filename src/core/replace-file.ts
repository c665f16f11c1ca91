/**
 * Replacing a small file so that a crash leaves the old or the new content, never a mixture or nothing.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { toWarpError } from "./errors.ts";

/** Writes `bytes` beside `path`, syncs, renames over it, and syncs the directory. Errors: IO_ERROR, DISK_FULL. */
export function replaceFile(path: string, bytes: string | Uint8Array, mode = 0o600): void {
  try {
    replace(path, typeof bytes === "string" ? Buffer.from(bytes) : bytes, mode);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}

function replace(path: string, content: Uint8Array, mode: number): void {
  const staged = `${path}.new`;
  rmSync(staged, { force: true });
  const file = openSync(staged, "wx", mode);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(staged, path);
  syncDirectory(dirname(path));
}

/** Makes names that were created, renamed or removed in a directory durable. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
