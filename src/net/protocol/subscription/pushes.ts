/**
 * What a server pushes to a subscription (docs/protocol.md): `[3, subscription, kind, …]`.
 *
 * What is behind the subscription's number is the same for all who are pushed it, so it is encoded apart, as *content*.
 */
import { WarpError } from "../../../core/errors.ts";
import type { StoredEvent } from "../../../core/event.ts";
import { limits } from "../../../core/limits.ts";
import type { FrameReader } from "../frame-reader.ts";
import { FrameWriter } from "../frame-writer.ts";
import { protocolError } from "../protocol-error.ts";
import {
  DataList,
  decodeList,
  decodeValue,
  encodeDetails,
  encodeReadable,
  shortMessage,
  tooLargeToRead,
} from "../value.ts";
import { frameKind } from "../words.ts";

export const pushKind = {
  events: 0,
  caughtUp: 1,
  erased: 2,
  moved: 3,
  ended: 4,
  deliveries: 5,
  dropped: 6,
  withdrawn: 7,
} as const;

/** The elements of a push behind the subscription's number. */
export interface PushContent {
  readonly elements: number;
  readonly bytes: Uint8Array;
}

/** Returns the bytes of the frame. Errors: EVENT_TOO_LARGE. */
export function writePush(writer: FrameWriter, subscription: number, content: PushContent): number {
  const from = writer.at;
  const frame = writer.startFrame(2 + content.elements);
  writer.num(frameKind.push);
  writer.num(subscription);
  writer.raw(content.bytes);
  writer.endFrame(frame);
  return writer.at - from;
}

/** What stands in front of the content of a push, at most. */
const headBytes = 8;

const scratch = new FrameWriter(64 * 1024);

/** What `write` has written; nothing of it stays where it throws. Errors: EVENT_TOO_LARGE for what no frame can hold. */
export function contentOf(elements: number, write: (writer: FrameWriter) => void): PushContent {
  scratch.at = 0;
  write(scratch);
  if (scratch.at + headBytes > limits.frameBytesMax) throw tooLargeToRead();
  return { elements, bytes: Buffer.from(scratch.buffer.subarray(0, scratch.at)) };
}

/**
 * The events behind which `cursor` stands: one push, or several where that would be too large for a frame. `cursorAt` tells the cursor
 * behind a position of their shard. Those of one record have one position: all parts of it but the last have the cursor in front of it.
 */
export function encodeEventsPushes(
  events: readonly StoredEvent[],
  cursor: string,
  cursorAt: (position: number) => string,
): PushContent[] {
  try {
    return [encodeEventsPush(events, cursor)];
  } catch (thrown) {
    const isTooLarge = thrown instanceof WarpError && thrown.code === "EVENT_TOO_LARGE";
    if (!isTooLarge || events.length === 1) throw thrown;
  }
  const at = middleOf(events);
  const behind = events[at]?.position ?? 0;
  const within = isBetweenRecords(events, at) ? (events[at - 1]?.position ?? 0) : behind - 1;
  return [
    ...encodeEventsPushes(events.slice(0, at), cursorAt(within), cursorAt),
    ...encodeEventsPushes(events.slice(at), cursor, cursorAt),
  ];
}

/** Where to cut: between two records, as near to the middle as there is such a place; else in the middle. */
function middleOf(events: readonly StoredEvent[]): number {
  const middle = Math.floor(events.length / 2);
  for (let off = 0; off <= middle; off++) {
    if (isBetweenRecords(events, middle - off)) return middle - off;
    if (isBetweenRecords(events, middle + off)) return middle + off;
  }
  return middle;
}

function isBetweenRecords(events: readonly StoredEvent[], at: number): boolean {
  const before = events[at - 1];
  const behind = events[at];
  return before !== undefined && behind !== undefined && before.position !== behind.position;
}

