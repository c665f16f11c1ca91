/**
 * What is left to do for erased entities when nobody can read them any more: removing their rows, in slices between
 * rounds, and at last their names.
 */
import { stepDone } from "../../core/erasure-steps.ts";
import type { ErasureRow, Slice } from "../files/erasures.ts";
import type { SweptEntity } from "../messages.ts";
import type { Shard } from "../shard.ts";

export interface Swept {
  readonly hasMore: boolean;
  readonly entities: readonly SweptEntity[];
}

export type Released = readonly { readonly shard: number; readonly numbers: readonly number[] }[];

/** Removes about so many rows and bytes in all. The first call also names what earlier lives have left to release. */
export function sweep(
  shards: readonly Shard[],
  rowsMax: number,
  bytesMax: number,
  onWritten: (shard: number) => void,
): Swept {
  const entities: SweptEntity[] = [];
  const slice: Slice = { rows: rowsMax, bytes: bytesMax };
  let hasMore = false;
  for (const shard of shards) {
    for (const row of shard.takeUnreleased()) entities.push(describe(shard, row));
    const { erasures } = shard.runs;
    // One call takes some entities; the shard is ended before the next begins.
    while (erasures.hasRows && slice.rows > 0 && slice.bytes > 0) {
      const swept = erasures.sweep(slice);
      onWritten(shard.shard);
      if (swept.length > 0) stepDone("rows", shard.shard);
      for (const row of swept) entities.push(describe(shard, row));
    }
    hasMore ||= erasures.hasRows;
  }
  return { hasMore, entities };
}

/** Removes names, and what SQLite keeps of them. Returns the shards where no reader was in the way; in the others the next call goes on. */
export function release(shardOf: (shard: number) => Shard, erased: Released): number[] {
  const done: number[] = [];
  for (const { shard: index, numbers } of erased) {
    const shard = shardOf(index);
    if (!shard.names.release(numbers)) continue;
    stepDone("zeroed", index);
    shard.runs.erasures.complete(numbers);
    stepDone("complete", index);
    done.push(index);
  }
  return done;
}

function describe(shard: Shard, row: ErasureRow): SweptEntity {
  const { number, position, entry, events, runs, snapshots, callerKeys } = row;
  const { fingerprint } = shard.ledger.entry(entry);
  return { shard: shard.shard, number, position, events, runs, snapshots, callerKeys, entry, fingerprint };
}
