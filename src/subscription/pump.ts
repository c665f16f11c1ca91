/**
 * How far the live followers of one shard are, and which channels want what an entity does.
 *
 * Which channels want an entity depends on its id alone, and an id has one number for as long as it lives: what was found
 * out for a number is remembered until the channels change.
 */
import type { Bytes } from "../core/entry.ts";
import { feedPartOffset, readFeedPart } from "../core/feed.ts";
import type { Channel } from "./hub.ts";

/** Numbers that are remembered before all are forgotten. */
const routesMax = 131_072;

export class Pump {
  readonly shard: number;
  position: number;
  /** True while a page comes from the disk. */
  isReading = false;
  /** Who was erased meanwhile. */
  erased = new Set<number>();
  readonly #channels = new Set<Channel>();
  /** Channels about one entity, by its id. */
  readonly #byEntity = new Map<string, Set<Channel>>();
  readonly #others = new Set<Channel>();
  readonly #routes = new Map<number, readonly Channel[]>();

  constructor(shard: number, position: number) {
    this.shard = shard;
    this.position = position;
  }

  get channels(): readonly Channel[] {
    return [...this.#channels];
  }

  get isIdle(): boolean {
    return this.#channels.size === 0;
  }

  add(channel: Channel): void {
    if (this.#channels.has(channel)) return;
    this.#channels.add(channel);
    this.#routes.clear();
    const { entity } = channel.filter;
    if (entity === undefined) {
      this.#others.add(channel);
      return;
    }
    const same = this.#byEntity.get(entity) ?? new Set();
    this.#byEntity.set(entity, same.add(channel));
  }

  remove(channel: Channel): void {
    if (!this.#channels.delete(channel)) return;
    this.#routes.clear();
    this.#others.delete(channel);
    const { entity } = channel.filter;
    if (entity === undefined) return;
    const same = this.#byEntity.get(entity);
    same?.delete(channel);
    if (same?.size === 0) this.#byEntity.delete(entity);
  }

  lengthOf(bytes: Bytes, at: number): number {
    return bytes.view.getUint32(at + feedPartOffset.length, true);
  }

  /** The channels that want the part at `at`. */
  channelsOf(bytes: Bytes, at: number): readonly Channel[] {
    const number = bytes.view.getFloat64(at + feedPartOffset.number, true);
    const known = this.#routes.get(number);
    if (known !== undefined) return known;
    const { entity } = readFeedPart(bytes, at);
    const others = [...this.#others].filter(({ filter }) => filter.matchesEntity(entity));
    const channels = [...(this.#byEntity.get(entity) ?? []), ...others];
    // An erasure may have lost its id; that says nothing of what comes under the number elsewhere.
    if (entity === "") return channels;
    if (this.#routes.size >= routesMax) this.#routes.clear();
    this.#routes.set(number, channels);
    return channels;
  }
}
