/**
 * Events that a group has read and is not done with, read once more: what they said of somebody else may be erased by now.
 */
import type { Feed } from "../../actor/storage/feed.ts";
import type { StoredEvent } from "../../core/event.ts";
import { eventsOfFeedPart, type FeedPage, feedPartKind, readFeedPart } from "../../core/feed.ts";
import { limits } from "../../core/limits.ts";
import { pageBytes } from "../chunk.ts";
import type { Item } from "./outstanding.ts";

/**
 * Replaces the events of a shard's items that have lost what they said of somebody else. The other ones stay as they are, so
 * that of two that read at a time neither brings back what the other one did not find.
 */
export async function readAgain(feed: Feed, shard: number, items: readonly Item[]): Promise<void> {
  const byPlace = items.toSorted((a, b) => a.place.position - b.place.position);
  const numbers = new Set(items.map(({ number }) => number));
  let page: FeedPage | undefined;
  let events = new Map<string, StoredEvent>();
  for (const item of byPlace) {
    const { position, isDone } = item.place;
    if (isDone) continue;
    if (page === undefined || position > page.upTo) {
      page = await feed.read(shard, position - 1, limits.followPageBytes);
      events = eventsOf(page, numbers);
    }
    const event = events.get(nameOf(item.number, item.event.seq));
    if ((event?.personal ?? null) !== null) continue;
    item.event = { ...item.event, personal: null };
  }
}

/** Of these entities, by number and seq. */
function eventsOf(page: FeedPage, numbers: ReadonlySet<number>): Map<string, StoredEvent> {
  const bytes = pageBytes(page);
  const events = new Map<string, StoredEvent>();
  for (let at = 0; at < page.bytes.length; ) {
    const part = readFeedPart(bytes, at);
    at += part.length;
    if (part.kind !== feedPartKind.events || !numbers.has(part.number)) continue;
    for (const event of eventsOfFeedPart(bytes, part)) events.set(nameOf(part.number, event.seq), event);
  }
  return events;
}

function nameOf(number: number, seq: number): string {
  return `${number} ${seq}`;
}
