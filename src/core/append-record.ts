/**
 * Writing and walking whole APPEND records (format: record.ts, docs/data-files.md).
 */
import {
  type Bytes,
  type EntryDraft,
  entryBytesBound,
  entryCount,
  entryOfOneBound,
  entryRecordedAt,
  type TypeRef,
  writeEntry,
  writeEntryOfOne,
} from "./entry.ts";
import {
  partFlag,
  partHeaderBytes,
  partOffset,
  recordHeaderBytes,
  recordKind,
  recordOffset,
} from "./record.ts";
import { readUtf8, writeUtf8 } from "./utf8.ts";

/** A delivery id: which request of which client session this was. */
export interface Delivery {
  /** When the session began, ms since 1970 by the client's clock. */
  readonly sessionStart: number;
  /** Random integer below 2^53 that tells sessions of the same ms apart. */
  readonly sessionNumber: number;
  /** 1, 2, 3 … within the session. */
  readonly counter: number;
  /**
   * How far behind the counter the oldest write of the session lies that its client still waits for; what is older is never
   * repeated. It is not stored. Undefined when the client does not say.
   */
  readonly behind?: number | undefined;
}

/** One entity's share of a record. */
export interface PartDraft {
  readonly number: number;
  readonly firstSeq: number;
  /** The id, when this record makes the entity. */
  readonly id: string | undefined;
  readonly key: { readonly text: string; readonly contentHash: Uint8Array } | undefined;
  readonly delivery: Delivery | undefined;
  /** JSON of the outcome of a rejected command; then the entry has no events. */
  readonly outcome: string | undefined;
  readonly entry: EntryDraft;
}

export const contentHashBytes = 16;
const deliveryBytes = 24;

/** The most bytes that a record of this part will need. */
export function appendRecordBound(part: PartDraft): number {
  let bytes = recordHeaderBytes + partHeaderBytes + entryBytesBound(part.entry);
  if (part.id !== undefined) bytes += 2 + part.id.length * 3;
  if (part.key !== undefined) bytes += 2 + part.key.text.length * 3 + contentHashBytes;
  if (part.delivery !== undefined) bytes += deliveryBytes;
  if (part.outcome !== undefined) bytes += 4 + part.outcome.length * 3;
  return bytes;
}

/** Writes the header of a record whose parts lie between `at + recordHeaderBytes` and `end`. */
export function writeRecordHeader(
  out: Bytes,
  at: number,
  end: number,
  shard: number,
  epoch: number,
  position: number,
  parts: number,
  kind: number = recordKind.append,
): void {
  const { buffer, view } = out;
  view.setUint32(at + recordOffset.length, end - at, true);
  buffer[at + recordOffset.kind] = kind;
  buffer[at + recordOffset.flags] = 0;
  view.setUint16(at + recordOffset.shard, shard, true);
  view.setUint32(at + recordOffset.epoch, epoch, true);
  view.setUint32(at + recordOffset.parts, parts, true);
  view.setFloat64(at + recordOffset.position, position, true);
}

/** Writes a part at `at` and returns the offset behind it. */
export function writePart(
  out: Bytes,
  at: number,
  part: PartDraft,
  recordedAt: number,
  position: number,
): number {
  const { buffer, view } = out;
  let flags = 0;
  let end = at + partHeaderBytes;
  if (part.id !== undefined) {
    flags |= partFlag.id;
    const length = writeUtf8(buffer, part.id, end + 2);
    view.setUint16(end, length, true);
    end += 2 + length;
  }
  if (part.key !== undefined) {
    flags |= partFlag.key;
    const length = writeUtf8(buffer, part.key.text, end + 2);
    view.setUint16(end, length, true);
    end += 2 + length;
    buffer.set(part.key.contentHash, end);
    end += contentHashBytes;
  }
  if (part.delivery !== undefined) {
    flags |= partFlag.delivery;
    writeDelivery(out, end, part.delivery);
    end += deliveryBytes;
  }
  if (part.outcome !== undefined) {
    flags |= partFlag.outcome;
    const length = writeUtf8(buffer, part.outcome, end + 4);
    view.setUint32(end, length, true);
    end += 4 + length;
  }
  view.setUint32(at + partOffset.entry, end - at, true);
  end = writeEntry(out, end, part.entry, recordedAt, position);
  view.setUint32(at + partOffset.length, end - at, true);
  view.setUint32(at + partOffset.flags, flags, true);
  view.setFloat64(at + partOffset.number, part.number, true);
  view.setFloat64(at + partOffset.firstSeq, part.firstSeq, true);
  return end;
}

