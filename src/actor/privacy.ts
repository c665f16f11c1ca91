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

/** Where a page of an export begins: at an event of an export that shows everything up to `to`. */
export interface ExportCursor {
  readonly from: number;
  readonly to: number;
}

export interface ExportPage {
  /** Whole lines. */
  readonly text: string;
  /** Where the next page begins; undefined at the end. */
  readonly next: ExportCursor | undefined;
}

export interface ErasuresQuery {
  /** Only this shard. */
  readonly shard?: number | undefined;
  /** Only entries behind this one of each shard. */
  readonly after?: number | undefined;
}

/** An entry of a shard's ledger. There is no personal data in it. */
export interface ErasureListed {
  readonly shard: number;
  readonly entry: number;
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
  plan(id: string): Promise<DeletePlan>;
  export(id: string): AsyncGenerator<string>;
  exportPage(id: string, cursor: ExportCursor | undefined): Promise<ExportPage>;
  hold(id: string, options: HoldOptions): Promise<Hold>;
  release(id: string): Promise<void>;
  holdOf(id: string): Promise<Hold | undefined>;
  erasures(query: ErasuresQuery): AsyncGenerator<ErasureListed>;
  whenTidy(): Promise<void>;
}
