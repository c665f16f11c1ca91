/**
 * What may be said beside an erasure: references, which stay in the ledger for ever and must not name who was erased.
 */
import { WarpError } from "../core/errors.ts";
import { ledgerTextMax } from "../shard/files/ledger-format.ts";

const allowed = /^[A-Za-z0-9][A-Za-z0-9 ._:/#@-]*$/;

export interface Reference {
  readonly reason: string;
  readonly by: string;
}

/** Errors: INVALID_ARGUMENT. */
export function referenceOf(id: string, reason: string | undefined, by: string | undefined): Reference {
  requireReference(id, "reason", reason);
  requireReference(id, "by", by);
  return { reason: reason ?? "", by: by ?? "" };
}

function requireReference(id: string, name: string, text: string | undefined): void {
  if (text === undefined || text === "") return;
  if (typeof text !== "string" || text.length > ledgerTextMax || !allowed.test(text)) {
    const why = `${name} is a reference of at most ${ledgerTextMax} letters, digits, blanks and . _ : / # @ -`;
    throw new WarpError("INVALID_ARGUMENT", why);
  }
  const words = text.toLowerCase().split(/[ /:#]+/);
  const isNamed =
    words.includes(id.toLowerCase()) || (id.length > 3 && text.toLowerCase().includes(id.toLowerCase()));
  if (!isNamed) return;
  const why = `${name} stays in the ledger for ever, and it names the entity that is to be erased: give a reference`;
  throw new WarpError("INVALID_ARGUMENT", why);
}
