/**
 * Where a subscription begins: a cursor, the start, the end, or a time, as positions.
 */
import type { Feed } from "../actor/storage/feed.ts";
import { decodeCursor, type Positions } from "../core/cursor.ts";
import { WarpError } from "../core/errors.ts";
import type { Filter } from "./filter.ts";

/** A cursor, or where to begin without one. A time is ms since 1970 or a Date, and that of recording. */
export type From = string | { readonly time: number | Date };

/**
 * A position for each shard that the filter is about. `"end"` is taken at once.
 * Errors: INVALID_ARGUMENT, CURSOR_FOREIGN.
 */
export async function positionsFrom(feed: Feed, filter: Filter, from: From): Promise<Positions> {
  const positions = new Array<number | undefined>(feed.shards).fill(undefined);
  if (typeof from === "object") {
    const time = typeof from.time === "number" ? from.time : from.time.getTime();
    if (!Number.isFinite(time)) throw new WarpError("INVALID_ARGUMENT", `not a time: ${String(from.time)}`);
    for (const shard of filter.shards) positions[shard] = await feed.positionAt(shard, time);
    return positions;
  }
  if (from === "start" || from === "end") {
    for (const shard of filter.shards) positions[shard] = from === "start" ? 0 : feed.committed(shard);
    return positions;
  }
  const given = decodeCursor(from, feed);
  for (const shard of filter.shards) {
    const position = given[shard];
    if (position === undefined) {
      throw new WarpError("INVALID_ARGUMENT", "the cursor is of a subscription to something else", { shard });
    }
    const committed = feed.committed(shard);
    if (position > committed) {
      const why = "the cursor is ahead of the context, which has lost its newest records";
      throw new WarpError("CURSOR_FOREIGN", why, { shard, position, committed });
    }
    positions[shard] = position;
  }
  return positions;
}
