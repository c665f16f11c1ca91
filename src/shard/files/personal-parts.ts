/**
 * Personal parts as they lie in runs: each sealed under the key of its subject, so that it dies with that key.
 *
 * - Associated data of a part: the subject's number, the host's, the seq of the event.
 * - Sealing and opening change an entry's personal section and nothing else of it (core/personal.ts).
 */
import { open, seal } from "../../core/aead.ts";
import { type Bytes, bytesOf, entryCount, entryLength } from "../../core/entry.ts";
import { WarpError } from "../../core/errors.ts";
import { hasPersonal, type PersonalPart, partForm, personalParts, withParts } from "../../core/personal.ts";
import { entryFlag, entryOffset } from "../../core/record.ts";
import type { Associated } from "./sealed.ts";

/** The key of a subject; undefined when it is destroyed. */
type KeyOf = (subject: number) => Uint8Array | undefined;

/** In whose run parts stand, and at which seq it begins. */
interface Host {
  readonly number: number;
  readonly seq: number;
}

const nothing = new Uint8Array(0);

/** The entry at `entryAt` as a run of the host `number` has it; `seq` is that of its first event. Errors: CORRUPT. */
export function sealParts(
  bytes: Bytes,
  entryAt: number,
  associated: Associated,
  host: Host,
  keyOf: KeyOf,
): { readonly entry: Buffer; readonly subjects: readonly number[] } {
  const parts = partsOf(bytes, entryAt, host);
  const sealed = parts.map(({ index, number, form, data }) => {
    const key = keyOf(number);
    if (key === undefined) return erasedPart({ index, number });
    const plaintext = Buffer.allocUnsafe(1 + data.length);
    plaintext[0] = form;
    plaintext.set(data, 1);
    const about = associated.of(number, host.number, host.seq + index);
    return { index, number, form: partForm.sealed, data: seal(key, plaintext, about) };
  });
  return { entry: withParts(bytes, entryAt, sealed), subjects: parts.map(({ number }) => number) };
}

/** The entries of a run with their personal parts opened, or erased. Errors: CORRUPT. */
export function openParts(body: Uint8Array, associated: Associated, host: Host, keyOf: KeyOf): Uint8Array {
  return mapParts(body, host, (part, here) => openPart(part, associated, here, keyOf));
}

/** The entries of a run with the parts of some subjects erased. Errors: CORRUPT. */
export function eraseParts(body: Uint8Array, host: Host, isErased: (subject: number) => boolean): Uint8Array {
  return mapParts(body, host, (part) => (isErased(part.number) ? erasedPart(part) : part));
}

function mapParts(
  body: Uint8Array,
  host: Host,
  mapped: (part: PersonalPart, here: Host) => PersonalPart,
): Uint8Array {
  if (!hasParts(body)) return body;
  const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
  const entries: Uint8Array[] = [];
  let seq = host.seq;
  for (let at = 0; at < body.length; at += entryLength(bytes, at)) {
    if (hasPersonal(bytes, at)) {
      const here = { number: host.number, seq };
      const parts = partsOf(bytes, at, here).map((part) => mapped(part, here));
      entries.push(withParts(bytes, at, parts));
    } else {
      entries.push(body.subarray(at, at + entryLength(bytes, at)));
    }
    seq += entryCount(bytes, at);
  }
  return Buffer.concat(entries);
}

/**
 * True when the entries of a run have a personal part. Reads the bytes themselves: nearly all runs have none, and a second
 * view of each would cost more than looking.
 */
export function hasParts(body: Uint8Array): boolean {
  for (let at = 0; at < body.length; ) {
    if (((body[at + entryOffset.flags] ?? 0) & entryFlag.personal) !== 0) return true;
    const lengthAt = at + entryOffset.length;
    let length = 0;
    for (let i = 3; i >= 0; i--) length = length * 256 + (body[lengthAt + i] ?? 0);
    at += Math.max(1, length);
  }
  return false;
}

/** How many parts of each subject the entries of a run have, but for those that stand there erased. */
export function subjectsOf(body: Uint8Array): Map<number, number> {
  const subjects = new Map<number, number>();
  const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
  for (let at = 0; at < body.length; at += entryLength(bytes, at)) {
    for (const { number, form } of partsOf(bytes, at, { number: 0, seq: 0 }))
      if (form !== partForm.erased) subjects.set(number, (subjects.get(number) ?? 0) + 1);
  }
  return subjects;
}

/** True when opened entries have a part that is not erased. */
export function speaksOfOthers(body: Uint8Array): boolean {
  const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
  for (let at = 0; at < body.length; at += entryLength(bytes, at)) {
    const parts = partsOf(bytes, at, { number: 0, seq: 0 });
    if (parts.some(({ form }) => form !== partForm.erased)) return true;
  }
  return false;
}

function openPart(part: PersonalPart, associated: Associated, host: Host, keyOf: KeyOf): PersonalPart {
  const { index, number, form, data } = part;
  if (form === partForm.erased) return part;
  const key = keyOf(number);
  if (key === undefined) return erasedPart(part);
  const plaintext = open(key, data, associated.of(number, host.number, host.seq + index));
  if (form !== partForm.sealed || plaintext === undefined) {
    const why = `number ${host.number}: the personal part of seq ${host.seq + index} does not open`;
    throw new WarpError("CORRUPT", why, { number: host.number, seq: host.seq + index });
  }
  return { index, number, form: plaintext[0] ?? 0, data: plaintext.subarray(1) };
}

function erasedPart({ index, number }: Pick<PersonalPart, "index" | "number">): PersonalPart {
  return { index, number, form: partForm.erased, data: nothing };
}

function partsOf(bytes: Bytes, entryAt: number, { number, seq }: Host) {
  const parts = personalParts(bytes, entryAt);
  if (parts !== undefined) return parts;
  const why = `number ${number}: the personal parts of the entry at seq ${seq} do not add up`;
  throw new WarpError("CORRUPT", why, { number, seq });
}
