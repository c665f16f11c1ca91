/**
 * Into which targets this directory was backed up, and when, and from which it was restored: `backups.json`. An erasure's
 * receipt tells of them.
 *
 * - A target is noted before its first backup begins, so none is ever forgotten; later times at most once a minute, so the
 *   file may be behind by that.
 * - Backups and restores work the same without it. But a receipt that names no target would say that no copy is left, so a
 *   list that is damaged is never taken for an empty one.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { toWarpError, WarpError } from "../core/errors.ts";
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

  /** Errors: those of {@link readKnownTargets}. */
  constructor(dataDir: string) {
    this.#path = join(dataDir, name);
    for (const known of readKnownTargets(dataDir)) this.#targets.set(known.target, known);
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
    const noted = { target, backedUpAt: isOwn ? known.backedUpAt : 0, everyMs };
    this.#save(noted);
    this.#targets.set(target, noted);
  }

  /** A backup that began at `at` has succeeded. */
  finish(target: string, at: number): void {
    const known = this.#targets.get(target);
    if (known === undefined) return;
    this.#targets.set(target, { ...known, backedUpAt: at });
    if (known.backedUpAt === 0 || Date.now() - this.#savedAt >= savedEveryMs) this.#save();
  }

  /** Writes all of them, with one that is not among them yet, or is not so. */
  #save(noted?: KnownTarget): void {
    this.#savedAt = Date.now();
    const others = this.all.filter(({ target }) => target !== noted?.target);
    save(this.#path, noted === undefined ? others : [...others, noted]);
  }
}

/** Notes in a directory that is being made which target it is made from. */
export function noteRestoredFrom(dataDir: string, target: string, backedUpAt: number): void {
  save(join(dataDir, name), [{ target, backedUpAt, everyMs: undefined, restoredFrom: true }]);
}

function save(path: string, targets: readonly KnownTarget[]): void {
  replaceFile(path, `${JSON.stringify({ format, targets }, undefined, 2)}\n`);
}

/** What is on the disk; none without the file. Errors: CORRUPT, FORMAT_UNSUPPORTED, IO_ERROR. */
export function readKnownTargets(dataDir: string): readonly KnownTarget[] {
  const file = join(dataDir, name);
  if (!existsSync(file)) return [];
  let parsed: unknown;
  const text = readText(file);
  try {
    parsed = JSON.parse(text);
  } catch (thrown) {
    throw damaged(file, thrown instanceof Error ? thrown.message : String(thrown));
  }
  if (typeof parsed !== "object" || parsed === null) throw damaged(file, "it is not an object");
  const { format: given, targets } = parsed as { format?: unknown; targets?: unknown };
  if (typeof given === "number" && given > format) {
    const why = `${file} has format ${given}, known is ${format}`;
    throw new WarpError("FORMAT_UNSUPPORTED", why, { file });
  }
  if (given !== format) throw damaged(file, "it has no format");
  if (!Array.isArray(targets) || !targets.every(isKnownTarget)) throw damaged(file, "its targets are none");
  return targets;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file });
  }
}

function isKnownTarget(value: unknown): value is KnownTarget {
  if (typeof value !== "object" || value === null) return false;
  const { target, backedUpAt, everyMs, restoredFrom } = value as Partial<Record<keyof KnownTarget, unknown>>;
  const isPeriod = everyMs === undefined || typeof everyMs === "number";
  const isOrigin = restoredFrom === undefined || restoredFrom === true;
  return typeof target === "string" && typeof backedUpAt === "number" && isPeriod && isOrigin;
}

function damaged(file: string, why: string): WarpError {
  const message = `${file} is damaged: ${why}. Without it receipts of erasures name no target that was backed up into before`;
  return new WarpError("CORRUPT", message, { file });
}
