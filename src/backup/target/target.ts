/**
 * Where backups are kept: a flat store of named objects, as a directory or an object store offers it.
 *
 * - An object is written whole or not at all, and is durable when the call returns.
 * - What `put` wrote never changes; `replace` leaves nothing of the older content under the name.
 * - Names are relative, with `/` between their parts. A missing object is undefined, never an error.
 * - Errors: IO_ERROR and DISK_FULL, with the object in the details.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { WarpError } from "../../core/errors.ts";
import { DirectoryTarget } from "./directory-target.ts";

export interface BackupTarget {
  /** How the user named it. */
  readonly name: string;
  put(object: string, parts: readonly Uint8Array[]): Promise<void>;
  replace(object: string, parts: readonly Uint8Array[]): Promise<void>;
  /** The content, or its first `bytesMax` bytes. */
  get(object: string, bytesMax?: number): Promise<Uint8Array | undefined>;
  /** The bytes of an object. */
  size(object: string): Promise<number | undefined>;
  /** The names of all objects that begin with this folder and a `/`, in the order of their bytes. */
  list(folder: string): Promise<string[]>;
  /** Removes an object; one that is not there is no error. */
  delete(object: string): Promise<void>;
}

/** True for what names no path: it begins with a scheme, as `s3://` does. */
export function isTargetUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}

/**
 * The target that a text names: the path of a directory, made when it is first written to. Errors: UNSUPPORTED, INVALID_ARGUMENT for
 * what is there and no directory.
 */
export function openTarget(text: string): BackupTarget {
  if (isTargetUrl(text)) {
    const [scheme] = text.split(":");
    const why = `a backup target is a directory; ${scheme}:// is not known`;
    throw new WarpError("UNSUPPORTED", why, { target: text });
  }
  if (text === "") throw new WarpError("INVALID_ARGUMENT", "the backup target is missing");
  const path = resolve(text);
  if (isOther(path)) {
    const why = `a backup target is a directory, and ${path} is none`;
    throw new WarpError("INVALID_ARGUMENT", why, { target: path });
  }
  return new DirectoryTarget(path);
}

function isOther(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
  } catch {
    // What cannot be looked at, such as a share that is away, is told by whoever reads or writes there.
    return false;
  }
}
