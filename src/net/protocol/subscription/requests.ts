/**
 * Beginning and ending subscriptions, and granting what may be pushed (docs/protocol.md).
 *
 * A reader's functions begin behind the operation.
 */
import { WarpError } from "../../../core/errors.ts";
import { limits } from "../../../core/limits.ts";
import type { FrameReader } from "../frame-reader.ts";
import type { FrameWriter } from "../frame-writer.ts";
import type { SubscribeQuery } from "../outcomes.ts";
import { startRequest } from "../requests.ts";
import { frameKind, operation } from "../words.ts";

const numberMax = 2 ** 32 - 1;

export interface SubscribeRequest {
  /** Chosen by the client; not that of another subscription of the connection. */
  readonly subscription: number;
  readonly query: SubscribeQuery;
  /** Bytes that may be pushed. */
  readonly credit: number;
  /** It is to be told of dropped events. */
  readonly gaps?: boolean | undefined;
}

export function writeSubscribe(writer: FrameWriter, id: number, request: SubscribeRequest): void {
  const { subscription, query, credit, gaps = false } = request;
  const frame = startRequest(writer, id, operation.subscribe, gaps ? 8 : 7);
  writer.num(subscription);
  writer.num(credit);
  writer.strOrNil(query.entity);
  writer.strOrNil(query.prefix);
  writeTypes(writer, query.types);
  writeFrom(writer, query.from);
  writer.bool(query.stored === true);
  if (gaps) writer.bool(gaps);
  writer.endFrame(frame);
}

export function readSubscribe(reader: FrameReader): SubscribeRequest {
  const subscription = reader.whole(numberMax);
  const credit = reader.whole();
  const entity = reader.strOrNil();
  const prefix = reader.strOrNil();
  const types = readTypes(reader);
  const from = readFrom(reader);
  const stored = !reader.isNil() && reader.bool();
  const gaps = !reader.isNil() && reader.bool();
  reader.finish();
  const query = {
    ...(entity === undefined ? undefined : { entity }),
    ...(prefix === undefined ? undefined : { prefix }),
    ...(types === undefined ? undefined : { types }),
    ...(from === undefined ? undefined : { from }),
    ...(stored ? { stored } : undefined),
  };
  return { subscription, query, credit, ...(gaps ? { gaps } : undefined) };
}

export function writeTypes(writer: FrameWriter, types: readonly string[] | undefined): void {
  if (types === undefined) {
    writer.nil();
    return;
  }
  writer.array(types.length);
  for (const type of types) writer.str(type);
}

/** Errors: INVALID_ARGUMENT. */
export function writeFrom(writer: FrameWriter, from: SubscribeQuery["from"]): void {
  requireFrom(from);
  if (typeof from === "object") writer.num(from.time);
  else writer.strOrNil(from);
}

/** A cursor of the most shards takes less. */
const cursorUnitsMax = 4096;

/** Refuses what is too long to be a cursor. Errors: INVALID_ARGUMENT. */
export function requireFrom(from: SubscribeQuery["from"]): void {
  if (typeof from !== "string" || from.length <= cursorUnitsMax) return;
  const message = `a cursor has at most ${cursorUnitsMax} characters, not ${from.length}`;
  throw new WarpError("INVALID_ARGUMENT", message);
}

export function readFrom(reader: FrameReader): SubscribeQuery["from"] {
  if (reader.isNil()) return undefined;
  return reader.isText() ? reader.str() : { time: reader.num() };
}

/** Of too many only so many that it can be told. */
export function readTypes(reader: FrameReader): string[] | undefined {
  if (reader.isNil()) return undefined;
  const types: string[] = [];
  const outside = reader.enter();
  while (reader.left > 0 && types.length <= limits.subscriptionTypesMax) types.push(reader.str());
  reader.leave(outside);
  return types;
}

export function writeUnsubscribe(writer: FrameWriter, id: number, subscription: number): void {
  const frame = startRequest(writer, id, operation.unsubscribe, 1);
  writer.num(subscription);
  writer.endFrame(frame);
}

export function readUnsubscribe(reader: FrameReader): number {
  const subscription = reader.whole(numberMax);
  reader.finish();
  return subscription;
}

/** Grants `bytes` more to a subscription, or says of a membership which delivery was read; it has no answer. */
export function writeCredit(writer: FrameWriter, subscription: number, bytes: number): void {
  const frame = writer.startFrame(3);
  writer.num(frameKind.credit);
  writer.num(subscription);
  writer.num(bytes);
  writer.endFrame(frame);
}

/** Begins behind the kind. */
export function readCredit(reader: FrameReader): { subscription: number; bytes: number } {
  const subscription = reader.whole(numberMax);
  const bytes = reader.whole();
  reader.finish();
  return { subscription, bytes };
}
