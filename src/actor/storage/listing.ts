/**
 * Listing entities by prefix, in the byte order of their UTF-8, over all shards.
 *
 * - Pages are read from every shard and merged, and entities that only the memory knows yet are merged in: every list is
 *   in order, so that nothing is sorted but the few thousand ids that are looked at in one turn.
 * - Appends wait while the main thread looks for those, so it lets others take their turn in between.
 * - An entity that is made while a listing goes on may or may not be in it.
 */
import { limits } from "../../core/limits.ts";
import type { Actor } from "../actor.ts";
import type { Residency } from "../residency.ts";
import type { Reading } from "./reading.ts";

export interface EntitiesQuery {
  readonly prefix?: string;
  /** Only ids behind this one. */
  readonly after?: string;
  readonly limit?: number;
}

export interface EntityListed {
  readonly id: string;
  /** The newest durable seq. */
  readonly seq: number;
}

export interface ListingParts {
  readonly reading: Pick<Reading, "names">;
  readonly residency: Pick<Residency, "all" | "count" | "peek" | "wasErased">;
  readonly shards: number;
}

/** Entities that may not be in their shard's file yet, in order. */
interface Unsettled {
  readonly listed: readonly EntityListed[];
  /** Set when there may be more of them behind the last. */
  readonly isCut: boolean;
}

/** Actors that are looked at in one turn: a few milliseconds when all of them are unsettled. */
const actorsATurn = 4096;
/** Unsettled entities that are kept at once; those behind them are looked for when the listing gets there. */
const unsettledMax = 16_384;

export async function* listEntities(parts: ListingParts, query: EntitiesQuery): AsyncGenerator<EntityListed> {
  const prefix = query.prefix ?? "";
  // As it is in UTF-8, which has no lone surrogates.
  let after = query.after?.toWellFormed();
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  let unsettled: Unsettled | undefined;
  while (left > 0) {
    unsettled ??= await findUnsettled(parts.residency, prefix, after, Math.min(left, unsettledMax));
    const page = await readPage(parts, unsettled, prefix, after);
    for (const { id, seq } of page) {
      if (seq === 0) continue;
      if (left-- <= 0) return;
      yield { id, seq };
    }
    const last = page.at(-1)?.id;
    if (unsettled.isCut && last === unsettled.listed.at(-1)?.id) unsettled = undefined;
    else if (page.length < limits.listPage) return;
    after = last;
  }
}

/** The next entities of all shards together; seq 0 for one that has outcomes but no events. */
async function readPage(
  { reading, residency, shards }: ListingParts,
  { listed, isCut }: Unsettled,
  prefix: string,
  after: string | undefined,
): Promise<EntityListed[]> {
  const limit = limits.listPage;
  const pages = await Promise.all(
    Array.from({ length: shards }, (_, shard) => reading.names({ shard, prefix, after, limit })),
  );
  const first = firstBehind(listed, after);
  let page: readonly EntityListed[] = listed.slice(first, first + limit);
  for (const names of pages) {
    const settled = names.map(({ entity, seq }) => ({ id: entity, seq }));
    page = merged(page, settled, limit);
  }
  const end = isCut ? listed.at(-1)?.id : undefined;
  if (end !== undefined) page = page.filter(({ id }) => byteOrder(id, end) <= 0);
  // One that was unsettled when the listing began may have been erased since, and is then in no file.
  const isGone = (id: string) =>
    listed[firstBehind(listed, id) - 1]?.id === id &&
    residency.wasErased(id) &&
    !pages.some((names) => names.some(({ entity }) => entity === id));
  return page.map(({ id, seq }) => ({
    id,
    seq: residency.peek(id)?.committedSeq ?? (isGone(id) ? 0 : seq),
  }));
}

/** The first entities behind `after` that may not be in their shard's file yet, with their durable seq. */
async function findUnsettled(
  residency: ListingParts["residency"],
  prefix: string,
  after: string | undefined,
  max: number,
): Promise<Unsettled> {
  let listed: EntityListed[] = [];
  let isCut = false;
  let found: EntityListed[] = [];
  const takeIn = () => {
    found.sort((one, other) => byteOrder(one.id, other.id));
    isCut ||= listed.length + found.length > max;
    listed = merged(listed, found, max);
    found = [];
  };
  // Those that come meanwhile are behind the others in the table: they need not be in the listing.
  const { count } = residency;
  let looks = 0;
  for (const actor of residency.all()) {
    if (looks++ === count) break;
    if (isUnsettled(actor, prefix, after, isCut ? listed.at(-1)?.id : undefined)) {
      found.push({ id: actor.id, seq: actor.committedSeq });
      if (found.length === actorsATurn) takeIn();
    }
    if (looks % actorsATurn === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  takeIn();
  return { listed, isCut };
}

/** True of one with events that may not be in its shard's file yet, and an id behind `after` and before `end`. */
function isUnsettled(
  { id, committedSeq, isSettled }: Actor,
  prefix: string,
  after: string | undefined,
  end: string | undefined,
): boolean {
  if (committedSeq === 0 || isSettled || !id.startsWith(prefix)) return false;
  if (after !== undefined && byteOrder(id, after) <= 0) return false;
  return end === undefined || byteOrder(id, end) < 0;
}

/** The first `max` of two lists that are in order, each id once, with its larger seq. */
function merged(one: readonly EntityListed[], other: readonly EntityListed[], max: number): EntityListed[] {
  const all: EntityListed[] = [];
  for (let i = 0, j = 0; all.length < max; ) {
    const a = one[i];
    const b = other[j];
    if (a === undefined && b === undefined) break;
    const order = a === undefined ? 1 : b === undefined ? -1 : byteOrder(a.id, b.id);
    if (order <= 0) i++;
    if (order >= 0) j++;
    const isFirst = b === undefined || order < 0 || (order === 0 && a !== undefined && a.seq >= b.seq);
    const listed = isFirst ? a : b;
    if (listed !== undefined) all.push(listed);
  }
  return all;
}

/** Where those begin that are behind `after`, of a list that is in order. */
function firstBehind(listed: readonly EntityListed[], after: string | undefined): number {
  let low = 0;
  let high = after === undefined ? 0 : listed.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (byteOrder(listed[middle]?.id ?? "", after ?? "") > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The order of the bytes of two well-formed texts in UTF-8. */
export function byteOrder(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let i = 0; i < length; i++) {
    const a = one.charCodeAt(i);
    const b = other.charCodeAt(i);
    if (a !== b) return rank(a) - rank(b);
  }
  return one.length - other.length;
}

/** Surrogates stand for characters that come behind all of those that are one unit. */
function rank(unit: number): number {
  return unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
