/**
 * Proving that what a segment has of an entity was sealed under its key, for the place where it stands.
 */
import { open } from "../../core/aead.ts";
import {
  formBytes,
  openPacked,
  type ShardAssociated,
  sealPacked,
  shardAssociated,
} from "../../shard/files/sealed.ts";
import { damaged } from "../format/container.ts";
import { tables, type Value } from "../format/tables.ts";

export class RowOpener {
  readonly associated: ShardAssociated;

  constructor(context: string, shard: number) {
    this.associated = shardAssociated(context, shard);
  }

  /** The entries of a run. Errors: CORRUPT with the object. */
  openRun(row: readonly Value[], key: Uint8Array, object: string): Uint8Array {
    const [number, seq, count, batch, data] = row as [number, number, number, number, Uint8Array];
    const body = openPacked(key, data, this.associated.run.of(number, seq, count, batch));
    if (body === undefined) throw sealedFault(row, object);
    return body;
  }

  opensHold(row: readonly Value[], key: Uint8Array): boolean {
    const [number, data] = row as [number, Uint8Array];
    return open(key, data, this.associated.hold.of(number)) !== undefined;
  }

  /** Errors: CORRUPT with the object. */
  prove(kind: number, row: readonly Value[], key: Uint8Array, object: string): void {
    const { snapshot, callerKey } = this.associated;
    switch (kind) {
      case tables.runs.kind:
        this.openRun(row, key, object);
        return;
      case tables.bases.kind:
      case tables.snapshots.kind: {
        const [number, aggregate, version, seq, data] = row as [number, number, number, number, Uint8Array];
        if (openPacked(key, data, snapshot.of(number, aggregate, version, seq)) !== undefined) return;
        throw damaged(object, undefined, `a snapshot of number ${number} does not open`);
      }
      case tables.holds.kind: {
        if (this.opensHold(row, key)) return;
        throw damaged(object, undefined, `the hold of number ${String(row[0])} does not open`);
      }
      case tables.callerKeys.kind: {
        const [, number, firstSeq, count, , data] = row as [
          number,
          number,
          number,
          number,
          Uint8Array,
          Uint8Array,
        ];
        if (open(key, data, callerKey.of(number, firstSeq, count)) !== undefined) return;
        throw callerKeyFault(number, object);
      }
    }
  }
}

/** A run with these entries in it. */
export function sealedRun(
  [number, seq, count, batch]: readonly [number: number, seq: number, count: number, batch: number],
  body: Uint8Array,
  key: Uint8Array,
  associated: ShardAssociated,
): readonly Value[] {
  const scratch = Buffer.alloc(formBytes + body.length);
  scratch.set(body, formBytes);
  const about = associated.run.of(number, seq, count, batch);
  return [number, seq, count, batch, sealPacked(key, scratch, scratch.length, about)];
}

/** A run that does not open. */
export function sealedFault(row: readonly Value[], object: string): Error {
  const [number, seq, count] = row as [number, number, number];
  return damaged(object, undefined, `events ${seq} to ${seq + count - 1} of number ${number} do not open`);
}

/** A caller key that does not open. */
export function callerKeyFault(number: number, object: string): Error {
  return damaged(object, undefined, `a caller key of number ${number} does not open`);
}

/** The number of the entity that a row belongs to; undefined for a row that is no entity's. */
export function numberOf(kind: number, row: readonly Value[]): number | undefined {
  if (kind === tables.deliveries.kind) return undefined;
  return Number(row[kind === tables.callerKeys.kind ? 1 : 0]);
}
