/**
 * Which entities were erased after an event was recorded: it makes no rows about them any more.
 *
 * - Events of *other* entities may say something about one that was erased, and may reach a build after her erasure: from another
 *   shard, from a backlog, or when everything is built anew. By this rule nothing of that comes back, whenever they come.
 * - Ids are known by their hashes alone, as in the ledger. Events behind the newest erasure cost a comparison.
 */
import { ErasedIds } from "../../actor/storage/erased-ids.ts";
import type { StoredEvent } from "../../core/event.ts";
import type { KnownErased } from "../../core/feed.ts";
import { subjectName } from "../../core/personal.ts";
import type { Stored } from "../columns.ts";

/** Ids that were looked up before all of them are forgotten. */
const lookedUpMax = 100_000;

export class ErasedBefore {
  readonly #ids: ErasedIds;
  readonly #lookedUp = new Map<string, number>();

  constructor({ idHashKey, hashes, times }: KnownErased) {
    this.#ids = new ErasedIds(idHashKey, hashes, times);
  }

  /** An empty id is one that is not known any more, and then it is in no row. */
  learn(entity: string, erasedAt: number): void {
    if (entity === "") return;
    this.#ids.add(entity, erasedAt);
    this.#lookedUp.delete(entity);
  }

  /** True when the event was recorded before the entity was erased. */
  has(entity: Stored, { recordedAt, entity: own }: StoredEvent): boolean {
    if (recordedAt > this.#ids.newest || typeof entity !== "string") return false;
    // What an entity says of itself is not there any more, or is followed by its erasure.
    return entity !== own && recordedAt <= this.#erasedAt(entity);
  }

  #erasedAt(entity: string): number {
    const known = this.#lookedUp.get(entity);
    if (known !== undefined) return known;
    // Who was no entity is in the ledger as a subject.
    const erasedAt = Math.max(this.#ids.find(entity) ?? 0, this.#ids.find(subjectName(entity)) ?? 0);
    if (this.#lookedUp.size >= lookedUpMax) this.#lookedUp.clear();
    this.#lookedUp.set(entity, erasedAt);
    return erasedAt;
  }
}
