/**
 * What a handle of an entity offers beyond events and states: taking everything with you, erasing, and holding back an
 * erasure. The engine of it is src/privacy, which handles know only by this.
 */

import type { DeletePlan, ErasureListed, Hold, Receipt } from "../core/receipt.ts";

export type {
  BackupTargetKnown,
  DeletePlan,
  ErasureListed,
  Hold,
  Receipt,
  Removed,
} from "../core/receipt.ts";

export interface DeleteOptions {
  /**
   * Why, and on whose word: references such as a ticket, at most 63 characters of letters, digits, blank and `._:/#@-`. They
   * stay in the ledger for ever, so they must not say who was erased; with her id in them they are refused.
   */
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
  /** How long to wait for what the erasure depends on, ms, 0 to 3,000,000 (30 s); then the receipt is pending. */
  readonly waitMs?: number | undefined;
}

/** Where a page of an export begins: at an event of an export that shows everything up to `to`. */
export interface ExportCursor {
  readonly from: number;
  readonly to: number;
  /** What the entity is known by within its shard; an id that was erased and began again has another. */
  readonly number?: number | undefined;
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

export interface HoldOptions {
  readonly reason: string;
  readonly by?: string | undefined;
  /** When it ends by itself; without it, when it is released. */
  readonly until?: number | Date | undefined;
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
