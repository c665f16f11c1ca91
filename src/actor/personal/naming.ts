/**
 * Recording events that speak of others: their subjects get numbers, in the same record when they are new in the shard.
 */
import type { PartDraft } from "../../core/append-record.ts";
import type { EntryDraft } from "../../core/entry.ts";
import { WarpError } from "../../core/errors.ts";
import { subjectName } from "../../core/personal.ts";
import type { Actor } from "../actor.ts";
import { emptyDraft } from "../draft.ts";
import type { Recorder } from "../storage/recorder.ts";
import type { ShardState } from "../storage/shard-state.ts";
import type { Missing, Subjects } from "./subjects.ts";

/** The subjects that a record speaks of, each once. */
export interface Naming {
  readonly subjects: readonly Actor[];
  /** Those of them that the record makes: they take the next numbers, in front of new entities. */
  readonly fresh: readonly Actor[];
  /** The shard's, which the numbers of these begin with. */
  readonly nextNumber: number;
}

/** Gives the parts of entries their subjects' numbers; undefined when there are no parts. Errors: ERASED, CORRUPT. */
export function nameSubjects(
  subjects: Subjects,
  shard: ShardState,
  entries: readonly EntryDraft[],
): Naming | Missing | undefined {
  if (entries.every(({ personal }) => personal === undefined)) return undefined;
  const drafts = entries.flatMap(({ personal }) => personal ?? []);
  const found = subjects.find(shard, drafts);
  if ("ready" in found) return found;
  const fresh = found.filter(({ number }) => number === 0);
  const numbers = new Map(found.map(({ id, number }) => [id, number]));
  for (const [i, { id }] of fresh.entries()) numbers.set(id, shard.nextNumber + i);
  for (const draft of drafts) draft.number = numbers.get(subjectName(draft.subject)) ?? 0;
  return { subjects: found, fresh, nextNumber: shard.nextNumber };
}

/**
 * As {@link Recorder.recordTogether}, with the subjects that are new. Errors: EVOLVE_FAILED when the program's functions, which were run
 * in between, have made entities: the parts would be sealed for those.
 */
export function recordNaming(
  recorder: Recorder,
  { subjects, fresh, nextNumber }: Naming,
  actors: readonly Actor[],
  parts: readonly PartDraft[],
  recordedAt: number,
): number {
  const none = { key: undefined, delivery: undefined, outcome: undefined };
  if (fresh.some(({ shard }) => shard.nextNumber !== nextNumber)) {
    const why = "an entity was made by a function that was run for events with personal parts";
    throw new WarpError("EVOLVE_FAILED", why);
  }
  const made = fresh.map(({ id }, i) => {
    return { number: nextNumber + i, firstSeq: 1, id, ...none, entry: emptyDraft };
  });
  const position = recorder.recordTogether([...fresh, ...actors], [...made, ...parts], recordedAt);
  if (position > 0) for (const subject of subjects) subject.tipPosition = position;
  return position;
}
