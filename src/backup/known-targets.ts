/**
 * Into which targets this directory was backed up, and when, and from which it was restored: `backups.json`. An erasure's
 * receipt tells of them.
 *
 * - A target is noted before its first backup begins, so none is ever forgotten; later times at most once a minute, so the
 *   file may be behind by that.
 * - It is a note, not a list of what is needed: without it backups and restores work the same.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "../core/replace-file.ts";

/** A target that may hold the wrapped key of an erased entity until the next backup into it. */
export interface KnownTarget {
  readonly target: string;
  /** When its newest backup began, ms; 0 when none was finished. */
  readonly backedUpAt: number;
  /** From the end of one backup to the next, ms; undefined when they are made by hand. */
  readonly everyMs: number | undefined;
  /** True for the one that this directory was restored from: no later backup goes there, so it holds the key as long as it exists. */
  readonly restoredFrom?: true | undefined;
}

const format = 1;
const name = "backups.json";
const savedEveryMs = 60_000;

export class KnownTargets {
  readonly #path: string;
  readonly #targets = new Map<string, KnownTarget>();
  #savedAt = 0;

  constructor(dataDir: string) {
    this.#path = join(dataDir, name);
    for (const known of read(this.#path)) this.#targets.set(known.target, known);
  }

  get all(): readonly KnownTarget[] {
    return [...this.#targets.values()];
  }

  /** A backup into the target begins. */
  begin(target: string, everyMs: number | undefined): void {
    const known = this.#targets.get(target);
    // What this directory was restored from is gone if a backup of it can begin there.
    const isOwn = known !== undefined && known.restoredFrom !== true;
    if (isOwn && known.everyMs === everyMs) return;
    this.#targets.set(target, { target, backedUpAt: isOwn ? known.backedUpAt : 0, everyMs });
    this.#save();
  }

  /** A backup that began at `at` has succeeded. */
  finish(target: string, at: number): void {
    const known = this.#targets.get(target);
    if (known === undefined) return;
    this.#targets.set(target, { ...known, backedUpAt: at });
    if (known.backedUpAt === 0 || at - this.#savedAt >= savedEveryMs) this.#save();
  }

  #save(): void {
    this.#savedAt = Date.now();
    save(this.#path, this.all);
  }
}

/** Notes in a directory that is being made which target it is made from. */
export function noteRestoredFrom(dataDir: string, target: string, backedUpAt: number): void {
  save(join(dataDir, name), [{ target, backedUpAt, everyMs: undefined, restoredFrom: true }]);
}

function save(path: string, targets: readonly KnownTarget[]): void {
  replaceFile(path, `${JSON.stringify({ format, targets }, undefined, 2)}\n`);
}

/** None when the file cannot be read: it is only a note. */
function read(path: string): readonly KnownTarget[] {
  if (!existsSync(path)) return [];
  try {
    const { targets } = JSON.parse(readFileSync(path, "utf8")) as { targets?: unknown };
    return Array.isArray(targets) ? (targets as KnownTarget[]) : [];
  } catch {
    // Not worth refusing to open a context for; the next backup writes it again.
    return [];
  }
}
