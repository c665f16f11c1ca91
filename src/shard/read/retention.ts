/**
 * What retention asks of a shard's file: which entities have old runs, which runs may go, and with what a history begins.
 */

import type { Dropped } from "../../core/dropped.ts";
import { bytesOf, entryLength, entryRecordedAt, entryTypes } from "../../core/entry.ts";
import { droppedMark } from "../files/bases.ts";
import { speaksOfOthers } from "../files/personal-parts.ts";
import { openPacked } from "../files/sealed.ts";
import type { OldRun, ReadRequest } from "../messages.ts";
import { damaged, keyFor, openRun, type ShardView } from "./view.ts";

type Request<Op extends ReadRequest["op"]> = Extract<ReadRequest, { op: Op }>;

/**
 * The oldest runs of an entity, but never the newest one; ends with the first that is too new for every rule, or that says
 * of others what can still be erased: a state in its place could not be folded again without it.
 */
export function oldRuns(
  view: ShardView,
  { number, keepLast, recordedTo, limit }: Request<"oldRuns">,
): OldRun[] {
  const runs: OldRun[] = [];
  const tip = view.runs.tipOf(number);
  for (const row of view.runs.forward(number, 1, Number.MAX_SAFE_INTEGER)) {
    const end = row.seq + row.count - 1;
    if (runs.length >= limit || end >= tip || end > tip - keepLast) break;
    const body = openRun(view, number, row);
    const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
    const types = new Set<string>();
    let recordedAt = 0;
    for (let at = 0; at < body.length; at += entryLength(bytes, at)) {
      recordedAt = entryRecordedAt(bytes, at);
      for (const type of entryTypes(bytes, at)) types.add(type);
    }
    if (recordedAt > recordedTo || speaksOfOthers(body)) break;
    runs.push({ end, tip, batch: row.batch, recordedAt, types: [...types] });
  }
  return runs;
}

/** What was dropped of an entity's history, and how far; undefined when it is whole. */
export function droppedOf(view: ShardView, number: number): Dropped | undefined {
  const row = view.runs.bases.of(number).find(({ aggregate }) => aggregate === droppedMark);
  if (row === undefined) return undefined;
  const associated = view.associated.snapshot.of(number, droppedMark, row.version, row.seq);
  const about = openPacked(keyFor(view, number), row.data, associated);
  if (about === undefined) throw damaged(view, number, row.seq, "what was dropped of it does not open");
  return { seq: row.seq, about: Buffer.from(about).toString("utf8") };
}
