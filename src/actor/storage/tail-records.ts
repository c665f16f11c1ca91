/**
 * Where the durable, unsettled records of each shard lie in a tail, by position.
 *
 * Filled when somebody asks, from what became durable since somebody last asked; so appends do nothing for it. Positions
 * of a shard have no gaps: a shard's offsets are an array of its newest positions, used in a ring.
 */
import { recordOffset } from "../../core/record.ts";
import type { Tail } from "../../journal/tail.ts";
import type { ShardState } from "./shard-state.ts";

interface Offsets {
  readonly shard: ShardState;
  /** Offset of the record at a position, at the position modulo the length. */
  at: Uint32Array;
  /** Positions from `first` to `last` are known. */
  first: number;
  last: number;
}

export class TailRecords {
  readonly tail: Tail;
  readonly #shards = new Map<number, Offsets>();
  #turn = 0;

  /** All shards of the tail's writer. */
  constructor(tail: Tail, shards: readonly ShardState[]) {
    this.tail = tail;
    for (const shard of shards) {
      this.#shards.set(shard.index, { shard, at: new Uint32Array(64), first: 1, last: 0 });
    }
  }

  /** Takes in what has become durable up to a turn. */
  takeIn(durableTurn: number): void {
    if (durableTurn === this.#turn) return;
    const { view } = this.tail.bytes;
    for (const { start, end } of this.tail.heldBetween(this.#turn, durableTurn)) {
      for (let at = start; at < end; at += view.getUint32(at + recordOffset.length, true)) {
        const offsets = this.#shards.get(view.getUint16(at + recordOffset.shard, true));
        if (offsets !== undefined) add(offsets, view.getFloat64(at + recordOffset.position, true), at);
      }
    }
    this.#turn = durableTurn;
  }

  /** Offset of the record at a position that is durable, unsettled and taken in. */
  offsetOf(shard: number, position: number): number {
    const offsets = this.#shards.get(shard);
    return offsets?.at[position & (offsets.at.length - 1)] ?? 0;
  }
}

function add(offsets: Offsets, position: number, at: number): void {
  const { shard, last } = offsets;
  offsets.first = position === last + 1 ? Math.max(offsets.first, shard.settledPosition + 1) : position;
  offsets.last = position;
  if (position - offsets.first >= offsets.at.length) grow(offsets);
  offsets.at[position & (offsets.at.length - 1)] = at;
}

function grow(offsets: Offsets): void {
  const { at, first, last } = offsets;
  const grown = new Uint32Array(at.length * 2);
  for (let position = first; position < last; position++) {
    grown[position & (grown.length - 1)] = at[position & (at.length - 1)] ?? 0;
  }
  offsets.at = grown;
}
