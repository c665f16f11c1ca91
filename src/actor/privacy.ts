/**
 * What a handle of an entity offers beyond events and states: taking everything with you, erasing, and holding back an
 * erasure. The engine of it is src/privacy, which handles know only by this.
 */

export interface DeleteOptions {
  /**
   * Why, and on whose word: references such as a ticket, at most 63 characters of letters, digits, blank and `._:/#@-`. They
   * stay in the ledger for ever, so they must not say who was erased; with her id in them they are refused.
   */
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
  /** How long to wait for what the erasure depends on, ms (30 s); then the receipt is pending. */
  readonly waitMs?: number | undefined;
}

export interface Removed {
  readonly events: number;
  /** Rows: runs of events, snapshots of states, caller keys. */
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
}

/** What a deletion would remove. */
export interface DeletePlan extends Removed {
  readonly entity: string;
  /** Ciphertext in the shard's file. */
  readonly bytes: number;
  /** What would refuse it. */
  readonly hold: Hold | undefined;
  /** Who would have to pass it before it is complete. */
  readonly followers: readonly string[];
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
  /** Of the key that was destroyed, hex; zeros when it was never on the disk. */
  readonly fingerprint: string;
  readonly removed: Removed;
  readonly pending: readonly string[];
}

export interface HoldOptions {
  readonly reason: string;
  readonly by?: string | undefined;
  /** When it ends by itself; without it, when it is released. */
  readonly until?: number | Date | undefined;
}

export interface Hold {
  readonly reason: string;
  readonly by: string | undefined;
  /** ms since 1970. */
  readonly since: number;
  readonly until: number | undefined;
}

export interface Privacy {
  delete(id: string, options: DeleteOptions): Promise<Receipt>;
  whenTidy(): Promise<void>;
}
