/**
 * The personal section of an entry: what its events say of somebody else than the entity (docs/decisions/0014-personal-parts.md).
 *
 * - It stands right behind the header of an entry with `entryFlag.personal`: u32 bytes of the section, u32 parts, then each
 *   part: u32 index of its event, u32 length, f64 number of the subject, u8 form, and `length` bytes.
 * - In the tail and the journal the data of a part is plain, in a run it is sealed under the subject's key, and whoever reads a
 *   run opens it again; then a part whose key was destroyed is `erased`, without bytes.
 * - Data is that of a list with one element, as the data of an entry is.
 */
import { decode } from "@msgpack/msgpack";
import type { Bytes } from "./entry.ts";
import { entryFlag, entryHeaderBytes, entryOffset } from "./record.ts";

/** What stands in front of a subject's id where it is the name of her number: ids have no NUL. */
const subjectMark = "\0";

/** The name under which a shard knows a subject. */
export function subjectName(subject: string): string {
  return subjectMark + subject;
}

export function isSubjectName(name: Uint8Array): boolean {
  return name[0] === 0;
}

export const partForm = { json: 0, msgpack: 1, sealed: 2, erased: 3 } as const;

const sectionHeaderBytes = 8;
const partHeaderBytes = 17;

/** A part that is to be written. */
export interface PersonalDraft {
  /** Of its event in the append. */
  readonly index: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly isMsgpack: boolean;
  /** Her number in the shard; set when it is known. */
  number: number;
}

/** A part as it stands in an entry. */
export interface PersonalPart {
  readonly index: number;
  readonly number: number;
  readonly form: number;
  readonly data: Uint8Array;
}

type Stored = Pick<PersonalPart, "index" | "number" | "form" | "data">;

export function hasPersonal({ buffer }: Bytes, entryAt: number): boolean {
  return ((buffer[entryAt + entryOffset.flags] ?? 0) & entryFlag.personal) !== 0;
}

/** Bytes of the section of the entry at `entryAt`; 0 when it has none. */
export function personalSectionLength(bytes: Bytes, entryAt: number): number {
  return hasPersonal(bytes, entryAt) ? bytes.view.getUint32(entryAt + entryHeaderBytes, true) : 0;
}

/** Bytes that {@link writePersonalSection} takes. */
export function personalSectionBytes(parts: readonly { readonly data: Uint8Array }[]): number {
  let bytes = sectionHeaderBytes;
  for (const { data } of parts) bytes += partHeaderBytes + data.length;
  return bytes;
}

/** Writes the section at `at` and returns the offset behind it. */
export function writePersonalSection({ buffer, view }: Bytes, at: number, parts: readonly Stored[]): number {
  let end = at + sectionHeaderBytes;
  for (const { index, number, form, data } of parts) {
    view.setUint32(end, index, true);
    view.setUint32(end + 4, data.length, true);
    view.setFloat64(end + 8, number, true);
    buffer[end + 16] = form;
    buffer.set(data, end + partHeaderBytes);
    end += partHeaderBytes + data.length;
  }
  view.setUint32(at, end - at, true);
  view.setUint32(at + 4, parts.length, true);
  return end;
}

export function storedFormOf({ index, number, data, isMsgpack }: PersonalDraft): Stored {
  return { index, number, data, form: isMsgpack ? partForm.msgpack : partForm.json };
}

/** The parts of the entry at `entryAt`, as views of it; undefined when its lengths do not add up. */
export function personalParts(bytes: Bytes, entryAt: number): PersonalPart[] | undefined {
  if (!hasPersonal(bytes, entryAt)) return [];
  const { buffer, view } = bytes;
  const at = entryAt + entryHeaderBytes;
  const limit = entryAt + view.getUint32(entryAt + entryOffset.data, true);
  if (at + sectionHeaderBytes > limit || limit > buffer.length) return undefined;
  const end = at + view.getUint32(at, true);
  if (end > limit) return undefined;
  const parts: PersonalPart[] = [];
  let next = at + sectionHeaderBytes;
  for (let left = view.getUint32(at + 4, true); left > 0; left--) {
    const dataAt = next + partHeaderBytes;
    if (dataAt > end) return undefined;
    const length = view.getUint32(next + 4, true);
    if (dataAt + length > end) return undefined;
    parts.push({
      index: view.getUint32(next, true),
      number: view.getFloat64(next + 8, true),
      form: buffer[next + 16] ?? 0,
      data: buffer.subarray(dataAt, dataAt + length),
    });
    next = dataAt + length;
  }
  return next === end ? parts : undefined;
}

/** What an event says of its subject: the data, or null when that was erased; undefined for a part that cannot be read. */
export function personalData({ form, data }: PersonalPart): unknown {
  if (form === partForm.erased) return null;
  // Decoded binaries are views of what is decoded: of a copy, because this memory may be used again.
  const list: unknown =
    form === partForm.json
      ? JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString("utf8"))
      : form === partForm.msgpack
        ? decode(new Uint8Array(data), { useBigInt64: true })
        : undefined;
  return Array.isArray(list) ? list[0] : undefined;
}

/** A copy of the entry at `entryAt` with other parts in its section. */
export function withParts(bytes: Bytes, entryAt: number, parts: readonly Stored[]): Buffer {
  const { buffer, view } = bytes;
  const length = view.getUint32(entryAt + entryOffset.length, true);
  const behindAt = entryAt + entryHeaderBytes + personalSectionLength(bytes, entryAt);
  const behind = buffer.subarray(behindAt, entryAt + length);
  const section = personalSectionBytes(parts);
  const grown = entryHeaderBytes + section + behind.length;
  const copy = Buffer.allocUnsafeSlow(grown);
  const out = { buffer: copy, view: new DataView(copy.buffer, copy.byteOffset, grown) };
  buffer.copy(copy, 0, entryAt, entryAt + entryHeaderBytes);
  const end = writePersonalSection(out, entryHeaderBytes, parts);
  copy.set(behind, end);
  out.view.setUint32(entryOffset.length, grown, true);
  out.view.setUint32(
    entryOffset.data,
    view.getUint32(entryAt + entryOffset.data, true) + grown - length,
    true,
  );
  return copy;
}
