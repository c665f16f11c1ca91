/**
 * From events as a caller gives them to an entry that can be written and states that have been folded.
 */

import type { FoldEvent } from "../aggregate/aggregate.ts";
import { eventTypeProblem } from "../aggregate/event-type.ts";
import { deepFreeze } from "../aggregate/freeze.ts";
import { encodeData, encodeDataPieces } from "../aggregate/json-data.ts";
import { tableOf } from "../aggregate/tables.ts";
import { entityIdFault } from "../core/entity-id.ts";
import { type EntryDraft, inUtf8, type TypeRef, textLength } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { PersonalDraft } from "../core/personal.ts";
import { isTable, type Parsed, Table } from "../core/table.ts";
import type { Actor, States } from "./actor.ts";
import type { Folding } from "./folding.ts";

/** The entry of a record without events. */
export const emptyDraft: EntryDraft = {
  count: 0,
  types: [],
  typeIndexes: undefined,
  occurred: undefined,
  data: "[]",
  isMsgpack: false,
  personal: undefined,
};

/**
 * Validates and encodes; `parsed` is the JSON text of the list of their data, or the table, when they came as such. Errors:
 * INVALID_EVENT, EVENT_TOO_LARGE.
 */
export function draftEvents(folding: Folding, events: readonly NewEvent[], parsed?: Parsed): EntryDraft {
  const count = events.length;
  if (count === 0) return emptyDraft;
  if (count > limits.appendEventsMax) {
    throw new WarpError(
      "EVENT_TOO_LARGE",
      `one append takes at most ${limits.appendEventsMax} events, not ${count}`,
    );
  }
  const types: TypeRef[] = [];
  const data: unknown[] = new Array(count);
  const indexes = new Uint8Array(count);
  let occurred: Float64Array | undefined;
  let personal: PersonalDraft[] | undefined;
  let lastName: string | undefined;
  let lastIndex = 0;
  for (let i = 0; i < count; i++) {
    const event = events[i];
    if (event === undefined || event === null) throw notAnEvent(i);
    if (event.type !== lastName) {
      lastIndex = types.findIndex((type) => type.name === event.type);
      if (lastIndex < 0) lastIndex = types.push(typeRef(folding, event.type)) - 1;
      // At once: each event is looked for among all types before it.
      if (lastIndex >= limits.appendTypesMax) throw tooManyTypes();
      lastName = event.type;
    }
    indexes[i] = lastIndex;
    data[i] = event.data;
    if (event.occurredAt !== undefined) {
      occurred ??= new Float64Array(count).fill(Number.NaN);
      occurred[i] = timeOf(event.occurredAt);
    }
    if (event.personal !== undefined) {
      personal ??= [];
      personal.push(personalDraft(i, event.personal));
    }
  }
  const encoded =
    parsed === undefined
      ? (tableOf(data) ?? encodeDataPieces(data))
      : isTable(parsed)
        ? parsed
        : encodeDataPieces(data, parsed);
  const typeIndexes = types.length > 1 ? indexes : undefined;
  return entryDraft(count, types, typeIndexes, occurred, encoded, personal);
}

/** The only event, when it is an event and has nothing but type and data. */
export function plainEvent(events: readonly NewEvent[]): NewEvent | undefined {
  const event = events.length === 1 ? events[0] : undefined;
  if (event === undefined || event === null) return undefined;
  return event.occurredAt === undefined && event.personal === undefined ? event : undefined;
}

function personalDraft(index: number, personal: NonNullable<NewEvent["personal"]>): PersonalDraft {
  if (typeof personal !== "object" || personal === null)
    throw new WarpError("INVALID_EVENT", "personal is { subject, data }");
  const { subject, data } = personal;
  const fault = entityIdFault(subject);
  if (fault !== undefined) throw new WarpError("INVALID_EVENT", `personal.subject: ${fault}`);
  if (data === undefined || data === null)
    throw new WarpError(
      "INVALID_EVENT",
      "personal.data is not null: that is what is read when it was erased",
    );
  const encoded = encodeData([data]);
  const isMsgpack = typeof encoded !== "string";
  return { index, subject, data: isMsgpack ? encoded : Buffer.from(encoded, "utf8"), isMsgpack, number: 0 };
}

