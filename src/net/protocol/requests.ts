/**
 * The requests of docs/protocol.md, field by field: written by the client, read by the server.
 *
 * A reader's functions begin behind the operation and read to the last field. They leave values as they came, so that a
 * frame that breaks the protocol is told from a value that cannot be read.
 */
import { readForeignTable } from "../../aggregate/tables.ts";
import { WarpError } from "../../core/errors.ts";
import type { NewEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import { type Table, TableBytes } from "../../core/table.ts";
import { type EntityName, readEntity, writeEntity } from "./entity-number.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Delivery, EntitiesQuery, EventsQuery, Expect, Moment, WriteOptions } from "./outcomes.ts";
import { protocolError } from "./protocol-error.ts";
import { decodeForeignValue, decodeList } from "./value.ts";
import { frameKind, momentKind, operation, protocolVersion } from "./words.ts";

/** Begins a request whose operation has `fields` fields behind it. */
export function startRequest(writer: FrameWriter, id: number, op: number, fields: number): number {
  const frame = writer.startFrame(3 + fields);
  writer.num(frameKind.request);
  writer.num(id);
  writer.num(op);
  return frame;
}

export interface Hello {
  readonly version: number;
  readonly context: string | undefined;
  readonly token: string | undefined;
  readonly client: string | undefined;
}

export function writeHello(writer: FrameWriter, id: number, hello: Omit<Hello, "version">): void {
  const frame = startRequest(writer, id, operation.hello, 4);
  writer.num(protocolVersion);
  writer.strOrNil(hello.context);
  writer.strOrNil(hello.token);
  writer.strOrNil(hello.client);
  writer.endFrame(frame);
}

export function readHello(reader: FrameReader): Hello {
  const hello = {
    version: reader.whole(),
    context: reader.strOrNil(),
    token: reader.strOrNil(),
    client: reader.strOrNil(),
  };
  reader.finish();
  return hello;
}

/** What an append carries, encoded: the data of all events is one value. */
export interface AppendDraft {
  readonly types: string | readonly string[];
  readonly data: string | Uint8Array | Table;
  readonly occurred: readonly (number | undefined)[] | undefined;
  /** A list with what each event says of somebody else, or null; undefined when none says anything. */
  readonly personal?: string | Uint8Array | undefined;
}

export function writeAppend(
  writer: FrameWriter,
  id: number,
  entity: EntityName,
  draft: AppendDraft,
  options: WriteOptions | undefined,
  delivery: Delivery | undefined,
): void {
  const { types, occurred, personal } = draft;
  const frame = startRequest(writer, id, operation.append, personal === undefined ? 7 : 8);
  writeEntity(writer, entity);
  if (typeof types === "string") {
    writer.str(types);
  } else {
    writer.array(types.length);
    for (const type of types) writer.str(type);
  }
  writer.data(draft.data);
  if (occurred === undefined) {
    writer.nil();
  } else {
    writer.array(occurred.length);
    for (const time of occurred) writer.numOrNil(time);
  }
  writeOptions(writer, options, delivery);
  if (personal !== undefined) writer.value(personal);
  writer.endFrame(frame);
}

export interface AppendRequest {
  readonly entity: EntityName;
  readonly types: string | readonly string[];
  readonly data: string | Uint8Array | TableBytes;
  readonly occurred: readonly (number | undefined)[] | undefined;
  readonly options: WriteOptions | undefined;
  readonly personal: string | Uint8Array | undefined;
}

export function readAppend(reader: FrameReader): AppendRequest {
  const entity = readEntity(reader);
  const types = reader.isText() ? reader.knownStr() : readTypes(reader);
  const data = reader.data();
  const occurred = reader.isNil() ? undefined : readOccurred(reader);
  const options = readOptions(reader);
  const personal = reader.left === 0 || reader.isNil() ? undefined : reader.value();
  reader.finish();
  return { entity, types, data, occurred, options, personal };
}

/** The events of an append. Errors: INVALID_ARGUMENT, INVALID_EVENT, EVENT_TOO_LARGE. */
export function eventsOf(request: AppendRequest): NewEvent[] {
  const data =
    request.data instanceof TableBytes
      ? readForeignTable(request.data)
      : decodeList(request.data, typeof request.types === "string" ? request.types : undefined);
  if (!Array.isArray(data)) throw new WarpError("INVALID_ARGUMENT", "the data of an append is a list");
  if (request.personal !== undefined)
    return withPersonal(eventsOf({ ...request, personal: undefined }), request);
  const { types, occurred } = request;
  const count = data.length;
  if (typeof types === "string" && occurred === undefined) {
    if (count === 1) return [{ type: types, data: data[0] }];
    requireCount(count);
    const events = new Array<NewEvent>(count);
    for (let i = 0; i < count; i++) events[i] = { type: types, data: data[i] };
    return events;
  }
  requireCount(count);
  const differ =
    (typeof types !== "string" && types.length !== count) || (occurred?.length ?? count) !== count;
  if (differ) throw new WarpError("INVALID_ARGUMENT", "types, data and occurred have the same length");
  return data.map((one: unknown, i): NewEvent => {
    const type = typeof types === "string" ? types : (types[i] ?? "");
    const occurredAt = occurred?.[i];
    return occurredAt === undefined ? { type, data: one } : { type, data: one, occurredAt };
  });
}

function withPersonal(events: readonly NewEvent[], { personal = "" }: AppendRequest): NewEvent[] {
  // Data stands in a map with its subject. What it may be is looked at event by event, as that of events is.
  const parts = decodeList(personal, undefined, 2);
  if (!Array.isArray(parts) || parts.length !== events.length)
    throw new WarpError("INVALID_ARGUMENT", "personal is a list as long as the data");
  return events.map((event, i) => {
    const part = parts[i] as NonNullable<NewEvent["personal"]> | null;
    return part === null ? event : { ...event, personal: part };
  });
}

function requireCount(count: number): void {
  if (count <= limits.appendEventsMax) return;
  const message = `one append takes at most ${limits.appendEventsMax} events, not ${count}`;
  throw new WarpError("EVENT_TOO_LARGE", message, { limit: "appendEventsMax" });
}

function readTypes(reader: FrameReader): string[] {
  const outside = reader.enter();
  const types = new Array<string>(reader.left);
  for (let i = 0; reader.left > 0; i++) types[i] = reader.knownStr();
  reader.leave(outside);
  return types;
}

function readOccurred(reader: FrameReader): (number | undefined)[] {
  const outside = reader.enter();
  const occurred = new Array<number | undefined>(reader.left);
  for (let i = 0; reader.left > 0; i++) occurred[i] = reader.numOrNil();
  reader.leave(outside);
  return occurred;
}

export function writeSend(
  writer: FrameWriter,
  id: number,
  entity: EntityName,
  command: string,
  input: string | Uint8Array | undefined,
  options: WriteOptions | undefined,
  delivery: Delivery | undefined,
): void {
  const frame = startRequest(writer, id, operation.send, 6);
  writeEntity(writer, entity);
  writer.str(command);
  writer.valueOrNil(input);
  writeOptions(writer, options, delivery);
  writer.endFrame(frame);
}

export interface SendRequest {
  readonly entity: EntityName;
  readonly command: string;
  readonly input: string | Uint8Array | undefined;
  readonly options: WriteOptions | undefined;
}

export function readSend(reader: FrameReader): SendRequest {
  const entity = readEntity(reader);
  const command = reader.knownStr();
  const input = reader.isNil() ? undefined : reader.value();
  const options = readOptions(reader);
  reader.finish();
  return { entity, command, input, options };
}

/** The input of a command; undefined when it was left out. Errors: INVALID_ARGUMENT, INVALID_EVENT, EVENT_TOO_LARGE. */
export function inputOf(request: SendRequest): unknown {
  return request.input === undefined ? undefined : decodeForeignValue(request.input);
}

function writeOptions(
  writer: FrameWriter,
  options: WriteOptions | undefined,
  delivery: Delivery | undefined,
): void {
  const expect = options?.expect;
  if (expect === undefined || expect === "any") writer.nil();
  else if (typeof expect === "number") writer.num(expect);
  else writer.str(expect);
  writer.strOrNil(options?.key);
  if (delivery === undefined) writer.nil();
  else writeDelivery(writer, delivery);
}

export function writeDelivery(writer: FrameWriter, delivery: Delivery): void {
  const { behind } = delivery;
  writer.array(behind === undefined ? 3 : 4);
  writer.num(delivery.sessionStart);
  writer.num(delivery.sessionNumber);
  writer.num(delivery.counter);
  if (behind !== undefined) writer.num(behind);
}

function readOptions(reader: FrameReader): WriteOptions | undefined {
  const expect = reader.isNil() ? undefined : readExpect(reader);
  const key = reader.strOrNil();
  const delivery = reader.isNil() ? undefined : readDelivery(reader);
  if (expect === undefined && key === undefined) return delivery === undefined ? undefined : { delivery };
  return {
    ...(expect === undefined ? undefined : { expect }),
    ...(key === undefined ? undefined : { key }),
    ...(delivery === undefined ? undefined : { delivery }),
  };
}

function readExpect(reader: FrameReader): Expect {
  if (!reader.isText()) return reader.whole();
  const word = reader.knownStr();
  if (word === "any" || word === "none" || word === "exists") return word;
  throw protocolError("expect is any, none, exists or a seq");
}

export function readDelivery(reader: FrameReader): Delivery {
  const outside = reader.enter();
  const sessionStart = reader.num();
  const sessionNumber = reader.whole();
  const counter = reader.whole();
  const behind = reader.wholeOrNil();
  reader.leave(outside);
  return { sessionStart, sessionNumber, counter, behind };
}

export function writeState(
  writer: FrameWriter,
  id: number,
  entity: EntityName,
  aggregate: string | undefined,
  at: Moment | undefined,
): void {
  const frame = startRequest(writer, id, operation.state, at === undefined ? 2 : 3);
  writeEntity(writer, entity);
  writer.strOrNil(aggregate);
  if (at !== undefined) {
    writer.array(2);
    writer.num("seq" in at ? momentKind.seq : "recorded" in at ? momentKind.recorded : momentKind.occurred);
    writer.num("seq" in at ? at.seq : "recorded" in at ? at.recorded : at.occurred);
  }
  writer.endFrame(frame);
}

export interface StateRequest {
  readonly entity: EntityName;
  readonly aggregate: string | undefined;
  readonly at: Moment | undefined;
}

export function readState(reader: FrameReader): StateRequest {
  const entity = readEntity(reader);
  const aggregate = reader.knownStrOrNil();
  const at = reader.isNil() ? undefined : readMoment(reader);
  reader.finish();
  return { entity, aggregate, at };
}

function readMoment(reader: FrameReader): Moment {
  const outside = reader.enter();
  const kind = reader.whole();
  const at = reader.num();
  reader.leave(outside);
  if (kind === momentKind.seq) return { seq: at };
  if (kind === momentKind.recorded) return { recorded: at };
  if (kind === momentKind.occurred) return { occurred: at };
  throw protocolError(`${kind} is no kind of moment`);
}

export function writeSeq(writer: FrameWriter, id: number, entity: EntityName): void {
  const frame = startRequest(writer, id, operation.seq, 1);
  writeEntity(writer, entity);
  writer.endFrame(frame);
}

export function writePing(writer: FrameWriter, id: number): void {
  writer.endFrame(startRequest(writer, id, operation.ping, 0));
}

export function writeEvents(
  writer: FrameWriter,
  id: number,
  entity: string,
  query: EventsQuery,
  stored: boolean,
): void {
  const frame = startRequest(writer, id, operation.events, 6);
  writer.str(entity);
  writer.numOrNil(query.from);
  writer.numOrNil(query.to);
  writer.bool(query.direction === "backward");
  writer.numOrNil(query.limit);
  writer.bool(stored);
  writer.endFrame(frame);
}

export interface EventsRequest {
  readonly entity: string;
  readonly query: EventsQuery;
  readonly stored: boolean;
}

export function readEvents(reader: FrameReader): EventsRequest {
  const entity = reader.str();
  const from = reader.wholeOrNil();
  const to = reader.wholeOrNil();
  const backward = !reader.isNil() && reader.bool();
  const limit = reader.wholeOrNil();
  const stored = !reader.isNil() && reader.bool();
  reader.finish();
  const query: EventsQuery = {
    ...(from === undefined ? undefined : { from }),
    ...(to === undefined ? undefined : { to }),
    ...(limit === undefined ? undefined : { limit }),
    direction: backward ? "backward" : "forward",
  };
  return { entity, query, stored };
}

export function writeEntities(writer: FrameWriter, id: number, query: EntitiesQuery): void {
  const frame = startRequest(writer, id, operation.entities, 3);
  writer.strOrNil(query.prefix);
  writer.strOrNil(query.after);
  writer.numOrNil(query.limit);
  writer.endFrame(frame);
}

export function readEntities(reader: FrameReader): EntitiesQuery {
  const prefix = reader.strOrNil();
  const after = reader.strOrNil();
  const limit = reader.wholeOrNil();
  reader.finish();
  return {
    ...(prefix === undefined ? undefined : { prefix }),
    ...(after === undefined ? undefined : { after }),
    ...(limit === undefined ? undefined : { limit }),
  };
}
