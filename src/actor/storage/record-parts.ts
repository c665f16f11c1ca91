/**
 * The parts of APPEND records: which numbers they carry, and what else of a write stands in them.
 *
 * New entities take the next numbers of their shard in the order of the parts, behind subjects that are new.
 */
import type { PartDraft } from "../../core/append-record.ts";
import type { Actor } from "../actor.ts";
import { contentHashOf } from "../caller-keys.ts";
import type { Naming } from "../personal/naming.ts";
import type { Write } from "../write.ts";

/** The share of one write. */
export function partOf(
  write: Write,
  entry: PartDraft["entry"],
  outcome: string | undefined,
  naming: Naming | undefined,
): PartDraft {
  const { actor, options } = write;
  const isNew = actor.number === 0;
  const key = options?.key;
  return {
    number: isNew ? actor.shard.nextNumber + (naming?.fresh.length ?? 0) : actor.number,
    firstSeq: actor.tipSeq + 1,
    id: isNew ? actor.id : undefined,
    key: key === undefined ? undefined : { text: key, contentHash: contentHashOf(write) },
    delivery: options?.delivery,
    outcome,
    entry,
  };
}

/** The shares of several entities in one record; those without events have none. */
export function partsTogether(
  actors: readonly Actor[],
  drafts: readonly PartDraft["entry"][],
  naming: Naming | undefined,
): PartDraft[] {
  const parts: PartDraft[] = [];
  let nextNumber = (actors[0]?.shard.nextNumber ?? 0) + (naming?.fresh.length ?? 0);
  for (const [index, actor] of actors.entries()) {
    const entry = drafts[index];
    if (entry === undefined || entry.count === 0) continue;
    const isNew = actor.number === 0;
    const number = isNew ? nextNumber++ : actor.number;
    const id = isNew ? actor.id : undefined;
    const none = { key: undefined, delivery: undefined, outcome: undefined };
    parts.push({ number, firstSeq: actor.tipSeq + 1, id, ...none, entry });
  }
  return parts;
}
