/**
 * How a request names its entity: by its id, by a number that the connection knows, or by both, which tells it the number.
 *
 * A number is short, and spares the server to make a text of the id and to look it up. It belongs to the connection and to one
 * direction of time: what is sent again on another connection has to name the id.
 */
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { protocolError } from "./protocol-error.ts";
import { skipElement } from "./skip-element.ts";
import { lengthBytes, operation } from "./words.ts";

/** Tells the connection which entity a number stands for from here on, instead of what it stood for. */
export interface Numbered {
  readonly number: number;
  readonly id: string;
}

export type EntityName = string | number | Numbered;

export function writeEntity(writer: FrameWriter, entity: EntityName): void {
  if (typeof entity === "number") {
    writer.num(entity);
  } else if (typeof entity === "string") {
    writer.str(entity);
  } else {
    writer.array(2);
    writer.num(entity.number);
    writer.str(entity.id);
  }
}

export function readEntity(reader: FrameReader): EntityName {
  if (reader.isText()) return reader.str();
  if (!reader.isArray()) return reader.whole();
  const outside = reader.enter();
  const numbered = { number: reader.whole(), id: reader.str() };
  reader.leave(outside);
  return numbered;
}

/**
 * The number by which the whole request between `at` and `end`, without its length, names its entity; -1 when it names it otherwise, or
 * is of another kind. Only looks: a frame that breaks the protocol is found out when it is read.
 */
export function peekNumber(bytes: Uint8Array, at: number, end: number): number {
  const op = opAt(bytes, at);
  if (op >= end || !namesEntity(bytes[op])) return -1;
  const format = bytes[op + 1] ?? 0xc0;
  if (format < 0x80) return format;
  if (format === 0xcd) return ((bytes[op + 2] ?? 0) << 8) | (bytes[op + 3] ?? 0);
  return format === 0xcc ? (bytes[op + 2] ?? 0) : -1;
}

/**
 * The whole frame of a request, length included, with the id in the place of whatever named its entity. Errors: PROTOCOL_ERROR when
 * it is none that this client writes.
 */
export function withId(frame: Uint8Array, id: string, writer: FrameWriter): void {
  const op = opAt(frame, lengthBytes);
  if (!namesEntity(frame[op])) throw protocolError("this request names no entity");
  const start = writer.startFrame((frame[lengthBytes] ?? 0) & 0x0f);
  writer.raw(frame.subarray(lengthBytes + 1, op + 1));
  writer.str(id);
  writer.raw(frame.subarray(skipElement(frame, op + 1, frame.length)));
  writer.endFrame(start);
}

/** Where the operation of a request lies whose array begins at `at`; the kind is one byte, the id one to five. */
function opAt(bytes: Uint8Array, at: number): number {
  const format = bytes[at + 2] ?? 0;
  if (format < 0x80) return at + 3;
  return at + 3 + (format === 0xce ? 4 : format === 0xcd ? 2 : 1);
}

/** The operations that take a number. */
function namesEntity(op: number | undefined): boolean {
  return op === operation.append || op === operation.send || op === operation.state || op === operation.seq;
}
