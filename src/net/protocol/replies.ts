/**
 * The replies of docs/protocol.md, field by field: written by the server, read by the client.
 *
 * - Values are encoded before the frame is begun, since what cannot be encoded throws: nothing half-written is left behind.
 * - A reader's functions begin at the result.
 */
import { Decoder, encode } from "@msgpack/msgpack";
import { type ErrorCode, type ErrorDetails, errorCodes, WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { EntityListed, SendResult, StateAt } from "./outcomes.ts";
import { protocolError } from "./protocol-error.ts";
import { encodePersonal, personalElements, readPersonal } from "./subscription/pushes.ts";
import {
  decodeList,
  decodeValue,
  encodeDetails,
  encodeReadable,
  encodeValue,
  shortMessage,
} from "./value.ts";
import { frameKind, outcomeKind } from "./words.ts";

function start(writer: FrameWriter, id: number): number {
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  return frame;
}

/** What a server says of itself. */
export interface Welcome {
  readonly version: number;
  readonly context: string;
  readonly node: string;
  readonly incarnation: string;
  readonly shards: number;
  /** Names of the aggregates, the default one first; a server may leave it out. */
  readonly aggregates?: readonly string[];
  /** Their commands, as `aggregate.command`; a server may leave it out. */
  readonly commands?: readonly string[];
  /** `[node, address, shards]`, `shards` nil for all; empty on a single node. */
  readonly topology: readonly unknown[];
  readonly limits: {
    /** Entities that the connection may number: numbers are below it. Absent where there are none. */
    readonly entityNumbers?: number;
    /** The form of tables that appends may carry. Absent where there is none. */
    readonly tables?: number;
    /** Appends that one frame may carry. Absent where there is no such frame. */
    readonly appends?: number;
    readonly frameBytes: number;
    readonly requests: number;
    readonly idleMs: number;
    readonly deliveryWindow: number;
    readonly deliveryTtlMs: number;
  };
  /** The server's clock. */
  readonly now: number;
}

export function writeWelcome(writer: FrameWriter, id: number, welcome: Welcome): void {
  const encoded = encode(welcome);
  const frame = start(writer, id);
  writer.raw(encoded);
  writer.endFrame(frame);
}

const decoder = new Decoder();

export function readWelcome(reader: FrameReader): Welcome {
  const from = reader.at;
  // Walked before it is decoded; see skip-element.ts.
  reader.skip();
  const welcome = decoder.decode(reader.bytes.subarray(from, reader.at)) as Welcome;
  reader.finish();
  if (typeof welcome !== "object" || typeof welcome?.limits !== "object" || typeof welcome.now !== "number") {
    throw protocolError("the answer to hello is no map, or lacks its limits");
  }
  return welcome;
}

export function writeOutcome(writer: FrameWriter, id: number, outcome: SendResult): void {
  const details = outcome.ok || outcome.reason === "conflict" ? "" : encodeValue(outcome.details);
  const frame = start(writer, id);
  if (outcome.ok) {
    writer.array(7);
    writer.num(outcomeKind.appended);
    writer.num(outcome.seq);
    writer.num(outcome.firstSeq);
    writer.num(outcome.count);
    writer.bool(outcome.duplicate);
    writer.num(outcome.shard);
    writer.num(outcome.position);
  } else if (outcome.reason === "conflict") {
    writer.array(2);
    writer.num(outcomeKind.conflict);
    writer.num(outcome.seq);
  } else {
    writer.array(5);
    writer.num(outcomeKind.rejected);
    writer.str(outcome.code);
    writer.value(details);
    writer.num(outcome.seq);
    writer.bool(outcome.duplicate);
  }
  writer.endFrame(frame);
}

export function readOutcome(reader: FrameReader): SendResult {
  reader.enter();
  const kind = reader.whole();
  if (kind === outcomeKind.appended) {
    return {
      ok: true,
      seq: reader.whole(),
      firstSeq: reader.whole(),
      count: reader.whole(),
      duplicate: reader.bool(),
      shard: reader.whole(),
      position: reader.whole(),
    };
  }
  if (kind === outcomeKind.conflict) return { ok: false, reason: "conflict", seq: reader.whole() };
  if (kind !== outcomeKind.rejected) throw protocolError(`${kind} is no kind of outcome`);
  const code = reader.str();
  const details = decodeValue(reader.value());
  const seq = reader.whole();
  return { ok: false, reason: "rejected", code, details, seq, duplicate: reader.bool() };
}

export function writeStateAt(writer: FrameWriter, id: number, result: StateAt): void {
  const encoded = encodeReadable(result.state);
  const frame = start(writer, id);
  writer.array(2);
  writer.numOrNil(result.seq);
  writer.value(encoded);
  writer.endFrame(frame);
}

export function readStateAt(reader: FrameReader): StateAt {
  reader.enter();
  const seq = reader.wholeOrNil();
  return { seq, state: decodeValue(reader.value()) };
}

export function writeNothing(writer: FrameWriter, id: number): void {
  const frame = start(writer, id);
  writer.nil();
  writer.endFrame(frame);
}

/** A reply that is one value. */
export function writeValue(writer: FrameWriter, id: number, value: unknown): void {
  const encoded = encodeReadable(value);
  const frame = start(writer, id);
  writer.value(encoded);
  writer.endFrame(frame);
}

export function readValue(reader: FrameReader): unknown {
  return decodeValue(reader.value());
}

export function writeWhole(writer: FrameWriter, id: number, value: number): void {
  const frame = start(writer, id);
  writer.num(value);
  writer.endFrame(frame);
}

/** A page of events; `data` is the value of the list of their data. */
export function writeEventsPage(
  writer: FrameWriter,
  id: number,
  events: readonly StoredEvent[],
  data: string | Uint8Array,
  next: number | undefined,
): void {
  const personal = events.map(encodePersonal);
  const frame = start(writer, id);
  writer.array(3);
  writer.array(events.length);
  for (const [i, event] of events.entries()) {
    writer.array(6 + personalElements(event));
    writer.num(event.seq);
    writer.str(event.type);
    writer.num(event.version);
    writer.num(event.recordedAt);
    writer.numOrNil(event.occurredAt);
    writer.num(event.position);
    const said = personal[i];
    if (said !== undefined) writer.value(said);
  }
  writer.value(data);
  writer.numOrNil(next);
  writer.endFrame(frame);
}

export interface EventsPage {
  readonly events: readonly StoredEvent[];
  readonly next: number | undefined;
}

export function readEventsPage(reader: FrameReader, entity: string): EventsPage {
  reader.enter();
  const outside = reader.enter();
  const heads: Omit<StoredEvent, "data">[] = [];
  while (reader.left > 0) {
    const within = reader.enter();
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
  const next = reader.wholeOrNil();
  if (!Array.isArray(data) || data.length !== heads.length)
    throw protocolError("a page without all its data");
  return { events: heads.map((head, i) => ({ ...head, data: data[i] as unknown })), next };
}

export function writeEntitiesPage(
  writer: FrameWriter,
  id: number,
  entities: readonly EntityListed[],
  next: string | undefined,
): void {
  const frame = start(writer, id);
  writer.array(2);
  writer.array(entities.length);
  for (const listed of entities) {
    writer.array(2);
    writer.str(listed.id);
    writer.num(listed.seq);
  }
  writer.strOrNil(next);
  writer.endFrame(frame);
}

export interface EntitiesPage {
  readonly entities: readonly EntityListed[];
  readonly next: string | undefined;
}

export function readEntitiesPage(reader: FrameReader): EntitiesPage {
  reader.enter();
  const outside = reader.enter();
  const entities: EntityListed[] = [];
  while (reader.left > 0) {
    const within = reader.enter();
    entities.push({ id: reader.str(), seq: reader.whole() });
    reader.leave(within);
  }
  reader.leave(outside);
  return { entities, next: reader.strOrNil() };
}

/** Id 0 is the connection as a whole. It does not throw, whatever the error carries: it is what is left where others did. */
export function writeError(writer: FrameWriter, id: number, error: WarpError): void {
  const details = encodeDetails(error.details);
  const frame = writer.startFrame(5);
  writer.num(frameKind.error);
  writer.num(id);
  writer.str(error.code);
  writer.str(shortMessage(error));
  writer.value(details);
  writer.endFrame(frame);
}

/** Begins at the code. A code of a newer server is read as PROTOCOL_ERROR with the code in the details. */
export function readError(reader: FrameReader): WarpError {
  const code = reader.knownStr();
  const message = reader.str();
  const given = reader.isNil() ? {} : decodeValue(reader.value());
  reader.finish();
  const details = (typeof given === "object" && given !== null ? given : {}) as ErrorDetails;
  if (Object.hasOwn(errorCodes, code)) return new WarpError(code as ErrorCode, message, details);
  return new WarpError("PROTOCOL_ERROR", `${code}: ${message}`, { ...details, code });
}
