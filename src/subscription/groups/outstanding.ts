/**
 * What a group has read and is not done with, by entity and in order.
 *
 * - An entity has at most one delivery under way, of its oldest event; so its events are worked off in their order, whoever
 *   does it.
 * - What is done below what is not is remembered here alone: the checkpoint of a shard is before its oldest event that is
 *   not done.
 * - What is done behind what is not keeps its place, without its event: it is delivered again after a crash, so there is a bound
 *   to how many such places there may be.
 */
import type { StoredEvent } from "../../core/event.ts";

/** Where an event stands in its shard. */
export interface Place {
  readonly position: number;
  isDone: boolean;
}

export interface Item {
  readonly shard: number;
  readonly number: number;
  /** Read again when something that it says of somebody else was erased. */
  event: StoredEvent;
  readonly place: Place;
  /** What it takes, about. */
  readonly bytes: number;
  /** Deliveries so far. */
  attempts: number;
  /** Its row, when it was parked and is tried again. */
  readonly parkedId: number | undefined;
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
  readonly #order: Place[][];
  #count = 0;
  #places = 0;
  #bytes = 0;

  constructor(shards: number) {
    this.#order = Array.from({ length: shards }, () => []);
  }

  /** Events that are not done. */
  get count(): number {
    return this.#count;
  }

  /** Those, and the ones that are done behind one of them in their shard. */
  get places(): number {
    return this.#places;
  }

  /** What the events that are not done take together, about. */
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
    this.#places++;
    this.#bytes += item.bytes;
    if (item.parkedId === undefined) this.#order[item.shard]?.push(item.place);
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
    if (item.place.isDone) return;
    item.place.isDone = true;
    this.#count--;
    this.#bytes -= item.bytes;
    if (item.parkedId === undefined) this.#trim(item.shard);
    else this.#places--;
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
    const lane = item.place.isDone ? undefined : this.#laneOf(item);
    if (lane === undefined) return;
    lane.isUnderWay = false;
    lane.isWaiting = waits;
    if (!waits) this.#ready.unshift(lane);
  }

  /** It is to be delivered again at once, and was not tried. */
  takeBack(item: Item): void {
    item.attempts--;
    this.giveBack(item, false);
  }

  resume(item: Item): void {
    const lane = item.place.isDone ? undefined : this.#laneOf(item);
    if (lane === undefined || !lane.isWaiting) return;
    lane.isWaiting = false;
    this.#ready.push(lane);
  }

  /** Everything of an erased entity. */
  drop(shard: number, number: number): void {
    for (const item of [...(this.#lanes.get(`${shard} ${number}`)?.items ?? [])]) this.finish(item);
  }

  /** Of a shard, those whose events say something of somebody else that was not erased when they were read. */
  withPersonal(shard: number): Item[] {
    const found: Item[] = [];
    for (const { items } of this.#lanes.values()) {
      if (items[0]?.shard !== shard) continue;
      for (const item of items) if ((item.event.personal ?? null) !== null) found.push(item);
    }
    return found;
  }

  /** True while this parked event is being tried again. */
  hasParked(row: { readonly shard: number; readonly number: number; readonly id: number }): boolean {
    const lane = this.#lanes.get(`${row.shard} ${row.number}`);
    return lane?.items.some(({ parkedId }) => parkedId === row.id) === true;
  }

  /** Everything up to here is done; `readUpTo` is up to where the shard has been read. */
  checkpoint(shard: number, readUpTo: number): number {
    const oldest = this.#order[shard]?.[0];
    return oldest === undefined ? readUpTo : oldest.position - 1;
  }

  /** Nothing that is done stays at the front. */
  #trim(shard: number): void {
    const order = this.#order[shard] ?? [];
    let done = 0;
    while (order[done]?.isDone === true) done++;
    if (done === 0) return;
    order.splice(0, done);
    this.#places -= done;
  }

  #laneOf({ shard, number }: Item): Lane | undefined {
    return this.#lanes.get(`${shard} ${number}`);
  }
}

/** The place of an event that is not done. */
export function placeOf({ position }: StoredEvent): Place {
  return { position, isDone: false };
}
