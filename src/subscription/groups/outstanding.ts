/**
 * What a group has read and is not done with, by entity and in order.
 *
 * - An entity has at most one delivery under way, of its oldest event; so its events are worked off in their order, whoever
 *   does it.
 * - What is done below what is not is remembered here alone: the checkpoint of a shard is before its oldest event that is
 *   not done.
 */
import type { StoredEvent } from "../../core/event.ts";

export interface Item {
  readonly shard: number;
  readonly number: number;
  readonly event: StoredEvent;
  /** What it takes, about. */
  readonly bytes: number;
  /** Deliveries so far. */
  attempts: number;
  /** Its row, when it was parked and is tried again. */
  readonly parkedId: number | undefined;
  isDone: boolean;
}

interface Lane {
  readonly key: string;
  /** Oldest first; the first may be under way. */
  readonly items: Item[];
  isUnderWay: boolean;
  /** Waits for its time before it is tried again. */
  isWaiting: boolean;
}

export class Outstanding {
  readonly #lanes = new Map<string, Lane>();
  readonly #ready: Lane[] = [];
  /** By shard, in the order of positions, without what is done at the front. */
  readonly #order: Item[][];
  #count = 0;
  #bytes = 0;

  constructor(shards: number) {
    this.#order = Array.from({ length: shards }, () => []);
  }

  get count(): number {
    return this.#count;
  }

  /** What they take together, about. */
  get bytes(): number {
    return this.#bytes;
  }

  add(item: Item): void {
    const key = `${item.shard} ${item.number}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { key, items: [], isUnderWay: false, isWaiting: false };
      this.#lanes.set(key, lane);
    }
    lane.items.push(item);
    this.#count++;
    this.#bytes += item.bytes;
    if (item.parkedId === undefined) this.#order[item.shard]?.push(item);
    if (lane.items.length === 1) this.#ready.push(lane);
  }

  /** The next event that may be delivered; it is under way then. */
  take(): Item | undefined {
    for (let lane = this.#ready.shift(); lane !== undefined; lane = this.#ready.shift()) {
      const item = lane.items[0];
      if (item === undefined || lane.isUnderWay || lane.isWaiting) continue;
      lane.isUnderWay = true;
      item.attempts++;
      return item;
    }
    return undefined;
  }

  /** It is done with, in whatever way. */
  finish(item: Item): void {
    if (item.isDone) return;
    item.isDone = true;
    this.#count--;
    this.#bytes -= item.bytes;
    const lane = this.#laneOf(item);
    if (lane === undefined) return;
    lane.items.splice(lane.items.indexOf(item), 1);
    lane.isUnderWay = false;
    lane.isWaiting = false;
    if (lane.items.length === 0) this.#lanes.delete(lane.key);
    else this.#ready.push(lane);
  }

  /** It is to be delivered again, at once, or when {@link Outstanding.resume} says so. */
  giveBack(item: Item, waits: boolean): void {
    const lane = item.isDone ? undefined : this.#laneOf(item);
    if (lane === undefined) return;
    lane.isUnderWay = false;
    lane.isWaiting = waits;
    if (!waits) this.#ready.unshift(lane);
  }

  resume(item: Item): void {
    const lane = item.isDone ? undefined : this.#laneOf(item);
    if (lane === undefined || !lane.isWaiting) return;
    lane.isWaiting = false;
    this.#ready.push(lane);
  }

  /** Everything of an erased entity. */
  drop(shard: number, number: number): void {
    for (const item of [...(this.#lanes.get(`${shard} ${number}`)?.items ?? [])]) this.finish(item);
  }

  /** True while this parked event is being tried again. */
  hasParked(row: { readonly shard: number; readonly number: number; readonly id: number }): boolean {
    const lane = this.#lanes.get(`${row.shard} ${row.number}`);
    return lane?.items.some(({ parkedId }) => parkedId === row.id) === true;
  }

  /** Everything up to here is done; `readUpTo` is up to where the shard has been read. */
  checkpoint(shard: number, readUpTo: number): number {
    const order = this.#order[shard] ?? [];
    let done = 0;
    while (order[done]?.isDone === true) done++;
    if (done > 0) order.splice(0, done);
    const oldest = order[0];
    return oldest === undefined ? readUpTo : oldest.event.position - 1;
  }

  #laneOf({ shard, number }: Item): Lane | undefined {
    return this.#lanes.get(`${shard} ${number}`);
  }
}