function entryDraft(
  count: number,
  types: readonly TypeRef[],
  typeIndexes: Uint8Array | undefined,
  occurred: Float64Array | undefined,
  encoded: EntryDraft["data"],
  personal: readonly PersonalDraft[] | undefined,
): EntryDraft {
  const isMsgpack = encoded instanceof Uint8Array;
  return { count, types, typeIndexes, occurred, data: measured(encoded), isMsgpack, personal };
}

/** A long text is measured by encoding it, so that space is asked for by what it takes and not by the worst case. */
function measured(encoded: EntryDraft["data"]): EntryDraft["data"] {
  if (encoded instanceof Uint8Array) return encoded;
  if (isTable(encoded))
    return encoded instanceof Table && encoded.bytesMax > 3 * measuredFrom ? encoded.toBytes() : encoded;
  return textLength(encoded) > measuredFrom ? inUtf8(encoded) : encoded;
}

const measuredFrom = 256 * 1024;

/** Types seen so far by name; a program has few, and a hostile one must not fill memory. */
const knownTypes = new Map<string, TypeRef>();
const knownTypesMax = 10_000;

/** Errors: INVALID_EVENT. */
export function typeRef(folding: Folding, name: string): TypeRef {
  const known = knownTypes.get(name);
  const version = folding.versionOf(name);
  if (known !== undefined && known.version === version) return known;
  const problem = eventTypeProblem(name);
  if (problem !== undefined)
    throw new WarpError("INVALID_EVENT", `the event type ${problem}`, { type: name });
  const ref = { name, utf8: Buffer.from(name), version };
  if (knownTypes.size >= knownTypesMax) knownTypes.clear();
  knownTypes.set(name, ref);
  return ref;
}

/** Errors: INVALID_EVENT for what is no time: a Date cannot have it, and nobody could show it. */
export function timeOf(time: number | Date): number {
  const ms = time instanceof Date ? time.getTime() : time;
  if (typeof ms === "number" && Math.abs(ms) <= timeMax) return ms;
  throw new WarpError("INVALID_EVENT", `occurredAt is not a time: ${String(time)}`);
}

/** ms before and after 1970 that a Date can have. */
const timeMax = 8.64e15;

function tooManyTypes(): WarpError {
  return new WarpError("INVALID_EVENT", `one append takes at most ${limits.appendTypesMax} event types`);
}

function notAnEvent(index: number): WarpError {
  return new WarpError("INVALID_EVENT", `events[${index}] is not an event: { type, data }`);
}

/** Folds new events into states; the states given are not changed. Errors: EVOLVE_FAILED. */
export function foldEvents(
  folding: Folding,
  actor: Actor,
  events: readonly NewEvent[],
  recordedAt: number,
  freeze: boolean,
): States {
  let states = actor.tipStates;
  let seq = actor.tipSeq;
  for (let i = 0; i < events.length; i++) {
    const event = events[i];
    if (event !== undefined) states = foldEvent(folding, actor.id, states, ++seq, event, recordedAt, freeze);
  }
  return states;
}

/** As {@link foldEvents}, for one that gets `seq`. */
export function foldEvent(
  folding: Folding,
  entity: string,
  states: States,
  seq: number,
  event: NewEvent,
  recordedAt: number,
  freeze: boolean,
): States {
  if (!folding.folds) return states;
  const { type, data, occurredAt, personal } = event;
  if (freeze) deepFreeze(data);
  let folded: FoldEvent =
    occurredAt === undefined
      ? { entity, seq, type, data, recordedAt }
      : { entity, seq, type, data, recordedAt, occurredAt: timeOf(occurredAt) };
  if (personal !== undefined) {
    if (freeze) deepFreeze(personal.data);
    folded = { ...folded, personal: personal.data };
  }
  const next = folding.fold(states, folded);
  return freeze ? deepFreeze(next) : next;
}
