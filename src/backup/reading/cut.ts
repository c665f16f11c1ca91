/**
 * Cutting a shard's history at a time: nothing that was recorded later is kept.
 *
 * `recordedAt` never decreases within a shard, so a time is a position, and the cut is the same for all its entities:
 * what was appended to several of them at once is there whole or not at all.
 */

import { open } from "../../core/aead.ts";
import { bytesOf, entryCount, entryLength, entryPosition, entryRecordedAt } from "../../core/entry.ts";
import { rowChecksum } from "../../shard/sqlite/database.ts";
import { openPacked, type ShardAssociated } from "../../shard/files/sealed.ts";
import { callerKeyLayout } from "../../shard/shard.ts";
import type { Value } from "../format/tables.ts";
import { callerKeyFault, sealedFault, sealedRun } from "./row-opener.ts";

export class Cut {
  /** Kept is what was recorded at this time or before, ms. */
  readonly at: number;
  readonly #associated: ShardAssociated;
  /** True when something later was met: the runs of later batches are later too. */
  isMet = false;
  /** The newest position that is known to be kept. */
  #keptTo = 0;

  constructor(at: number, associated: ShardAssociated) {
    this.at = at;
    this.#associated = associated;
  }

  /** Everything up to this position is kept. */
  keep(position: number): void {
    this.#keptTo = Math.max(this.#keptTo, position);
  }

  /** What is kept of a run: all of it, its beginning, or undefined. Errors: CORRUPT with the object. */
  run(row: readonly Value[], key: Uint8Array, object: string): readonly Value[] | undefined {
    const [number, seq, count, batch, data] = row as [number, number, number, number, Uint8Array];
    const body = openPacked(key, data, this.#associated.run.of(number, seq, count, batch));
    if (body === undefined) throw sealedFault(row, object);
    const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
    let kept = 0;
    let at = 0;
    while (at < body.length && entryRecordedAt(bytes, at) <= this.at) {
      this.keep(entryPosition(bytes, at));
      kept += entryCount(bytes, at);
      at += entryLength(bytes, at);
    }
    if (at >= body.length) return row;
    this.isMet = true;
    if (kept === 0) return undefined;
    return sealedRun([number, seq, kept, batch], body.subarray(0, at), key, this.#associated);
  }

  /** Whether a caller key is kept: a rejection belongs to no event, only to its time. Errors: CORRUPT with the object. */
  keepsCallerKey(row: readonly Value[], key: Uint8Array, object: string): boolean {
    const [, number, firstSeq, count, , data] = row as [
      number,
      number,
      number,
      number,
      Uint8Array,
      Uint8Array,
    ];
    const plaintext = open(key, data, this.#associated.callerKey.of(number, firstSeq, count));
    if (plaintext === undefined) throw callerKeyFault(number, object);
    return plaintext.readDoubleLE(callerKeyLayout.recordedAt) <= this.at;
  }

  /**
   * A delivery window (docs/data-files.md) without its later results. Of rejections behind the last event that is kept
   * it is not known whether they are later; without their results they are decided again.
   */
  window(row: readonly Value[]): readonly Value[] {
    const [sessionStart, sessionNumber, usedAt, , results] = row as [
      number,
      number,
      number,
      number,
      Uint8Array,
    ];
    const numbers = new Float64Array(new Uint8Array(results).buffer);
    const kept = [numbers[0] ?? 0];
    for (let i = 1; i + 4 <= numbers.length; i += 4) {
      if ((numbers[i + 3] ?? 0) <= this.#keptTo) kept.push(...numbers.subarray(i, i + 4));
    }
    const bytes = new Uint8Array(Float64Array.from(kept).buffer);
    return [
      sessionStart,
      sessionNumber,
      usedAt,
      rowChecksum([sessionStart, sessionNumber, usedAt], bytes),
      bytes,
    ];
  }
}
