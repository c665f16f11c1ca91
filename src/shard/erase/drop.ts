/**
 * Dropping the first events of an entity: what its history begins with then is sealed and put in their place.
 */
import { inForce } from "../../core/receipt.ts";
import { droppedMark } from "../files/bases.ts";
import type { SnapshotRow } from "../files/runs.ts";
import { aggregateHash, formBytes, sealPacked } from "../files/sealed.ts";
import type { DropOrder } from "../messages.ts";
import type { Shard } from "../shard.ts";

/** Returns how many runs were removed: none of an erased entity or one that is held, and none when the runs are other ones by now. */
export function drop(shard: Shard, { number, to, states, about, places }: DropOrder): number {
  const key = shard.vault.keyOf(number);
  if (key === undefined) return 0;
  const hold = shard.runs.holds.find(number, shard.vault, shard.associated.hold);
  if (hold !== undefined && inForce(hold.toString()) !== undefined) return 0;
  const sealed = (aggregate: number, version: number, content: Uint8Array): SnapshotRow => {
    const plaintext = Buffer.allocUnsafe(formBytes + content.length);
    plaintext.set(content, formBytes);
    const associated = shard.associated.snapshot.of(number, aggregate, version, to);
    return { aggregate, version, seq: to, data: sealPacked(key, plaintext, plaintext.length, associated) };
  };
  const rows = states.map(({ aggregate, version, state }) =>
    sealed(aggregateHash(shard.context, aggregate), version, state),
  );
  rows.push(sealed(droppedMark, 0, Buffer.from(about)));
  for (const [i, position] of places.entries()) rows.push(sealed(-1 - i, position, Buffer.alloc(0)));
  return shard.runs.bases.drop(number, to, rows);
}
