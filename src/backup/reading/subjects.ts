/**
 * Those of whom a shard's runs speak, while it is restored (docs/decisions/0014-personal-parts.md).
 *
 * - The table `personal` is no part of a backup: it is made of the runs again.
 * - A part opens under its subject's key, or the subject is in the ledger, or left out. No snapshot has folded it.
 * - The parts of who is left out become erased ones: in the new directory there is nothing else that tells of her.
 */
import { WarpError } from "../../core/errors.ts";
import { eraseParts, hasParts, openParts, subjectsOf } from "../../shard/files/personal-parts.ts";
import type { ShardAssociated } from "../../shard/files/sealed.ts";
import { damaged } from "../format/container.ts";
import type { Value } from "../format/tables.ts";
import type { EntityKeys } from "./entity-keys.ts";
import type { NewShard } from "./new-shard.ts";
import { requireErased, type ShardContents } from "./shard-contents.ts";

export class RestoredSubjects {
  readonly #keys: EntityKeys;
  readonly #contents: ShardContents;
  readonly #associated: ShardAssociated;
  readonly #named = new Set<number>();
  readonly #wanted = new Set<number>();
  readonly #spoken = new Set<number>();
  readonly #erased = new Set<number>();

  constructor(keys: EntityKeys, contents: ShardContents, associated: ShardAssociated) {
    this.#keys = keys;
    this.#contents = contents;
    this.#associated = associated;
  }

  /** The number is a subject's; `isWanted` when she is among those who are restored, whoever speaks of her. */
  addName(number: number, isWanted: boolean): void {
    this.#named.add(number);
    if (isWanted) this.#wanted.add(number);
  }

  /**
   * Takes in a run of a host, opened; returns its entries as the new directory has them: the same bytes, unless they speak of who is
   * left out. Errors: CORRUPT with the object.
   */
  take(row: readonly Value[], body: Uint8Array, object: string, files: NewShard): Uint8Array {
    const [number, seq] = row as [number, number];
    const subjects = spokenOf(body, { number, seq }, this.#associated, this.#keys, this.#contents, object);
    let isLeftOut = false;
    for (const [subject, parts] of subjects) {
      if (this.#keys.isLeftOut(subject)) {
        isLeftOut = true;
        continue;
      }
      const isErased = this.#keys.keyOf(subject) === undefined;
      (isErased ? this.#erased : this.#spoken).add(subject);
      files.insertPersonal(subject, number, seq, parts);
    }
    if (!isLeftOut) return body;
    return eraseParts(body, { number, seq }, (subject) => this.#keys.isLeftOut(subject));
  }

  isSubject(number: number): boolean {
    return this.#named.has(number);
  }

  /**
   * Once the rows have their indexes: who is erased is spoken of no more, and subjects of whom nobody speaks are gone, but for those
   * who are held.
   */
  finish(files: NewShard): void {
    for (const subject of this.#erased) files.forgetSubject(subject);
    for (const subject of this.#named) {
      const isHeld = this.#wanted.has(subject) && files.isHeld(subject);
      if (!this.#spoken.has(subject) && !isHeld) files.removeEntity(subject);
    }
  }
}

const nobody: ReadonlyMap<number, number> = new Map();

/**
 * How many parts of each subject a run of a host has. Errors: CORRUPT with the object, for a part that its subject's key does not open,
 * and for a subject without a key who is neither erased nor left out.
 */
export function spokenOf(
  body: Uint8Array,
  host: { readonly number: number; readonly seq: number },
  associated: ShardAssociated,
  keys: EntityKeys,
  contents: ShardContents,
  object: string,
): ReadonlyMap<number, number> {
  if (!hasParts(body)) return nobody;
  requireParts(body, host, associated, keys, object);
  const subjects = subjectsOf(body);
  for (const subject of subjects.keys()) if (keys.isUnknown(subject)) requireErased(contents, subject);
  return subjects;
}

function requireParts(
  body: Uint8Array,
  host: { readonly number: number; readonly seq: number },
  associated: ShardAssociated,
  keys: EntityKeys,
  object: string,
): void {
  try {
    openParts(body, associated.personal, host, (subject) => keys.keyOf(subject));
  } catch (thrown) {
    if (thrown instanceof WarpError) throw damaged(object, undefined, thrown.message);
    throw thrown;
  }
}
