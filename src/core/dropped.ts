/**
 * Events that retention has dropped: what a history says in their place, so that fewer events are never silently fewer.
 *
 * In histories of every front end the mark stands where the events stood, in the form of an event: its `seq` is that of the
 * last one that is missing, its `recordedAt` theirs, its data `{ from, to }` the seqs that were asked for and are gone.
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
}

/** How far an entity's history was dropped, and what is known of it (JSON of {@link AboutDropped}). */
export interface Dropped {
  readonly seq: number;
  readonly about: string;
}

export function aboutDropped({ about }: Dropped): AboutDropped {
  return JSON.parse(about) as AboutDropped;
}

/** The mark in a history that was asked for from `from` to `to`. */
export function droppedEvent(entity: string, dropped: Dropped, from: number, to: number): StoredEvent {
  const { recordedAt } = aboutDropped(dropped);
  const last = Math.min(dropped.seq, to);
  const data = { from, to: last };
  return { entity, seq: last, type: droppedType, version: 1, data, recordedAt, position: 0 };
}
