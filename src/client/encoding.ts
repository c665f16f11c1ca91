/**
 * From what a caller gives to what a request carries, and pages back to a sequence.
 *
 * What a server could take for a broken protocol is refused here, or where it is written: it costs the call then, not the connection.
 */
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { EventsQuery, Expect, Moment } from "../net/protocol/outcomes.ts";
import type { AppendDraft } from "../net/protocol/requests.ts";
import { encodeList, tableOf } from "../net/protocol/value.ts";
import type { RemoteMoment } from "./remote-entity.ts";

/** The events of one append, as a table where that pays and the server `takesTables`. Errors: INVALID_EVENT, EVENT_TOO_LARGE. */
export function encodeEvents(events: readonly NewEvent[], takesTables: boolean): AppendDraft {
  const count = events.length;
  const first = events[0];
  const isPlain = first?.occurredAt === undefined && first?.personal === undefined;
  if (count === 1 && first !== undefined && isPlain) {
    return { types: typeOf(first, 0), data: encodeList([first.data]), occurred: undefined };
  }
  if (count > limits.appendEventsMax) {
    const message = `one append takes at most ${limits.appendEventsMax} events, not ${count}`;
    throw new WarpError("EVENT_TOO_LARGE", message, { limit: "appendEventsMax" });
  }
  const types = new Array<string>(count);
  const data = new Array<unknown>(count);
  let occurred: (number | undefined)[] | undefined;
  let personal: (NewEvent["personal"] | null)[] | undefined;
  let isMixed = false;
  for (let i = 0; i < count; i++) {
    const event = events[i];
    const type = typeOf(event, i);
    types[i] = type;
    data[i] = event?.data;
    if (type !== types[0]) isMixed = true;
    if (event?.personal !== undefined) {
      personal ??= new Array<null>(count).fill(null);
      personal[i] = event.personal;
    }
    if (event?.occurredAt === undefined) continue;
    occurred ??= new Array<undefined>(count).fill(undefined);
    occurred[i] = msOf(event.occurredAt, "INVALID_EVENT");
  }
  const encoded = (takesTables ? tableOf(data) : undefined) ?? encodeList(data);
  const draft = { types: isMixed ? types : (types[0] ?? types), data: encoded, occurred };
  return personal === undefined ? draft : { ...draft, personal: encodeList(personal) };
}

/**
 * JSON of the list of the event's data, which is nearly always all there is to it besides its type; undefined where
 * {@link encodeEvents} has to say more. Errors: INVALID_EVENT, EVENT_TOO_LARGE.
 */
export function encodePlain(event: NewEvent): string | undefined {
  if (event?.occurredAt !== undefined || event?.personal !== undefined) return undefined;
  typeOf(event, 0);
  const encoded = encodeList([event.data]);
  return typeof encoded === "string" ? encoded : undefined;
}

function typeOf(event: NewEvent | undefined, index: number): string {
  if (typeof event?.type === "string") return event.type;
  throw new WarpError("INVALID_EVENT", `events[${index}] is not an event: { type, data }`);
}

function msOf(time: number | Date, code: "INVALID_EVENT" | "INVALID_ARGUMENT"): number {
  const ms = typeof time === "number" ? time : time.getTime();
  if (Number.isFinite(ms)) return ms;
  throw new WarpError(code, `not a time: ${String(time)}`);
}

export function momentOf(moment: RemoteMoment): Moment {
  if ("seq" in moment) return moment;
  if ("recorded" in moment) return { recorded: msOf(moment.recorded, "INVALID_ARGUMENT") };
  return { occurred: msOf(moment.occurred, "INVALID_ARGUMENT") };
}

/** Errors: INVALID_ARGUMENT. */
export function requireExpect(expect: Expect): void {
  if (expect === "any" || expect === "none" || expect === "exists" || isWhole(expect)) return;
  throw new WarpError("INVALID_ARGUMENT", `expect is any, none, exists or a seq, not ${String(expect)}`);
}

/** Errors: INVALID_ARGUMENT. */
export function requireWhole(name: string, number: number | undefined): void {
  if (number === undefined || isWhole(number)) return;
  throw new WarpError("INVALID_ARGUMENT", `${name} is a whole number from 0, not ${String(number)}`);
}

function isWhole(number: unknown): boolean {
  return Number.isSafeInteger(number) && Number(number) >= 0;
}

/** Errors: INVALID_ARGUMENT. */
export function requireRange({ from, to, limit }: EventsQuery): void {
  requireWhole("from", from);
  requireWhole("to", to);
  requireWhole("limit", limit);
}

/** Errors: INVALID_ARGUMENT. */
export function requireTypes(types: readonly string[] | undefined): void {
  if (types === undefined || types.length <= limits.subscriptionTypesMax) return;
  const message = `a subscription names at most ${limits.subscriptionTypesMax} types, not ${types.length}`;
  throw new WarpError("INVALID_ARGUMENT", message, { limit: "subscriptionTypesMax" });
}

export interface Page<Item, Next> {
  readonly items: readonly Item[];
  readonly next: Next | undefined;
}

/** The items of page after page; the next page is asked for before the items of this one are given out. */
export async function* pagesOf<Item, Next>(
  limit: number | undefined,
  fetchPage: (limit: number | undefined, next: Next | undefined) => Promise<Page<Item, Next>>,
): AsyncGenerator<Item> {
  let left = limit;
  let coming: Promise<Page<Item, Next>> | undefined = fetchPage(left, undefined);
  while (coming !== undefined) {
    const page: Page<Item, Next> = await coming;
    const { items } = page;
    const next: Next | undefined = page.next;
    if (left !== undefined) left -= items.length;
    const isMore: boolean = next !== undefined && (left === undefined || left > 0);
    coming = isMore ? fetchPage(left, next) : undefined;
    // A consumer that stops early never waits for it; its failure is nobody's then.
    coming?.catch(() => {});
    yield* items;
  }
}
