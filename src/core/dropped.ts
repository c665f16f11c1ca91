/**
 * Events that retention has dropped: what a history says in their place, so that fewer events are never silently fewer.
 *
 * In histories of every front end the mark stands where the events stood, in the form of an event: its `seq` is that of the
 * last one that is missing, its `recordedAt` theirs, its data `{ from, to }` the seqs that were asked for and are gone.
 *
 * A follower has it as a *gap*: at the place of the newest event that is missing for it, so that whoever reads past that place is
 * told, and whoever stands behind it, and lacks nothing, is not.
 */
import type { StoredEvent } from "./event.ts";

/** The type of the mark. No event can have it. */
export const droppedType = "$dropped";

/** What is kept of dropped events, with the states behind them. Times are ms. */
export interface AboutDropped {
  /** All types that were among them. */
  readonly types: readonly string[];
  /** Of the newest. */
  readonly recordedAt: number;
  /** The latest `occurredAt`, or `recordedAt` where there is none. */
  readonly occurredAt: number;
  /** Of each type the newest; of what was dropped before this was kept there is none. */
  readonly last?: readonly LastDropped[];
}

/** Type, shard position and `recordedAt` (ms) of the newest dropped event of its type. */
export type LastDropped = readonly [type: string, position: number, recordedAt: number];

export interface DroppedEvents {
  readonly entity: string;
  /** The entity's events up to and including this seq are not there any more; its history begins behind it. */
  readonly droppedTo: number;
}

/** What a follower is told: events that it would have been handed are gone. */
export interface Gap extends DroppedEvents {
  /** Of the newest event that is missing for the follower. */
  readonly position: number;
  readonly recordedAt: number;
}

/** How far an entity's history was dropped, and what is known of it (JSON of {@link AboutDropped}). */
export interface Dropped {
  readonly seq: number;
  readonly about: string;
}

export function aboutDropped({ about }: Dropped): AboutDropped {
  return JSON.parse(about) as AboutDropped;
}

/** The newest dropped event of the types that somebody wants; undefined when there was none of them. */
export function lastDropped(
  last: readonly LastDropped[],
  isWanted: (type: string) => boolean,
): { readonly position: number; readonly recordedAt: number } | undefined {
  let newest: { position: number; recordedAt: number } | undefined;
  for (const [type, position, recordedAt] of last) {
    if (isWanted(type) && position > (newest?.position ?? 0)) newest = { position, recordedAt };
  }
  return newest;
}

/** A gap in the form of an event, as histories have the mark. */
export function gapEvent({ entity, droppedTo, position, recordedAt }: Gap): StoredEvent {
  const data = { to: droppedTo };
  return { entity, seq: droppedTo, type: droppedType, version: 1, data, recordedAt, position };
}

/** The mark in a history that was asked for from `from` to `to`. */
export function droppedEvent(entity: string, dropped: Dropped, from: number, to: number): StoredEvent {
  const { recordedAt } = aboutDropped(dropped);
  const last = Math.min(dropped.seq, to);
  const data = { from, to: last };
  return { entity, seq: last, type: droppedType, version: 1, data, recordedAt, position: 0 };
}
