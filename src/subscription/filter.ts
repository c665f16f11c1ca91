/**
 * Which events a subscription is about: those of an entity, of ids with a prefix, of some types, or all.
 */
import type { Folding } from "../actor/folding.ts";
import { type LastDropped, lastDropped } from "../core/dropped.ts";
import { requireEntityId } from "../core/entity-id.ts";
import type { Bytes } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import { eventsOfFeedPart, type FeedPart } from "../core/feed.ts";
import { limits } from "../core/limits.ts";
import { placedText, shardOf } from "../shard/placement.ts";

export interface FilterQuery {
  /** Events of this entity; then there is no prefix. */
  readonly entity?: string | undefined;
  /** Events of entities whose ids begin so. */
  readonly prefix?: string | undefined;
  /** Only events of these types. */
  readonly types?: readonly string[] | undefined;
  /** Events as they were stored, instead of in the newest version of their types. */
  readonly stored?: boolean | undefined;
}

export class Filter {
  readonly entity: string | undefined;
  /** The same text for filters that let the same through. */
  readonly key: string;
  /** The shards that can have such events. */
  readonly shards: readonly number[];
  readonly #prefix: string;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #folding: Folding | undefined;

  /** Errors: INVALID_ARGUMENT. */
  constructor(query: FilterQuery, context: { readonly shards: number; readonly folding: Folding }) {
    const { entity, prefix = "", types, stored = false } = query;
    if (entity !== undefined) requireEntityId(entity);
    if (entity !== undefined && prefix !== "")
      throw invalid("a subscription has an entity or a prefix, not both");
    if (typeof prefix !== "string" || prefix.length > limits.entityIdBytesMax)
      throw invalid("prefix is a text");
    if (types !== undefined && (types.length === 0 || types.length > limits.subscriptionTypesMax)) {
      throw invalid(`types are 1 to ${limits.subscriptionTypesMax} event types`);
    }
    if (types?.every(isType) === false)
      throw invalid(`an event type is a text of at most ${limits.eventTypeBytesMax} bytes`);
    this.entity = entity;
    this.#prefix = prefix;
    this.#types = types === undefined ? undefined : new Set(types);
    this.#folding = stored ? undefined : context.folding;
    this.key = JSON.stringify([entity, prefix, types?.toSorted(), stored]);
    const placed = entity ?? (placedText(prefix) === prefix ? undefined : prefix);
    this.shards =
      placed === undefined
        ? Array.from({ length: context.shards }, (_, shard) => shard)
        : [shardOf(placed, context.shards)];
  }

  matchesEntity(id: string): boolean {
    return this.entity === undefined ? id.startsWith(this.#prefix) : id === this.entity;
  }

  /** What of a part of a matching entity is let through, upcast. Errors: EVOLVE_FAILED when an upcast fails. */
  eventsOf(page: Bytes, part: FeedPart): StoredEvent[] {
    return this.select(eventsOfFeedPart(page, part));
  }

  /** The newest dropped event that it would have let through. */
  lastDropped(last: readonly LastDropped[]): ReturnType<typeof lastDropped> {
    const types = this.#types;
    return lastDropped(last, (type) => types === undefined || types.has(type));
  }

  /** What of events of a matching entity is let through, upcast. */
  select(events: StoredEvent[]): StoredEvent[] {
    const types = this.#types;
    const folding = this.#folding;
    const selected = types === undefined ? events : events.filter(({ type }) => types.has(type));
    return folding === undefined ? selected : selected.map((event) => folding.upcast(event));
  }
}

function isType(type: unknown): boolean {
  return typeof type === "string" && Buffer.byteLength(type) <= limits.eventTypeBytesMax;
}

function invalid(message: string): WarpError {
  return new WarpError("INVALID_ARGUMENT", message);
}
