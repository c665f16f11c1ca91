/**
 * The shapes of an event on its way in and on its way out. They belong to the core because the journal, the shards,
 * the actors and the network all speak of them.
 */

/**
 * An event as the caller gives it. Its data belongs to Warp from then on: states may keep its objects, not copies of them, so
 * nobody changes them any more. With `freeze`, as in tests, whoever does is found out.
 */
export interface NewEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly data: Data;
  /** When it happened, in ms since 1970 or as a Date, if that is not now (imports); at most 8.64e15 ms from 1970. */
  readonly occurredAt?: number | Date;
  /** What it says of somebody else; it can be erased with her, and the rest of the event stays. */
  readonly personal?: Personal;
}

export interface Personal {
  /** The entity id of whom it is about; there need not be such an entity. */
  readonly subject: string;
  /** As the data of an event, but not null. */
  readonly data: unknown;
}

/** An event as it is stored. `data` has the form of the `version` it was stored under. */
export interface StoredEvent<Type extends string = string, Data = unknown> {
  readonly entity: string;
  /** 1, 2, 3 … within the entity, without gaps. */
  readonly seq: number;
  readonly type: Type;
  /** Version of the event type when it was stored; 1 if no aggregate names another. */
  readonly version: number;
  readonly data: Data;
  /** ms since 1970, set by the engine; never decreases within a shard. */
  readonly recordedAt: number;
  /** ms since 1970 as the caller gave it. */
  readonly occurredAt?: number;
  /** The personal data of somebody else; null when that was erased, absent when there was none. */
  readonly personal?: unknown;
  /** Order of its record within the shard. */
  readonly position: number;
}
