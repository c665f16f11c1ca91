/**
 * Writing and reading entries, the part of a record that holds events (format: record.ts, docs/data-files.md).
 *
 * Writing trusts its caller, who has validated and measured; reading trusts bytes that an AEAD tag has verified, and
 * still refuses an entry whose lengths do not add up (CORRUPT).
 */
import { decode } from "@msgpack/msgpack";
import { WarpError } from "./errors.ts";
import type { StoredEvent } from "./event.ts";
import { KnownTexts } from "./known-texts.ts";
import {
  type PersonalDraft,
  personalData,
  personalParts,
  personalSectionBytes,
  personalSectionLength,
  storedFormOf,
  writePersonalSection,
} from "./personal.ts";
import { entryFlag, entryHeaderBytes, entryOffset } from "./record.ts";
import {
  isTable,
  readTable,
  rowsOf,
  type TableData,
  textLength as piecesLength,
  writePieces,
} from "./table.ts";
import { readUtf8, writeUtf8 } from "./utf8.ts";

/** Bytes with both views of them; a Buffer writes text, a DataView numbers. */
export interface Bytes {
  readonly buffer: Buffer;
  readonly view: DataView;
}

export function bytesOf(memory: ArrayBufferLike, offset = 0, length = memory.byteLength - offset): Bytes {
  return {
    buffer: Buffer.from(memory as ArrayBuffer, offset, length),
    view: new DataView(memory, offset, length),
  };
}

/** What an entry holds, ready to be written. */
export interface EntryDraft {
  readonly count: number;
  /** Distinct types in order of first use, with their names in UTF-8. */
  readonly types: readonly TypeRef[];
  /** Index into `types` for each event; undefined when all have the first. */
  readonly typeIndexes: Uint8Array | undefined;
  /** ms or NaN for each event; undefined when none has one. */
  readonly occurred: Float64Array | undefined;
  /** The array of data: JSON as text, as {@link joined} pieces of text or in UTF-8, or msgpack, or a table. */
  readonly data: string | readonly string[] | Uint8Array | TableData;
  readonly isMsgpack: boolean;
  /** What its events say of others, by event; undefined when they say nothing. */
  readonly personal?: readonly PersonalDraft[] | undefined;
}

/** An event type with the version its events are stored under. */
export interface TypeRef {
  readonly name: string;
  readonly utf8: Uint8Array;
  readonly version: number;
}

/** The most bytes that {@link writeEntry} will need. */
export function entryBytesBound(draft: EntryDraft): number {
  const { data } = draft;
  let bytes = entryHeaderBytes;
  if (isTable(data)) bytes += data.bytesMax;
  else bytes += typeof data === "string" || isPieces(data) ? textLength(data) * 3 : data.length;
  for (const type of draft.types) bytes += 3 + type.utf8.length;
  if (draft.typeIndexes !== undefined) bytes += draft.count;
  if (draft.occurred !== undefined) bytes += draft.count * 8;
  if (draft.personal !== undefined) bytes += personalSectionBytes(draft.personal);
  return bytes;
}

/** Writes an entry at `at` and returns the offset behind it. */
export function writeEntry(
  out: Bytes,
  at: number,
  draft: EntryDraft,
  recordedAt: number,
  position: number,
): number {
  const { buffer, view } = out;
  let flags = draft.isMsgpack ? entryFlag.msgpack : 0;
  let end = at + entryHeaderBytes;
  if (draft.personal !== undefined) {
    flags |= entryFlag.personal;
    end = writePersonalSection(out, end, draft.personal.map(storedFormOf));
  }
  for (const type of draft.types) end = writeType(out, end, type);
  if (draft.typeIndexes !== undefined) {
    buffer.set(draft.typeIndexes, end);
    end += draft.count;
  }
  if (draft.occurred !== undefined) {
    flags |= entryFlag.occurred;
    for (const time of draft.occurred) {
      view.setFloat64(end, time, true);
      end += 8;
    }
  }
  const dataAt = end;
  const { data } = draft;
  if (typeof data === "string") {
    end += writeUtf8(buffer, data, end);
  } else if (isPieces(data)) {
    end = writePieces(buffer, end, data);
  } else if (isTable(data)) {
    flags |= entryFlag.table;
    end = data.write(buffer, view, end);
  } else {
    buffer.set(data, end);
    end += data.length;
  }
  writeEntryHeader(out, at, end, dataAt, draft.count, flags, draft.types.length, recordedAt, position);
  return end;
}

