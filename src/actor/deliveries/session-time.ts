/**
 * What time it is for delivery sessions: the clock's, or so much later as records were stamped while it was ahead.
 *
 * - A shard forgets sessions by the time of its records, which never goes back. A session that begins at this time is young in
 *   every shard, so clients are told it, and not the clock.
 * - It goes on with the clock, and not back with it before the next start.
 */
import { limits } from "../../core/limits.ts";
import type { Logger } from "../../core/logger.ts";
import type { ShardState } from "../storage/shard-state.ts";

export class SessionTime {
  readonly #shards: readonly Pick<ShardState, "lastRecordedAt">[];
  readonly #logger: Logger;
  #aheadMs = 0;
  #isSaid = false;

  constructor(shards: readonly Pick<ShardState, "lastRecordedAt">[], logger: Logger) {
    this.#shards = shards;
    this.#logger = logger;
    this.now();
  }

  /** ms since 1970. */
  now(): number {
    const clock = Date.now();
    for (const { lastRecordedAt } of this.#shards) this.noteAhead(lastRecordedAt - clock);
    return clock + this.#aheadMs;
  }

  /** A shard's newest record is so much ahead of the clock; told once when that is much. */
  noteAhead(aheadMs: number): void {
    if (aheadMs <= this.#aheadMs) return;
    this.#aheadMs = aheadMs;
    if (this.#isSaid || aheadMs <= limits.deliveryAheadMs) return;
    this.#isSaid = true;
    const why =
      "records were stamped while the clock was ahead, or it is behind now: later ones get the same time until it is there";
    this.#logger.error(why, { aheadMs });
  }
}
