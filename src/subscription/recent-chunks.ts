/**
 * The newest pages that were read for filters, as chunks: followers of the same filter that are at the same place share
 * what was decoded and encoded for the first of them, live or not.
 */
import type { Chunk } from "./chunk.ts";
import type { Filter } from "./filter.ts";

/** What a filter lets through of the records from `after` to `upTo`. */
export interface ReadChunks {
  readonly shard: number;
  readonly after: number;
  readonly upTo: number;
  readonly chunks: readonly Chunk[];
}

/** Pages that are remembered, over all filters. */
const pagesMax = 32;

export class RecentChunks {
  readonly #pages = new Map<string, ReadChunks>();
  /** How often pages were forgotten. */
  forgotten = 0;

  /** `number` is that of the filter's entity, as far as the follower knows it: erasures without an id are known by it. */
  find(filter: Filter, number: number, shard: number, after: number): ReadChunks | undefined {
    return this.#pages.get(keyOf(filter, number, shard, after));
  }

  /** `forgotten` is what it was before the page was read: one that was read before an erasure is not kept behind it. */
  add(filter: Filter, number: number, page: ReadChunks, forgotten: number): void {
    if (forgotten !== this.forgotten) return;
    // A chunk has one cursor, and followers of several shards may stand elsewhere in the others.
    if (filter.shards.length > 1) return;
    const key = keyOf(filter, number, page.shard, page.after);
    this.#pages.delete(key);
    this.#pages.set(key, page);
    if (this.#pages.size <= pagesMax) return;
    for (const oldest of this.#pages.keys()) {
      this.#pages.delete(oldest);
      break;
    }
  }

  /** Forgets what could hold events of an erased entity. */
  forget(): void {
    this.forgotten++;
    this.#pages.clear();
  }
}

function keyOf(filter: Filter, number: number, shard: number, after: number): string {
  return `${shard} ${after} ${number} ${filter.key}`;
}
