/**
 * Pages of history and of listings, collected from the engine for one reply.
 *
 * A page ends at its number of items or of bytes; `next` is where the peer asks on. A page may be the last one although it
 * names a next one, which is then empty.
 */
import { encodeData, isJsonData } from "../../aggregate/json-data.ts";
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import type { EnginePort } from "../engine-port.ts";
import type { EntitiesQuery, EntityListed } from "../protocol/outcomes.ts";
import type { EventsRequest } from "../protocol/requests.ts";

export interface EncodedEvents {
  readonly events: readonly StoredEvent[];
  /** The value of the list of their data. */
  readonly data: string | Uint8Array;
  readonly next: number | undefined;
}

export async function collectEvents(port: EnginePort, request: EventsRequest): Promise<EncodedEvents> {
  const { entity, query, stored } = request;
  const wanted = query.limit ?? Number.POSITIVE_INFINITY;
  const limit = Math.min(wanted, limits.eventsPage);
  const events: StoredEvent[] = [];
  const texts: string[] = [];
  let bytes = 0;
  let isCut = false;
  for await (const event of port.events(entity, { ...query, limit }, stored)) {
    events.push(event);
    if (isJsonData(event.data)) {
      const text = JSON.stringify(event.data);
      texts.push(text);
      bytes += text.length;
    } else {
      bytes += encodeData([event.data]).length;
    }
    if (event.personal !== undefined) bytes += encodeData([event.personal]).length;
    isCut = bytes >= limits.readPageBytes;
    if (isCut) break;
  }
  const data =
    texts.length === events.length ? `[${texts.join(",")}]` : encodeData(events.map((event) => event.data));
  const last = events.at(-1);
  const isMore = events.length < wanted && (isCut || events.length === limits.eventsPage);
  const step = query.direction === "backward" ? -1 : 1;
  const next = last === undefined || !isMore ? undefined : last.seq + step;
  return { events, data, next: next === 0 ? undefined : next };
}

export interface ListedEntities {
  readonly entities: readonly EntityListed[];
  readonly next: string | undefined;
}

export async function collectEntities(port: EnginePort, query: EntitiesQuery): Promise<ListedEntities> {
  const wanted = query.limit ?? Number.POSITIVE_INFINITY;
  const limit = Math.min(wanted, limits.listPage);
  const entities: EntityListed[] = [];
  for await (const listed of port.entities({ ...query, limit })) entities.push(listed);
  const isMore = entities.length === limits.listPage && entities.length < wanted;
  return { entities, next: isMore ? entities.at(-1)?.id : undefined };
}
