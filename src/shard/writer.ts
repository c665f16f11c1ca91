/**
 * All shards of one writer: rounds come in, one at a time, and are settled shard by shard; checkpoints go between them.
 *
 * - A shard is settled wholly before the next begins. After an error nothing more is written: the Worker ends, and
 *   the next start settles the same records again.
 * - Checkpoints are spread: after a round the fullest WAL over the limit is copied, and every one over twice the limit.
 * - `checkpointedRound` only rises, and only past rounds that are wholly in main files in every shard they touched.
 */
import { Collector } from "../core/aead.ts";
import type { DeliveryWindows } from "../core/delivery-windows.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { settleErasures } from "./erase/carry-out.ts";
import { drop } from "./erase/drop.ts";
import { type Released, release, type Swept, sweep } from "./erase/sweep.ts";
import type { CheckpointMode } from "./sqlite/database.ts";
import { Gather, ShardBatch } from "./gather.ts";
import type {
  DropOrder,
  FromWriter,
  ShardOpened,
  ShardWorkerOptions,
  SnapshotDraft,
  ToWriter,
} from "./messages.ts";
import { type SettleCounts, type SettleExtras, settleKeys, settleNames, settleRuns } from "./settle.ts";
import type { Rewrapped } from "./files/vault.ts";
import { Shard } from "./shard.ts";

type SettleMessage = Extract<ToWriter, { type: "settle" }>;
type FilterMessage = Extract<FromWriter, { type: "filter" }>;

/** A WAL this many times over the limit is copied even if it has to wait for readers. */
const patience = 8;

export class Writer {
  readonly #tail: Uint8Array;
  readonly #shards = new Map<number, Shard>();
  readonly #gather: Gather;
  /** Shard → the oldest round that may be in its WAL alone. */
  readonly #dirtySince = new Map<number, number>();
  #settledRound = 0;
  readonly #collector = new Collector();
  /** Where the next slice of a sweep begins: what becomes due in other shards meanwhile gathers, and shares pages. */
  #sweptLast: number;

