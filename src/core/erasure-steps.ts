/**
 * The steps of an erasure, in their order, each done when the one behind it begins (docs/decisions/0007-erasure.md).
 *
 * Whoever watches over an engine can follow them on the diagnostics channel `warp:erasure` of the thread that does them:
 * main does `recorded`, `checkpointed`, `retired`, `followers` and `receipt`, the shard writers do the others. A step is
 * published when it is done. Nobody who subscribes may throw, or take long.
 *
 * A process may end behind any of them, and within any of them: the next start goes on.
 */
import { channel } from "node:diagnostics_channel";

export const erasureSteps = [
  /** The ERASE record is on the disk: calls are answered ERASED, and there is no way back. */
  "recorded",
  /** The entry in the shard's ledger is on the disk. */
  "ledger",
  /** The slot of its key is zeros on the disk. */
  "key",
  /** names.db has the id among those that are being erased, and nowhere else. */
  "unnamed",
  /** runs.db has the settled position and how far the erasure is, in one transaction. */
  "settled",
  /** Everything that the journal held up to the record is in main database files. */
  "checkpointed",
  /** The keys of the journal's segments up to the record are zeros on the disk. */
  "retired",
  /** No row of the entity is left in runs.db. */
  "rows",
  /** Every follower that registered has passed, its files cleaned. */
  "followers",
  /** The id is out of names.db and its WAL. */
  "zeroed",
  /** runs.db says that nothing is left to do. */
  "complete",
  /** Whoever asked is about to be told. */
  "receipt",
] as const;

export type ErasureStep = (typeof erasureSteps)[number];

export const erasureChannel = "warp:erasure";

export interface ErasureStepDone {
  readonly step: ErasureStep;
  /** Undefined for what is done for all shards at once. */
  readonly shard: number | undefined;
}

const done = channel(erasureChannel);

/** Says that a step is done, for one erasure or for several that go together. */
export function stepDone(step: ErasureStep, shard?: number): void {
  if (done.hasSubscribers) done.publish({ step, shard } satisfies ErasureStepDone);
}