/**
 * As {@link writeEntry}, for one event without a time of its own or personal parts. `data` is the JSON text of its data, or of a list
 * of that alone.
 */
export function writeEntryOfOne(
  out: Bytes,
  at: number,
  type: TypeRef,
  data: string,
  isList: boolean,
  recordedAt: number,
  position: number,
): number {
  const { buffer } = out;
  const dataAt = writeType(out, at + entryHeaderBytes, type);
  let end = dataAt;
  if (!isList) buffer[end++] = opening;
  end += writeUtf8(buffer, data, end);
  if (!isList) buffer[end++] = closing;
  writeEntryHeader(out, at, end, dataAt, 1, 0, 1, recordedAt, position);
  return end;
}

/** The most bytes that {@link writeEntryOfOne} will need. */
export function entryOfOneBound(type: TypeRef, data: string): number {
  return entryHeaderBytes + 3 + type.utf8.length + 2 + data.length * 3;
}

const opening = 0x5b;
const closing = 0x5d;

function writeType({ buffer, view }: Bytes, at: number, { utf8, version }: TypeRef): number {
  view.setUint16(at, version, true);
  buffer[at + 2] = utf8.length;
  let end = at + 3;
  // A name is short: this costs a tenth of a call that copies or encodes it.
  for (let i = 0; i < utf8.length; i++) buffer[end++] = utf8[i] ?? 0;
  return end;
}

function writeEntryHeader(
  { buffer, view }: Bytes,
  at: number,
  end: number,
  dataAt: number,
  count: number,
  flags: number,
  types: number,
  recordedAt: number,
  position: number,
): void {
  view.setUint32(at + entryOffset.length, end - at, true);
  view.setUint32(at + entryOffset.count, count, true);
  view.setUint32(at + entryOffset.data, dataAt - at, true);
  buffer[at + entryOffset.flags] = flags;
  buffer[at + entryOffset.types] = types;
  view.setUint16(at + entryOffset.types + 1, 0, true);
  view.setFloat64(at + entryOffset.recordedAt, recordedAt, true);
  view.setFloat64(at + entryOffset.position, position, true);
}

export function isPieces(data: EntryDraft["data"]): data is readonly string[] {
  return Array.isArray(data);
}

/** The one text of pieces, each of which is the text of a list of some of the items. */
export function joined(pieces: readonly string[]): string {
  return `[${pieces.map((piece) => piece.slice(1, -1)).join(",")}]`;
}

/** UTF-16 units of a text in one piece or several. */
export function textLength(text: string | readonly string[]): number {
  return typeof text === "string" ? text.length : piecesLength(text);
}

export function inUtf8(text: string | readonly string[]): Buffer {
  return Buffer.from(typeof text === "string" ? text : joined(text), "utf8");
}

export function entryLength(bytes: Bytes, at: number): number {
  return bytes.view.getUint32(at + entryOffset.length, true);
}

export function entryCount(bytes: Bytes, at: number): number {
  return bytes.view.getUint32(at + entryOffset.count, true);
}

export function entryPosition(bytes: Bytes, at: number): number {
  return bytes.view.getFloat64(at + entryOffset.position, true);
}

export function entryRecordedAt(bytes: Bytes, at: number): number {
  return bytes.view.getFloat64(at + entryOffset.recordedAt, true);
}

/** Names of event types: few, and in every entry. */
const typeNames = new KnownTexts(readUtf8);

/** The types of the events of the entry at `at`, each once. */
export function entryTypes(bytes: Bytes, at: number): string[] {
  const { buffer } = bytes;
  const types: string[] = [];
  let next = at + entryHeaderBytes + personalSectionLength(bytes, at);
  for (let left = buffer[at + entryOffset.types] ?? 0; left > 0; left--) {
    const nameBytes = buffer[next + 2] ?? 0;
    types.push(typeNames.get(buffer, next + 3, next + 3 + nameBytes));
    next += 3 + nameBytes;
  }
  return types;
}

/**
 * How many of the types of the entry at `at` are wanted, without decoding its events. An entry whose names do not end where
 * its data or indexes begin is damaged, and has "some": that is found out when it is read.
 */