/** Errors: EVENT_TOO_LARGE. */
export function encodeEventsPush(events: readonly StoredEvent[], cursor: string): PushContent {
  const data = encodeEventData(events);
  return contentOf(4, (writer) => {
    writer.num(pushKind.events);
    writer.str(cursor);
    writer.array(events.length);
    let entity: string | undefined;
    for (const event of events) {
      writer.array(7 + personalElements(event));
      writeHead(writer, event, entity);
      entity = event.entity;
    }
    writer.value(data);
  });
}

/** An event without its data; its entity is left out when it is that of the event before. */
export function writeHead(writer: FrameWriter, event: StoredEvent, entityBefore: string | undefined): void {
  writer.strOrNil(event.entity === entityBefore ? undefined : event.entity);
  writer.num(event.seq);
  writer.str(event.type);
  writer.num(event.version);
  writer.num(event.recordedAt);
  writer.numOrNil(event.occurredAt);
  writer.num(event.position);
  const personal = encodePersonal(event);
  if (personal !== undefined) writer.value(personal);
}

/** How many elements what an event says of somebody else takes, behind its others. */
export function personalElements(event: StoredEvent): 0 | 1 {
  return event.personal === undefined ? 0 : 1;
}

/** What it says of somebody else, as it is written; undefined when it says nothing. */
export function encodePersonal({ personal }: StoredEvent): string | Uint8Array | undefined {
  return personal === undefined ? undefined : encodeReadable(personal);
}

/** What is left of an event's head: undefined, or the field that it makes. */
export function readPersonal(reader: FrameReader): { readonly personal: unknown } | undefined {
  return reader.left === 0 ? undefined : { personal: decodeValue(reader.value()) };
}

/** The value of the list of their data. Errors: EVENT_TOO_LARGE for what no frame can hold. */
export function encodeEventData(events: readonly StoredEvent[]): string | Uint8Array {
  const list = new DataList();
  const most = limits.frameBytesMax;
  for (const { data } of events) if (!list.add(data, most) || list.bytes > most) throw tooLargeToRead();
  return list.encoded();
}

/** A mark with a cursor alone. */
export function encodeMarkPush(kind: "caughtUp" | "moved", cursor: string): PushContent {
  return contentOf(2, (writer) => {
    writer.num(pushKind[kind]);
    writer.str(cursor);
  });
}

export function encodeErasedPush(entity: string, cursor: string): PushContent {
  return contentOf(3, (writer) => {
    writer.num(pushKind.erased);
    writer.str(cursor);
    writer.str(entity);
  });
}

/** To a subscription that asked for it. */
export function encodeDroppedPush(entity: string, droppedTo: number, cursor: string): PushContent {
  return contentOf(4, (writer) => {
    writer.num(pushKind.dropped);
    writer.str(cursor);
    writer.str(entity);
    writer.num(droppedTo);
  });
}

export function encodeEndedPush(error: WarpError): PushContent {
  return contentOf(4, (writer) => {
    writer.num(pushKind.ended);
    writer.str(error.code);
    writer.str(shortMessage(error));
    writer.value(encodeDetails(error.details));
  });
}

/** Events and the value of their data; `before` reads what stands in front of each. */
export function readHeads(reader: FrameReader, before?: () => void): StoredEvent[] {
  const outside = reader.enter();
  const heads: Omit<StoredEvent, "data">[] = [];
  let entity = "";
  while (reader.left > 0) {
    const within = reader.enter();
    before?.();
    entity = reader.strOrNil() ?? entity;
    const seq = reader.whole();
    const type = reader.knownStr();
    const version = reader.whole();
    const recordedAt = reader.num();
    const occurredAt = reader.numOrNil();
    const position = reader.whole();
    const personal = readPersonal(reader);
    reader.leave(within);
    const head = { entity, seq, type, version, recordedAt, position, ...personal };
    heads.push(occurredAt === undefined ? head : { ...head, occurredAt });
  }
  reader.leave(outside);
  const data = decodeList(reader.value());
  if (!Array.isArray(data) || data.length !== heads.length)
    throw protocolError("a push without all its data");
  return heads.map((head, i) => ({ ...head, data: data[i] as unknown }));
}
