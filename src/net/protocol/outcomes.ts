/**
 * What crosses the wire, as values: what may be asked of a context and what comes back.
 *
 * The shapes are those of the library, so that a program reads the same over the wire as in its own process; they
 * are declared again here because neither side of the wire may know the engine.
 */
import type { StoredEvent } from "../../core/event.ts";

/** The events are durable, at these seqs. */
export interface Appended {
  readonly ok: true;
  /** Seq of the last event of this append; the entity's newest when there was nothing to append. */
  readonly seq: number;
  readonly firstSeq: number;
  readonly count: number;
  /** True when an earlier call with the same key or delivery id did this; nothing was appended now. */
  readonly duplicate: boolean;
  readonly shard: number;
  /** Order of the record within its shard; at least that for a duplicate. */
  readonly position: number;
}

/** `expect` did not hold; nothing was appended. `seq` is the entity's newest. */
export interface Conflict {
  readonly ok: false;
  readonly reason: "conflict";
  readonly seq: number;
}

/** A command said no; nothing was appended. */
export interface Rejected {
  readonly ok: false;
  readonly reason: "rejected";
  readonly code: string;
  readonly details: unknown;
  readonly seq: number;
  /** True when an earlier call with the same key was rejected so. */
  readonly duplicate: boolean;
}

export type AppendResult = Appended | Conflict;
export type SendResult = Appended | Conflict | Rejected;

/** What must be true of the entity: nothing, no events yet, some events, or this newest seq. */
export type Expect = "any" | "none" | "exists" | number;

/** Which request of which client session this is: a repeat counts once. */
export interface Delivery {
  /** When the session began, ms since 1970 by the server's clock. */
  readonly sessionStart: number;
  /** Random integer below 2^53. */
  readonly sessionNumber: number;
  /** 1, 2, 3 … within the session. */
  readonly counter: number;
  /** The client waits for no write whose counter is more than this below; none of those is ever repeated. */
  readonly behind?: number | undefined;
}

export interface WriteOptions {
  readonly expect?: Expect;
  readonly key?: string;
  readonly delivery?: Delivery;
}

/** Where to cut an entity's past; times are ms since 1970. */
export type Moment = { readonly seq: number } | { readonly recorded: number } | { readonly occurred: number };

/** A state, and the seq of the newest durable event in it; of a moment in the past the seq is not said. */
export interface StateAt {
  readonly seq: number | undefined;
  readonly state: unknown;
}

/** What to subscribe to: an entity, ids with a prefix, some types, or everything. */
export interface SubscribeQuery {
  readonly entity?: string | undefined;
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
  /** A cursor, `"start"` (the default), `"end"`, or a time of recording, ms since 1970. */
  readonly from?: string | { readonly time: number } | undefined;
  /** Events as they were stored, instead of in the newest version of their types. */
  readonly stored?: boolean | undefined;
}

/** What a subscription is read as. With each comes the cursor to go on from behind it. */
export type SubscriptionMessage =
  /** Events, in the order of their positions within a shard; at least one. */
  | { readonly kind: "events"; readonly events: readonly StoredEvent[]; readonly cursor: string }
  /** Everything that is durable by now has been read. What follows is live. */
  | { readonly kind: "caughtUp"; readonly cursor: string }
  /** The entity and everything before this was erased. Its id may be empty, when it is no longer known. */
  | { readonly kind: "erased"; readonly entity: string; readonly cursor: string }
  /** Retention dropped events up to and including seq `droppedTo` of the entity, and with them some that were not read here yet. */
  | {
      readonly kind: "dropped";
      readonly entity: string;
      readonly droppedTo: number;
      readonly cursor: string;
    };

/** What a group that is new is about, and where it begins. */
export interface JoinQuery {
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
  readonly from?: string | { readonly time: number } | undefined;
}

/** An event that a member of a group is to work off and answer. */
export interface GroupDelivery {
  readonly delivery: number;
  /** 1 for the first time. */
  readonly attempt: number;
  readonly event: StoredEvent;
}

/** What became of a delivery. */
export type GroupAnswer =
  | { readonly action: "ack" | "skip" }
  | { readonly action: "retry"; readonly delayMs?: number | undefined }
  | { readonly action: "park"; readonly reason?: string | undefined };

export interface GroupStatus {
  readonly name: string;
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
  readonly members: number;
  /** Records between the checkpoint and the newest. */
  readonly lag: number;
  /** Deliveries that are not answered. */
  readonly underWay: number;
  /** Events that were read and wait. */
  readonly waiting: number;
  readonly parked: number;
  /** ms since 1970 when the oldest of them was parked. */
  readonly oldestParkedAt?: number | undefined;
}

/** A parked event, as a reference. */
export interface ParkedEvent {
  readonly shard: number;
  readonly number: number;
  readonly seq: number;
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
  readonly parkedAt: number;
}

export interface EventsQuery {
  /** First seq, 1 by default. */
  readonly from?: number;
  /** Last seq, the newest by default. */
  readonly to?: number;
  /** `forward` (oldest first) by default. */
  readonly direction?: "forward" | "backward";
  readonly limit?: number;
}

export interface EntitiesQuery {
  readonly prefix?: string;
  /** Only ids behind this one, in the byte order of UTF-8. */
  readonly after?: string;
  readonly limit?: number;
}

export interface EntityListed {
  readonly id: string;
  /** The newest durable seq. */
  readonly seq: number;
}
