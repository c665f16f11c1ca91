/**
 * Dropping the first events of an entity: what its history begins with then is sealed and put in their place.
 */
import { WarpError } from "../../core/errors.ts";
import { inForce } from "../../core/receipt.ts";
import { droppedMark } from "../files/bases.ts";
import type { SnapshotRow } from "../files/runs.ts";
import { aggregateHash, formBytes, sealPacked } from "../files/sealed.ts";
import type { DropOrder } from "../messages.ts";
import type { Shard } from "../shard.ts";

/**
 * Returns how many runs were removed: none of an erased entity or one that is held, or whose key is damaged, and none when the
 * runs are other ones by now.
 */
export function drop(shard: Shard, { number, to, states, about, places }: DropOrder): number {
  const key = shard.vault.keyOrFault(number);
  if (!(key instanceof Uint8Array) || isHeld(shard, number)) return 0;
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

/** A hold that cannot be read may be in force. */
function isHeld(shard: Shard, number: number): boolean {
  const hold = shard.runs.holds.findOrFault(number, shard.vault, shard.associated.hold);
  return hold instanceof WarpError || (hold !== undefined && inForce(hold.toString()) !== undefined);
}
