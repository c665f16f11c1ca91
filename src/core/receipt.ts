/**
 * What exports, deletions and holds come back with, in the library and over the wire.
 */
import { WarpError } from "./errors.ts";
import { limits } from "./limits.ts";

export interface Removed {
  readonly events: number;
  /** Rows: runs of events, snapshots of states, caller keys. */
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
}

/** What other entities say of somebody (docs/privacy.md): the parts, and in how many hosts they lie. */
export interface PersonalCounts {
  readonly parts: number;
  /** Undefined in a receipt that was made from the ledgers, which do not have it. */
  readonly hosts: number | undefined;
}

/** The key of a subject that one shard had. */
export interface PersonalKey {
  readonly shard: number;
  /** Entry of that shard's ledger; 0 as long as it is not written. */
  readonly entry: number;
  /** Hex. */
  readonly fingerprint: string;
}

/** What a deletion would remove. */
export interface DeletePlan extends Removed {
  readonly entity: string;
  /** Ciphertext in the shard's file. */
  readonly bytes: number;
  readonly personal: PersonalCounts;
  /** What would refuse it. */
  readonly hold: Hold | undefined;
  /** Who would have to pass it before it is complete. */
  readonly followers: readonly string[];
}

/** A backup target. Until its next backup it has the wrapped key of what was erased, if it had it before. */
export interface BackupTargetKnown {
  readonly target: string;
  /** When its newest backup began, ms; 0 when none was finished. */
  readonly backedUpAt: number;
  /** From the end of one backup to the next, ms; undefined when they are made by hand. */
  readonly everyMs: number | undefined;
  /** True for the one that the directory was restored from, which no later backup reaches. */
  readonly restoredFrom?: true | undefined;
}

/** The proof of an erasure. It names the entity only by what the ledger has; the id is the caller's own. */
export interface Receipt {
  /** `erased`: nothing is left. `pending`: what `pending` names is not done yet. `nothing`: there was no such entity. */
  readonly status: "erased" | "pending" | "nothing";
  readonly entity: string;
  readonly shard: number;
  /** Entry of the shard's ledger; 0 with `nothing`, or as long as it is not written. */
  readonly entry: number;
  /** ms since 1970. */
  readonly erasedAt: number;
  /** Of the key that was destroyed, hex; zeros when it was never on the disk, or damaged. */
  readonly fingerprint: string;
  readonly removed: Removed;
  /** What other entities said of her, and the keys that it was sealed under. */
  readonly personal: PersonalCounts & { readonly keys: readonly PersonalKey[] };
  readonly pending: readonly string[];
  /** Where older backups of the key live until the next backup: every target that there ever was. */
  readonly backups: readonly BackupTargetKnown[];
}

/** An entry of a shard's ledger. There is no personal data in it. */
export interface ErasureListed {
  readonly shard: number;
  readonly entry: number;
  /**
   * Whose key was destroyed: an entity's, or that of somebody of whom entities of this shard speak in personal parts, which
   * `removed.events` then counts. Entries from before this was told apart say "entity".
   */
  readonly kind: "entity" | "subject";
  readonly number: number;
  readonly position: number;
  /** ms since 1970. */
  readonly erasedAt: number;
  /** Hex: of the key that was destroyed, and of the id, under the context's key for hashes. */
  readonly fingerprint: string;
  readonly idHash: string;
  readonly reason: string;
  readonly by: string;
  readonly isComplete: boolean;
  readonly removed: Removed;
}

export interface Hold {
  readonly reason: string;
  readonly by: string | undefined;
  /** ms since 1970. */
  readonly since: number;
  readonly until: number | undefined;
}

/** How long a deletion may wait for its receipt, ms. Errors: INVALID_ARGUMENT. */
export function requireWait(waitMs: number): number {
  if (waitMs >= 0 && waitMs <= limits.receiptMsMax) return waitMs;
  throw new WarpError("INVALID_ARGUMENT", `waitMs is 0 to ${limits.receiptMsMax}, not ${String(waitMs)}`);
}

/** The hold that is written in a text, unless its time is over. */
export function inForce(text: string): Hold | undefined {
  const hold = JSON.parse(text) as Hold;
  return isInForce(hold) ? hold : undefined;
}

export function isInForce({ until }: Hold): boolean {
  return until === undefined || until > Date.now();
}
