/**
 * What other entities say of somebody, for her export: a page of runs at a time, shard by shard.
 *
 * A cursor of this has `from` at or above `partsFrom`: the shard and the number of the host that was read last; `to` is the first
 * seq of the run, and `number` hers in that shard. So it goes over the wire as every cursor of an export does.
 */

import type { Actor } from "../actor/actor.ts";
import type { Subjects } from "../actor/personal/subjects.ts";
import type { ExportCursor } from "../actor/privacy.ts";
import { erasedMeanwhile } from "../actor/storage/history.ts";
import type { Reading } from "../actor/storage/reading.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../core/entry.ts";
import type { StoredEvent } from "../core/event.ts";
import { partForm, personalParts } from "../core/personal.ts";
import type { PartsRun } from "../shard/read/personal.ts";

const partsFrom = 2 ** 52;
/** Numbers of a shard are below this. */
const hostsMax = 2 ** 36;

export interface SpokenPage {
  readonly events: readonly StoredEvent[];
  readonly next: ExportCursor | undefined;
}

/** Where what others say of her begins. Errors: ERASED when she was erased meanwhile. */
export async function firstPartOf(subjects: Subjects, subject: string): Promise<ExportCursor> {
  const [first] = await inOrder(subjects, subject);
  return cursorTo(first);
}

/** Her numbers by shard: there are some, since parts are asked for only of somebody of whom others speak. Errors: ERASED. */
async function inOrder(subjects: Subjects, subject: string): Promise<[Actor, ...Actor[]]> {
  const [first, ...others] = (await subjects.numbersOf(subject)).toSorted(
    (a, b) => a.shard.index - b.shard.index,
  );
  if (first === undefined) throw erasedMeanwhile(subject);
  return [first, ...others];
}

function cursorTo({ shard, number }: Actor): ExportCursor {
  return { from: partsFrom + shard.index * hostsMax, to: 0, number };
}

export function isOfParts({ from }: ExportCursor): boolean {
  return from >= partsFrom;
}

/** Events that speak of a subject, with `personal` hers, behind a cursor. Errors: ERASED when she was erased meanwhile. */
export async function spokenPage(
  parts: { readonly subjects: Subjects; readonly reading: Reading },
  subject: string,
  cursor: ExportCursor,
): Promise<SpokenPage> {
  const place = cursor.from - partsFrom;
  const shard = Math.floor(place / hostsMax);
  const sorted = await inOrder(parts.subjects, subject);
  const actor = sorted.find((one) => one.shard.index >= shard);
  if (actor === undefined) return { events: [], next: undefined };
  const { number } = actor;
  const { index } = actor.shard;
  // Whoever is spoken of under this id by now is somebody else.
  if (cursor.number !== undefined && (index !== shard || cursor.number !== number))
    throw erasedMeanwhile(subject);
  const after = index === shard ? { host: place % hostsMax, seq: cursor.to } : { host: 0, seq: 0 };
  const { runs, next } = await parts.reading.parts(index, number, after);
  if (actor.number !== number) throw erasedMeanwhile(subject);
  const events = runs.flatMap((run) => eventsOf(run, number));
  if (next !== undefined)
    return { events, next: { from: partsFrom + index * hostsMax + next.host, to: next.seq, number } };
  const following = sorted[sorted.indexOf(actor) + 1];
  return { events, next: following === undefined ? undefined : cursorTo(following) };
}

function eventsOf({ entity, seq: firstSeq, bytes: body }: PartsRun, subject: number): StoredEvent[] {
  const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
  const events: StoredEvent[] = [];
  let seq = firstSeq;
  for (let at = 0; at < body.length; at += entryLength(bytes, at)) {
    const hers = new Set(
      (personalParts(bytes, at) ?? [])
        .filter(({ number, form }) => number === subject && form !== partForm.erased)
        .map(({ index }) => index),
    );
    if (hers.size > 0) events.push(...readEntry(bytes, at, entity, seq).filter((_, i) => hers.has(i)));
    seq += entryCount(bytes, at);
  }
  return events;
}