export function typesWanted(
  bytes: Bytes,
  at: number,
  isWanted: (type: string) => boolean,
): "all" | "some" | "none" {
  const { buffer, view } = bytes;
  const types = buffer[at + entryOffset.types] ?? 0;
  let next = at + entryHeaderBytes + personalSectionLength(bytes, at);
  let wanted = 0;
  for (let i = 0; i < types; i++) {
    const nameBytes = buffer[next + 2] ?? 0;
    if (isWanted(typeNames.get(buffer, next + 3, next + 3 + nameBytes))) wanted++;
    next += 3 + nameBytes;
  }
  if (view.getUint32(at + entryOffset.data, true) < next - at) return "some";
  return wanted === types ? "all" : wanted === 0 ? "none" : "some";
}

/** Decodes the events of the entry at `at`, the first of which has seq `firstSeq`. */
export function readEntry(bytes: Bytes, at: number, entity: string, firstSeq: number): StoredEvent[] {
  const { buffer, view } = bytes;
  const length = entryLength(bytes, at);
  const count = entryCount(bytes, at);
  const dataAt = at + view.getUint32(at + entryOffset.data, true);
  const flags = buffer[at + entryOffset.flags] ?? 0;
  const typeCount = buffer[at + entryOffset.types] ?? 0;
  const recordedAt = entryRecordedAt(bytes, at);
  const position = entryPosition(bytes, at);
  const end = at + length;
  if (end > buffer.length || dataAt > end) throw damaged(entity, firstSeq, "its lengths do not add up");

  const personal = (flags & entryFlag.personal) === 0 ? undefined : readPersonal(bytes, at, entity, firstSeq);
  const types: { name: string; version: number }[] = [];
  let next = at + entryHeaderBytes + personalSectionLength(bytes, at);
  for (let i = 0; i < typeCount; i++) {
    const nameBytes = buffer[next + 2] ?? 0;
    const name = typeNames.get(buffer, next + 3, next + 3 + nameBytes);
    types.push({ name, version: view.getUint16(next, true) });
    next += 3 + nameBytes;
  }
  const indexesAt = next;
  if (typeCount > 1) next += count;
  const occurredAt = next;
  const hasOccurred = (flags & entryFlag.occurred) !== 0;
  if (hasOccurred) next += count * 8;
  if (next !== dataAt) throw damaged(entity, firstSeq, "its sections do not add up");

  const data = readData(bytes, dataAt, end, flags);
  if (!Array.isArray(data) || data.length !== count)
    throw damaged(entity, firstSeq, "its events do not add up");
  const events: StoredEvent[] = [];
  for (let i = 0; i < count; i++) {
    const type = types[typeCount > 1 ? (buffer[indexesAt + i] ?? 0) : 0];
    if (type === undefined) throw damaged(entity, firstSeq + i, "an event names a type that is not there");
    const event = {
      entity,
      seq: firstSeq + i,
      type: type.name,
      version: type.version,
      data: data[i],
      recordedAt,
      position,
    };
    const occurred = hasOccurred ? view.getFloat64(occurredAt + i * 8, true) : Number.NaN;
    events.push(Number.isNaN(occurred) ? event : { ...event, occurredAt: occurred });
  }
  return personal === undefined ? events : events.map((event, i) => withPersonal(event, personal.get(i)));
}

function withPersonal(event: StoredEvent, personal: unknown): StoredEvent {
  return personal === undefined ? event : { ...event, personal };
}

/** The personal parts by the index of their event. */
function readPersonal(bytes: Bytes, at: number, entity: string, firstSeq: number): Map<number, unknown> {
  const parts = personalParts(bytes, at);
  if (parts === undefined) throw damaged(entity, firstSeq, "its personal parts do not add up");
  return new Map(
    parts.map((part) => {
      const data = personalData(part);
      if (data !== undefined) return [part.index, data];
      throw damaged(entity, firstSeq + part.index, "a personal part cannot be read");
    }),
  );
}

function readData({ buffer, view }: Bytes, from: number, to: number, flags: number): unknown {
  if ((flags & entryFlag.table) !== 0) {
    const table = readTable(buffer, view, from, to);
    return table && rowsOf(table.rows, table.keys, table.columns);
  }
  // Decoded binaries are views of what is decoded: of a copy, because this memory is used again.
  if ((flags & entryFlag.msgpack) !== 0)
    return decode(new Uint8Array(buffer.subarray(from, to)), { useBigInt64: true });
  return JSON.parse(readUtf8(buffer, from, to));
}

function damaged(entity: string, seq: number, why: string): WarpError {
  return new WarpError(
    "CORRUPT",
    `the entry of entity ${JSON.stringify(entity)} at seq ${seq} is damaged: ${why}`,
    {
      entity,
      seq,
    },
  );
}