  /** Errors: those of {@link Shard.open}. */
  constructor(options: ShardWorkerOptions, tail: SharedArrayBuffer) {
    this.#tail = new Uint8Array(tail);
    this.#gather = new Gather(options.shards);
    this.#sweptLast = options.shards[0] ?? 0;
    try {
      for (const shard of options.shards) this.#shards.set(shard, Shard.open(shard, options));
      // What a process that was killed left in the WALs counts as settled, and need not be on the disk yet; the
      // journal holds it until it is.
      for (const [number, { walBytes }] of this.#shards) if (walBytes > 0) this.#dirtySince.set(number, 0);
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
  }

  /** What each shard was found to have. */
  describe(): ShardOpened[] {
    return [...this.#shards.values()].map((shard) => shard.describe());
  }

  /** Settles a round. When it returns, the ranges may be used again. Errors: CORRUPT, IO_ERROR, DISK_FULL. */
  settle(message: SettleMessage): SettleCounts {
    const erased = erasedByShard(message.erased);
    const batches = this.#gather.take(this.#tail, message.ranges, (number) => {
      const shard = this.#shardOf(number);
      const named = shard.names.namedPosition;
      const { nextNumber } = shard.names;
      return {
        settled: shard.runs.meta.position,
        named,
        nextNumber,
        erased: shard.erasedNow(erased?.get(number)),
      };
    });
    const extras = extrasByShard(message);
    for (const shard of extras.keys()) {
      if (!batches.some((batch) => batch.shard === shard)) batches.push(new ShardBatch(shard));
    }
    let runs = 0;
    let bytes = 0;
    for (const batch of batches) {
      const shard = this.#shardOf(batch.shard);
      if (!this.#dirtySince.has(batch.shard)) this.#dirtySince.set(batch.shard, message.round);
      settleKeys(shard, batch);
      const entries = settleErasures(shard, batch.erasures);
      settleNames(shard, batch, this.#gather);
      const counts = settleRuns(shard, batch, this.#gather, extras.get(batch.shard) ?? noExtras, entries);
      runs += counts.runs;
      bytes += counts.bytes;
      this.#collector.note(batch.minted.length + batch.keyed.length + counts.runs);
    }
    this.#gather.remember();
    this.#settledRound = message.round;
    return { runs, bytes };
  }

  /**
   * All that the journal held is settled: what is erased needs to be known no longer. Where nothing of the journal is kept,
   * everything is in main database files when this returns. Errors: DIRECTORY_LOCKED when a reader is in the way of that.
   */
  recovered(isJournalKept: boolean): void {
    for (const [number, shard] of this.#shards) if (shard.recovered()) this.#markDirty(number);
    if (isJournalKept) return;
    this.checkpointAll();
    const [left] = this.dirtyShards;
    if (left !== undefined) throw keptFromCheckpoint(left);
  }

  /** Removes about so many rows and bytes of erased entities. */
  sweep(rowsMax: number, bytesMax: number): Swept {
    const shards = [...this.#shards.values()];
    const first = shards.findIndex(({ shard }) => shard === this.#sweptLast);
    return sweep([...shards.slice(first), ...shards.slice(0, first)], rowsMax, bytesMax, (shard) => {
      this.#markDirty(shard);
      this.#sweptLast = shard;
    });
  }

  /** Drops the first events of an entity; returns how many runs those were. */
  drop(order: DropOrder): number {
    const shard = this.#shardOf(order.shard);
    const runs = drop(shard, order);
    if (runs > 0) this.#markDirty(order.shard);
    return runs;
  }

  /**
   * Sets or takes away a hold, on the disk when it returns; false when the entity is erased. Returns what is wrong with its slot
   * when that is damaged: then nothing can be sealed, and a hold only be taken away.
   */
  hold(index: number, number: number, hold: Uint8Array | undefined): boolean | WarpError {
    const shard = this.#shardOf(index);
    const key = shard.vault.keyOrFault(number);
    if (key === undefined) return false;
    if (hold === undefined) shard.runs.holds.remove(number);
    else if (key instanceof WarpError) return key;
    else shard.runs.holds.set(number, hold, key, shard.associated.hold);
    this.#markDirty(index);
    return true;
  }

  /** Wraps some keys of a shard from a number on by the current period; none when one of their slots is damaged. */
  rewrap(index: number, first: number): Rewrapped | WarpError {
    return this.#shardOf(index).vault.rewrap(first);
  }

  /** Removes the names of entities that are erased everywhere else; returns the shards where that is done. */
  release(erased: Released): number[] {
    return release((shard) => this.#shardOf(shard), erased);
  }

  /** The filters that grew in the last round. */
  grownFilters(): FilterMessage[] {
    const messages: FilterMessage[] = [];
    for (const { shard, ids, keys } of this.#shards.values()) {
      if (ids.takeGrown()) messages.push({ type: "filter", shard, of: "ids", filter: ids.filter.memory });
      if (keys.takeGrown()) messages.push({ type: "filter", shard, of: "keys", filter: keys.filter.memory });
    }
    return messages;
  }

  /** The newest round of which everything is in main database files and synced. */
  get checkpointedRound(): number {
    let round = this.#settledRound;
    for (const since of this.#dirtySince.values()) round = Math.min(round, since - 1);
    return round;
  }

  /** Copies the WALs that have grown too large; true when there was one. */
  checkpointGrown(): boolean {
    const grown = [...this.#dirtySince.keys()]
      .map((shard) => ({ shard, bytes: this.#shardOf(shard).walBytes }))
      .filter(({ bytes }) => bytes > limits.walBytesMax)
      .sort((one, other) => other.bytes - one.bytes);
    for (const [rank, { shard, bytes }] of grown.entries()) {
      if (rank > 0 && bytes <= 2 * limits.walBytesMax) break;
      this.#checkpoint(shard, bytes > patience * limits.walBytesMax ? "TRUNCATE" : "PASSIVE");
    }
    return grown.length > 0;
  }

  /** Copies every WAL that has anything in it; waits for readers only where one is in the way. */
  checkpointAll(): void {
    for (const shard of this.dirtyShards) {
      if (!this.#checkpoint(shard, "PASSIVE")) this.#checkpoint(shard, "TRUNCATE");
    }
  }

  /** Shards with something in their WALs. */
  get dirtyShards(): number[] {
    return [...this.#dirtySince.keys()];
  }

  /** Copies the WALs of a shard; false when a reader was in the way. Without one their files stay as they are: new ones cost more to sync. */
  checkpointBriefly(shard: number): boolean {
    return this.#checkpoint(shard, "PASSIVE") || this.#checkpoint(shard, "BRIEF");
  }

  /** Checkpoints everything, saves the filters and closes the files. */
  close(): void {
    for (const shard of this.#shards.values()) shard.checkpoint("TRUNCATE", "changed");
    this.#closeFiles();
  }

  /** Closes the files as they are, after a failure. */
  abandon(): void {
    this.#closeFiles();
  }

  /** Something that is no round is in its WAL: the next checkpoint copies it, and no round waits for that. */
  #markDirty(shard: number): void {
    if (!this.#dirtySince.has(shard)) this.#dirtySince.set(shard, this.#settledRound + 1);
  }

  #checkpoint(number: number, mode: CheckpointMode): boolean {
    const isDone = this.#shardOf(number).checkpoint(mode);
    if (isDone) this.#dirtySince.delete(number);
    return isDone;
  }

  #shardOf(number: number): Shard {
    const shard = this.#shards.get(number);
    if (shard === undefined)
      throw new WarpError("CORRUPT", `shard ${number} is not of this writer`, { shard: number });
    return shard;
  }

  #closeFiles(): void {
    for (const shard of this.#shards.values()) shard.close();
    this.#shards.clear();
  }
}

/** shard, number, shard, number … as a set of numbers by shard; undefined when there are none. */
function erasedByShard(erased: Float64Array): Map<number, Set<number>> | undefined {
  if (erased.length === 0) return undefined;
  const byShard = new Map<number, Set<number>>();
  for (let i = 0; i < erased.length; i += 2) {
    const shard = erased[i] ?? 0;
    const numbers = byShard.get(shard) ?? new Set();
    byShard.set(shard, numbers.add(erased[i + 1] ?? 0));
  }
  return byShard;
}

const noExtras: SettleExtras = { snapshots: [], deliveries: [] };

function extrasByShard({ snapshots, deliveries }: SettleMessage): Map<number, SettleExtras> {
  const byShard = new Map<number, { snapshots: SnapshotDraft[]; deliveries: DeliveryWindows[] }>();
  const of = (shard: number) => {
    const known = byShard.get(shard);
    if (known !== undefined) return known;
    const made = { snapshots: [], deliveries: [] };
    byShard.set(shard, made);
    return made;
  };
  for (const snapshot of snapshots) of(snapshot.shard).snapshots.push(snapshot);
  for (const changed of deliveries) of(changed.shard).deliveries.push(changed);
  return byShard;
}

function keptFromCheckpoint(shard: number): WarpError {
  const file = `shards/${String(shard).padStart(3, "0")}`;
  const why = `${file}: another process reads an older state of runs.db or names.db, so that what is in their WALs cannot be copied; end that process`;
  return new WarpError("DIRECTORY_LOCKED", why, { file, shard });
}