/**
 * As {@link writePart}, for what most appends are: one event of an entity that exists, as {@link writeEntryOfOne} takes it, with
 * nothing else but perhaps a delivery id. It saves making drafts.
 */
export function writePartOfOne(
  out: Bytes,
  at: number,
  number: number,
  firstSeq: number,
  delivery: Delivery | undefined,
  type: TypeRef,
  data: string,
  isList: boolean,
  recordedAt: number,
  position: number,
): number {
  const { view } = out;
  const entryAt = entryOfOneAt(at, delivery);
  if (delivery !== undefined) writeDelivery(out, at + partHeaderBytes, delivery);
  const end = writeEntryOfOne(out, entryAt, type, data, isList, recordedAt, position);
  view.setUint32(at + partOffset.length, end - at, true);
  view.setUint32(at + partOffset.flags, delivery === undefined ? 0 : partFlag.delivery, true);
  view.setFloat64(at + partOffset.number, number, true);
  view.setFloat64(at + partOffset.firstSeq, firstSeq, true);
  view.setUint32(at + partOffset.entry, entryAt - at, true);
  return end;
}

/** The most bytes that a record of such a part will need. */
export function recordOfOneBound(delivery: Delivery | undefined, type: TypeRef, data: string): number {
  return recordHeaderBytes + entryOfOneAt(0, delivery) + entryOfOneBound(type, data);
}

/** Where the entry of such a part at `at` begins. */
export function entryOfOneAt(at: number, delivery: Delivery | undefined): number {
  return at + partHeaderBytes + (delivery === undefined ? 0 : deliveryBytes);
}

function writeDelivery({ view }: Bytes, at: number, delivery: Delivery): void {
  view.setFloat64(at, delivery.sessionStart, true);
  view.setFloat64(at + 8, delivery.sessionNumber, true);
  view.setFloat64(at + 16, delivery.counter, true);
}

/** Where the entry of the part at `at` begins. */
export function entryOfPart(bytes: Bytes, at: number): number {
  return at + bytes.view.getUint32(at + partOffset.entry, true);
}

/** What every record says of itself. */
export interface RecordHead {
  readonly at: number;
  readonly length: number;
  readonly kind: number;
  readonly shard: number;
  readonly epoch: number;
  readonly parts: number;
  readonly position: number;
}

export function readRecordHead(bytes: Bytes, at: number): RecordHead {
  const { view } = bytes;
  return {
    at,
    length: view.getUint32(at + recordOffset.length, true),
    kind: view.getUint8(at + recordOffset.kind),
    shard: view.getUint16(at + recordOffset.shard, true),
    epoch: view.getUint32(at + recordOffset.epoch, true),
    parts: view.getUint32(at + recordOffset.parts, true),
    position: view.getFloat64(at + recordOffset.position, true),
  };
}

/** A part as it stands in a record; offsets are into the bytes it was read from. */
export interface PartHead {
  readonly number: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly recordedAt: number;
  /** Where the length of the id of an entity that it makes stands; the id is behind that. */
  readonly idAt: number | undefined;
  readonly key: string | undefined;
  readonly delivery: Delivery | undefined;
  /** Where its entry begins. */
  readonly entryAt: number;
}

/** The parts of an APPEND record, without their entries. */
export function readPartHeads(bytes: Bytes, record: RecordHead): PartHead[] {
  const { buffer, view } = bytes;
  const parts: PartHead[] = [];
  let at = record.at + recordHeaderBytes;
  for (let i = 0; i < record.parts; i++) {
    const flags = view.getUint32(at + partOffset.flags, true);
    let next = at + partHeaderBytes;
    const idAt = flags & partFlag.id ? next : undefined;
    if (idAt !== undefined) next += 2 + view.getUint16(next, true);
    let key: string | undefined;
    if (flags & partFlag.key) {
      const length = view.getUint16(next, true);
      key = readUtf8(buffer, next + 2, next + 2 + length);
      next += 2 + length + contentHashBytes;
    }
    const delivery =
      flags & partFlag.delivery
        ? {
            sessionStart: view.getFloat64(next, true),
            sessionNumber: view.getFloat64(next + 8, true),
            counter: view.getFloat64(next + 16, true),
          }
        : undefined;
    const entryAt = entryOfPart(bytes, at);
    parts.push({
      number: view.getFloat64(at + partOffset.number, true),
      firstSeq: view.getFloat64(at + partOffset.firstSeq, true),
      count: entryCount(bytes, entryAt),
      recordedAt: entryRecordedAt(bytes, entryAt),
      idAt,
      key,
      delivery,
      entryAt,
    });
    at += view.getUint32(at + partOffset.length, true);
  }
  return parts;
}
