/**
 * The in-memory owner of one entity.
 *
 * - `tip` is what has been appended, `committed` what is durable. Writes decide on the tip; readers and replies only
 *   ever see the committed side.
 * - Where records of the entity lie in the tail is noted until they are settled, so that history can be read there.
 * - An actor may leave memory only when nothing of it is unsettled, waiting or under way.
 */
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { ShardState } from "./shard-state.ts";

export type States = readonly unknown[];

/** The result of a keyed call that is not settled yet. */
export interface KeyedResult {
  readonly contentHash: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  readonly position: number;
  readonly outcome: string | undefined;
}

/** A record of the entity in the tail. */
export interface TailEntry {
  readonly position: number;
  readonly firstSeq: number;
  /** Offset of its entry in the tail of the shard's writer. */
  readonly at: number;
}

const numbersPerEntry = 3;

export class Actor {
  readonly id: string;
  readonly shard: ShardState;
  /** 0 until its first record. */
  number = 0;
  tipSeq = 0;
  committedSeq = 0;
  tipStates: States;
  committedStates: States;
  /** Seq that the newest snapshot covers. */
  snapshotSeq = 0;
  isSnapshotDue = false;
  /** Unsettled results by caller key; undefined while there are none. */
  keyed: Map<string, KeyedResult> | undefined;
  /** What waits for the disk (a load, a look-up of a key); undefined when the actor can work at once. */
  #mailbox: (() => void)[] | undefined;
  /** Position of the newest record of the entity. */
  tipPosition = 0;
  /** Why it could not be loaded; calls that waited for it fail with this, the next call loads again. */
  loadFailure: WarpError | undefined;
  /** False once it left memory; handles then look the entity up again. */
  isResident = true;
  /** Set by every use, cleared by the sweep that looks for idle actors. */
  isRecent = true;
  /** Estimate, bytes. */
  memoryBytes = 0;
  #tail: number[] = [];

  constructor(id: string, shard: ShardState, states: States) {
    this.id = id;
    this.shard = shard;
    this.tipStates = states;
    this.committedStates = states;
  }

  get isWaiting(): boolean {
    return this.#mailbox !== undefined;
  }

  /** Makes everything wait until {@link resume}. */
  suspend(): void {
    this.#mailbox ??= [];
  }

  /** Runs `work` now, or in order behind what waits already. Throws OVERLOADED when too much does. */
  whenReady(work: () => void): void {
    if (this.#mailbox === undefined) {
      work();
      return;
    }
    if (this.#mailbox.length >= limits.mailboxMax) {
      throw new WarpError(
        "OVERLOADED",
        `${this.#mailbox.length} calls wait for entity ${JSON.stringify(this.id)}`,
        {
          limit: "mailboxMax",
        },
      );
    }
    this.#mailbox.push(work);
  }

  /** Runs `first`, then what waited, in order, until one of it suspends the actor again. */
  resume(first?: () => void): void {
    const waiting = this.#mailbox ?? [];
    if (first !== undefined) waiting.unshift(first);
    this.#mailbox = undefined;
    for (let i = 0; i < waiting.length; i++) {
      waiting[i]?.();
      if (this.isWaiting) {
        this.#mailbox = waiting.slice(i + 1);
        return;
      }
    }
  }

  noteTail(position: number, firstSeq: number, at: number): void {
    const tail = this.#tail;
    const length = tail.length;
    if (length > 0) {
      const settled = this.shard.settledPosition;
      if ((tail[length - numbersPerEntry] ?? 0) <= settled) tail.length = 0;
      else if (length >= 64 * numbersPerEntry) this.#pruneTail(settled);
    }
    tail.push(position, firstSeq, at);
  }

  /** Durable records that are not settled, oldest first. */
  tailEntries(): TailEntry[] {
    const entries: TailEntry[] = [];
    for (let i = 0; i < this.#tail.length; i += numbersPerEntry) {
      const [position = 0, firstSeq = 0, at = 0] = this.#tail.slice(i, i + numbersPerEntry);
      if (position > this.shard.settledPosition && firstSeq <= this.committedSeq) {
        entries.push({ position, firstSeq, at });
      }
    }
    return entries;
  }

  /** True when every record of the entity is in its shard's file. */
  get isSettled(): boolean {
    const length = this.#tail.length;
    if (length === 0) return true;
    return (this.#tail[length - numbersPerEntry] ?? 0) <= this.shard.settledPosition;
  }

  /** Drops the noted entries up to `settled` when they are at least half of all. */
  #pruneTail(settled: number): void {
    const tail = this.#tail;
    const middle = Math.floor(tail.length / (2 * numbersPerEntry)) * numbersPerEntry;
    if ((tail[middle] ?? 0) > settled) return;
    let first = middle;
    while (first < tail.length && (tail[first] ?? 0) <= settled) first += numbersPerEntry;
    tail.splice(0, first);
  }
}
