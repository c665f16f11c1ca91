/**
 * Writing and reading ERASE records: the end of one entity (format: docs/data-files.md).
 *
 * The part has the envelope of an APPEND's, always with the id, and instead of an entry: f64 time of the erasure,
 * then reason and `by`, each a u8 length and ASCII text.
 */
import type { Bytes } from "./entry.ts";
import { WarpError } from "./errors.ts";
import {
  partFlag,
  partHeaderBytes,
  partOffset,
  recordHeaderBytes,
  recordKind,
  recordOffset,
} from "./record.ts";

export interface EraseDraft {
  readonly id: string;
  /** Events that the entity had. */
  readonly events: number;
  /** ms since 1970. */
  readonly erasedAt: number;
  /** ASCII, at most 63 characters each. */
  readonly reason: string;
  readonly by: string;
}

export interface EraseRecord extends Omit<EraseDraft, "id"> {
  readonly number: number;
  readonly position: number;
  /** UTF-8. */
  readonly id: Buffer;
}

const bodyBytesMax = 8 + 2 * 64;

/** The most bytes that the record will need. */
export function eraseRecordBound(draft: EraseDraft): number {
  return recordHeaderBytes + partHeaderBytes + 2 + 3 * draft.id.length + bodyBytesMax;
}

/** Writes the whole record but for the header of records, and returns the offset behind it. */
export function writeErasePart(out: Bytes, at: number, number: number, draft: EraseDraft): number {
  const { buffer, view } = out;
  const idBytes = buffer.write(draft.id, at + partHeaderBytes + 2, "utf8");
  view.setUint16(at + partHeaderBytes, idBytes, true);
  const bodyAt = at + partHeaderBytes + 2 + idBytes;
  view.setFloat64(bodyAt, draft.erasedAt, true);
  let end = bodyAt + 8;
  for (const text of [draft.reason, draft.by]) {
    const length = buffer.write(text, end + 1, 63, "latin1");
    buffer[end] = length;
    end += 1 + length;
  }
  view.setUint32(at + partOffset.length, end - at, true);
  view.setUint32(at + partOffset.flags, partFlag.id, true);
  view.setFloat64(at + partOffset.number, number, true);
  view.setFloat64(at + partOffset.firstSeq, draft.events + 1, true);
  view.setUint32(at + partOffset.entry, bodyAt - at, true);
  return end;
}

/** The ERASE record at `at`. Errors: CORRUPT when it does not add up. */
export function readEraseRecord({ buffer, view }: Bytes, at: number): EraseRecord {
  const position = view.getFloat64(at + recordOffset.position, true);
  const end = at + view.getUint32(at + recordOffset.length, true);
  const partAt = at + recordHeaderBytes;
  const idAt = partAt + partHeaderBytes + 2;
  const isWhole =
    view.getUint8(at + recordOffset.kind) === recordKind.erase &&
    view.getUint32(at + recordOffset.parts, true) === 1 &&
    idAt + 10 <= end &&
    partAt + view.getUint32(partAt + partOffset.length, true) === end;
  const bodyAt = isWhole ? partAt + view.getUint32(partAt + partOffset.entry, true) : 0;
  if (!isWhole || bodyAt !== idAt + view.getUint16(idAt - 2, true) || bodyAt + 10 > end) {
    throw new WarpError("CORRUPT", `the record of the erasure at position ${position} does not add up`, {
      position,
    });
  }
  const reasonAt = bodyAt + 8;
  const byAt = reasonAt + 1 + (buffer[reasonAt] ?? 0);
  return {
    number: view.getFloat64(partAt + partOffset.number, true),
    position,
    events: view.getFloat64(partAt + partOffset.firstSeq, true) - 1,
    id: Buffer.from(buffer.subarray(idAt, bodyAt)),
    erasedAt: view.getFloat64(bodyAt, true),
    reason: buffer.toString("latin1", reasonAt + 1, byAt),
    by: buffer.toString("latin1", byAt + 1, Math.min(end, byAt + 1 + (buffer[byAt] ?? 0))),
  };
}
