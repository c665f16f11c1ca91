/**
 * Joining groups, answering deliveries, and what operators ask of groups (docs/protocol.md).
 *
 * A reader's functions begin behind the operation.
 */
import { WarpError } from "../../../core/errors.ts";
import type { StoredEvent } from "../../../core/event.ts";
import { limits } from "../../../core/limits.ts";
import type { FrameReader } from "../frame-reader.ts";
import type { FrameWriter } from "../frame-writer.ts";
import type { GroupAnswer, GroupDelivery, JoinQuery } from "../outcomes.ts";
import { protocolError } from "../protocol-error.ts";
import { startRequest } from "../requests.ts";
import { operation } from "../words.ts";
import {
  contentOf,
  encodeEventData,
  type PushContent,
  personalElements,
  pushKind,
  readHeads,
  writeHead,
} from "./pushes.ts";
import { readFrom, readTypes, writeFrom, writeTypes } from "./requests.ts";

const numberMax = 2 ** 32 - 1;
const actions = ["ack", "retry", "skip", "park"] as const;

export interface JoinRequest {
  readonly subscription: number;
  readonly group: string;
  /** Deliveries that may be unanswered at once. */
  readonly window: number;
  readonly query: JoinQuery;
  /** Marks in the place of dropped events are to be delivered too. */
  readonly gaps?: boolean | undefined;
  /** The client says which deliveries were read, and is told which are withdrawn. */
  readonly reads?: boolean | undefined;
}

export function writeJoin(writer: FrameWriter, id: number, request: JoinRequest): void {
  const { subscription, group, window, query, gaps = false, reads = false } = request;
  const frame = startRequest(writer, id, operation.join, reads ? 8 : gaps ? 7 : 6);
  writer.num(subscription);
  writer.str(group);
  writer.num(window);
  writer.strOrNil(query.prefix);
  writeTypes(writer, query.types);
  writeFrom(writer, query.from);
  if (gaps || reads) writer.bool(gaps);
  if (reads) writer.bool(reads);
  writer.endFrame(frame);
}

export function readJoin(reader: FrameReader): JoinRequest {
  const subscription = reader.whole(numberMax);
  const group = reader.str();
  const window = reader.whole();
  const prefix = reader.strOrNil();
  const types = readTypes(reader);
  const from = readFrom(reader);
  const gaps = !reader.isNil() && reader.bool();
  const reads = !reader.isNil() && reader.bool();
  reader.finish();
  const query = {
    ...(prefix === undefined ? undefined : { prefix }),
    ...(types === undefined ? undefined : { types }),
    ...(from === undefined ? undefined : { from }),
  };
  const asked = { ...(gaps ? { gaps } : undefined), ...(reads ? { reads } : undefined) };
  return { subscription, group, window, query, ...asked };
}

export interface AnswerRequest {
  readonly subscription: number;
  readonly deliveries: readonly number[];
  readonly answer: GroupAnswer;
}

export function writeAnswer(writer: FrameWriter, id: number, request: AnswerRequest): void {
  const { subscription, deliveries, answer } = request;
  const frame = startRequest(writer, id, operation.acknowledge, 5);
  writer.num(subscription);
  writer.array(deliveries.length);
  for (const delivery of deliveries) writer.num(delivery);
  writer.num(actions.indexOf(answer.action));
  writer.numOrNil(answer.action === "retry" ? answer.delayMs : undefined);
  writer.strOrNil(answer.action === "park" ? answer.reason : undefined);
  writer.endFrame(frame);
}

/** Refuses more than a member may have. Errors: INVALID_ARGUMENT. */
export function requireDeliveries({ length }: readonly number[]): void {
  if (length <= limits.groupWindowMax) return;
  const message = `at most ${limits.groupWindowMax} deliveries are answered at once`;
  throw new WarpError("INVALID_ARGUMENT", message, { limit: "groupWindowMax" });
}

/** Of too many deliveries only so many that it can be told. */
export function readAnswer(reader: FrameReader): AnswerRequest {
  const subscription = reader.whole(numberMax);
  const deliveries: number[] = [];
  const outside = reader.enter();
  while (reader.left > 0 && deliveries.length <= limits.groupWindowMax) deliveries.push(reader.whole());
  reader.leave(outside);
  const action = actions[reader.isNil() ? 0 : reader.whole()];
  const delayMs = reader.wholeOrNil();
  const reason = reader.strOrNil();
  reader.finish();
  if (action === undefined) throw protocolError("an answer is 0 ack, 1 retry, 2 skip or 3 park");
  const answer: GroupAnswer =
    action === "retry"
      ? { action, ...(delayMs === undefined ? undefined : { delayMs }) }
      : action === "park"
        ? { action, ...(reason === undefined ? undefined : { reason }) }
        : { action };
  return { subscription, deliveries, answer };
}

/** `[3, subscription, 5, [[delivery, attempt, …event], …], data]`. */
export function encodeDeliveriesPush(deliveries: readonly GroupDelivery[]): PushContent {
  const data = encodeEventData(deliveries.map(({ event }) => event));
  return contentOf(3, (writer) => {
    writer.num(pushKind.deliveries);
    writer.array(deliveries.length);
    for (const { delivery, attempt, event } of deliveries) {
      writer.array(9 + personalElements(event));
      writer.num(delivery);
      writer.num(attempt);
      writeHead(writer, event, undefined);
    }
    writer.value(data);
  });
}

/** `[3, subscription, 7, [delivery, …]]`. */
export function encodeWithdrawnPush(deliveries: readonly number[]): PushContent {
  return contentOf(2, (writer) => {
    writer.num(pushKind.withdrawn);
    writer.array(deliveries.length);
    for (const delivery of deliveries) writer.num(delivery);
  });
}

/** Begins behind the kind. */
export function readWithdrawn(reader: FrameReader): number[] {
  const deliveries: number[] = [];
  const outside = reader.enter();
  while (reader.left > 0) deliveries.push(reader.whole());
  reader.leave(outside);
  return deliveries;
}

/** Begins behind the kind. */
export function readDeliveries(reader: FrameReader): GroupDelivery[] {
  const numbers: { delivery: number; attempt: number }[] = [];
  const events: StoredEvent[] = readHeads(reader, () => {
    numbers.push({ delivery: reader.whole(), attempt: reader.whole() });
  });
  return events.map((event, i) => ({
    delivery: numbers[i]?.delivery ?? 0,
    attempt: numbers[i]?.attempt ?? 1,
    event,
  }));
}

/** What an operator asks of a group. */
export interface GroupRequest {
  readonly group: string;
  readonly action: "parked" | "replay" | "remove";
  readonly limit: number | undefined;
}

const groupActions = ["parked", "replay", "remove"] as const;

export function writeGroups(writer: FrameWriter, id: number): void {
  writer.endFrame(startRequest(writer, id, operation.groups, 0));
}

export function writeGroup(writer: FrameWriter, id: number, request: GroupRequest): void {
  const frame = startRequest(writer, id, operation.group, 3);
  writer.str(request.group);
  writer.num(groupActions.indexOf(request.action));
  writer.numOrNil(request.limit);
  writer.endFrame(frame);
}

export function readGroup(reader: FrameReader): GroupRequest {
  const group = reader.str();
  const action = groupActions[reader.whole()];
  const limit = reader.wholeOrNil();
  reader.finish();
  if (action === undefined) throw protocolError("of a group is asked 0 parked, 1 replay or 2 remove");
  return { group, action, limit };
}
