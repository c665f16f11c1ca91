/**
 * Where backups are kept: a flat store of named objects, as a directory or an object store offers it.
 *
 * - An object is written whole or not at all, and is durable when the call returns.
 * - What `put` wrote never changes; `replace` overwrites in place and leaves nothing of the older content under the name.
 * - Names are relative, with `/` between their parts. A missing object is undefined, never an error.
 * - Errors: IO_ERROR and DISK_FULL, with the object in the details.
 */
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

/** The target that a text names: the path of a directory, made when it is first written to. Errors: UNSUPPORTED. */
export function openTarget(text: string): BackupTarget {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1];
  if (scheme !== undefined) {
    throw new WarpError("UNSUPPORTED", `a backup target is a directory; ${scheme}:// is not known`, {
      target: text,
    });
  }
  if (text === "") throw new WarpError("INVALID_ARGUMENT", "the backup target is missing");
  return new DirectoryTarget(resolve(text));
}
