/**
 * The directory that a restore makes, from its first file to its name.
 *
 * - It is filled in a folder of its own. That lies beside the directory to be, which is renamed when it is whole; or, when a
 *   directory is there already, inside of it: it may be the place where a volume is mounted, and all that one has rights to.
 * - From inside the files are moved up, `warp.json` last. Until that is there, the folder is: a directory with such a folder and
 *   without an identity is a restore that was interrupted, and is not opened or restored into.
 * - The folder's name is new each time: what a restore that was killed has left is in nobody's way.
 */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { identityName, lockName, makeDirectory, restoringPrefix } from "../core/data-directory.ts";
import { WarpError } from "../core/errors.ts";
import { syncDirectory } from "../core/replace-file.ts";

/** What a file system puts into its root, and what a start that was refused leaves. */
const ofNobody: ReadonlySet<string> = new Set(["lost+found", lockName]);

export class NewDirectory {
  /** Where it is filled. */
  readonly staged: string;
  readonly #path: string;
  readonly #isInside: boolean;
  readonly #moved: string[] = [];

  /** Errors: INVALID_ARGUMENT when there is something in it. */
  constructor(path: string) {
    refuseExisting(path);
    this.#path = path;
    this.#isInside = existsSync(path);
    if (!this.#isInside) makeDirectory(dirname(path));
    const prefix = this.#isInside
      ? join(path, restoringPrefix)
      : join(dirname(path), `.${basename(path)}${restoringPrefix}`);
    this.staged = mkdtempSync(prefix);
  }

  /** Gives it its name. Everything in it is synced, also its identity. Errors: INVALID_ARGUMENT, those of the file system. */
  complete(): void {
    refuseExisting(this.#path, this.#isInside ? basename(this.staged) : undefined);
    if (this.#isInside) {
      this.#moveUp();
      return;
    }
    renameSync(this.staged, this.#path);
    syncDirectory(dirname(this.#path));
  }

  /** Removes what was made of it, unless it is complete. */
  discard(): void {
    if (this.#moved.includes(identityName)) return;
    for (const name of this.#moved) rmSync(join(this.#path, name), { recursive: true, force: true });
    rmSync(this.staged, { recursive: true, force: true });
  }

  #moveUp(): void {
    for (const name of readdirSync(this.staged)) if (name !== identityName) this.#move(name);
    syncDirectory(this.#path);
    this.#move(identityName);
    syncDirectory(this.#path);
    rmdirSync(this.staged);
    syncDirectory(this.#path);
  }

  #move(name: string): void {
    renameSync(join(this.staged, name), join(this.#path, name));
    this.#moved.push(name);
  }
}

/** Errors: INVALID_ARGUMENT when a directory has something in it, but for `own`. */
export function refuseExisting(path: string, own?: string): void {
  if (!existsSync(path)) return;
  const names = readdirSync(path).filter((name) => name !== own && !ofNobody.has(name));
  if (names.length === 0) return;
  const left = names.find((name) => name.startsWith(restoringPrefix));
  const why =
    left === undefined || names.includes(identityName)
      ? "a backup is restored into a new directory, and this one has something in it"
      : `another restore into it is under way or was interrupted, and left ${left}; remove what is in it first`;
  throw new WarpError("INVALID_ARGUMENT", `${path}: ${why}`, { file: path });
}
