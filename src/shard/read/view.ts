/**
 * The files of one shard as a reader has them open, and opening what is sealed in them.
 */
import { release } from "../../core/aead.ts";
import { WarpError } from "../../core/errors.ts";
import type { Names } from "../files/names.ts";
import { openParts } from "../files/personal-parts.ts";
import type { RunRow, Runs } from "../files/runs.ts";
import { openPacked, type ShardAssociated } from "../files/sealed.ts";
import type { Vault } from "../files/vault.ts";

export interface ShardView {
  readonly shard: number;
  readonly names: Names;
  readonly runs: Runs;
  readonly vault: Vault;
  readonly associated: ShardAssociated;
}

/** The entries of a run, back to back, with what they say of others; the ciphertext of the row is used up. Errors: CORRUPT, ERASED. */
export function openRun(view: ShardView, number: number, row: RunRow): Uint8Array {
  const associated = view.associated.run.of(number, row.seq, row.count, row.batch);
  const body = openPacked(keyFor(view, number), row.data, associated);
  if (body === undefined) throw damaged(view, number, row.seq, "a run does not open");
  release(row.data);
  return openParts(body, view.associated.personal, { number, seq: row.seq }, (subject) =>
    view.vault.keyOf(subject),
  );
}

/** The key of an entity whose number was given out. Errors: ERASED, CORRUPT when its slot is damaged. */
export function keyFor(view: ShardView, number: number): Uint8Array {
  const key = view.vault.keyOf(number);
  if (key !== undefined) return key;
  throw erased(view, number);
}

export function erased({ shard }: ShardView, number: number): WarpError {
  return new WarpError("ERASED", `entity ${number} of shard ${shard} was erased`, { shard });
}

export function damaged(view: ShardView, number: number, seq: number, why: string): WarpError {
  const file = view.runs.path;
  return new WarpError("CORRUPT", `${file}: entity ${number}: ${why}`, { file, number, seq });
}
