/**
 * Pages of history and of listings, collected from the engine for one reply.
 *
 * A page ends at its number of items or of bytes, or in front of an event that JSON cannot hold when those before it would take too
 * much as MessagePack; `next` is where the peer asks on. A page may be the last one although it names a next one, which is then empty.
 */
import type { StoredEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import type { EnginePort } from "../engine-port.ts";
import type { EntitiesQuery, EntityListed } from "../protocol/outcomes.ts";
import type { EventsRequest } from "../protocol/requests.ts";
import { DataList, encodeReadable } from "../protocol/value.ts";

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
  const data = new DataList();
  let personalBytes = 0;
  let isCut = false;
  for await (const event of port.events(entity, { ...query, limit }, stored)) {
    isCut = !data.add(event.data, limits.readPageBytes);
    if (isCut) break;
    events.push(event);
    if (event.personal !== undefined) personalBytes += encodeReadable(event.personal).length;
    isCut = data.bytes + personalBytes >= limits.readPageBytes;
    if (isCut) break;
  }
  const last = events.at(-1);
  const isMore = events.length < wanted && (isCut || events.length === limits.eventsPage);
  const step = query.direction === "backward" ? -1 : 1;
  const next = last === undefined || !isMore ? undefined : last.seq + step;
  return { events, data: data.encoded(), next: next === 0 ? undefined : next };
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
