/**
 * Listing entities by prefix, in the byte order of their UTF-8, over all shards.
 *
 * Pages are read from every shard and merged, and entities that only the memory knows yet are merged in. An entity
 * that is made while a listing goes on may or may not be in it.
 */
import { limits } from "../../core/limits.ts";
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

export async function* listEntities(
  parts: { readonly reading: Reading; readonly residency: Residency; readonly shards: number },
  query: EntitiesQuery,
): AsyncGenerator<EntityListed> {
  const prefix = query.prefix ?? "";
  const unsettled = unsettledIds(parts.residency, prefix);
  let after = query.after;
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  while (left > 0) {
    const page = await readPage(parts, unsettled, prefix, after);
    for (const { id, seq } of page) {
      if (seq === 0) continue;
      if (left-- <= 0) return;
      yield { id, seq };
    }
    if (page.length < limits.listPage) return;
    after = page.at(-1)?.id;
  }
}

/** The next entities of all shards together; seq 0 for one that has outcomes but no events. */
async function readPage(
  parts: { readonly reading: Reading; readonly residency: Residency; readonly shards: number },
  unsettled: ReadonlyMap<string, number>,
  prefix: string,
  after: string | undefined,
): Promise<EntityListed[]> {
  const { reading, residency, shards } = parts;
  const limit = limits.listPage;
  const pages = await Promise.all(
    Array.from({ length: shards }, (_, shard) => reading.names({ shard, prefix, after, limit })),
  );
  const found = new Map<string, number>();
  for (const names of pages) for (const { entity, seq } of names) found.set(entity, seq);
  for (const [id, seq] of unsettled) {
    if (after === undefined || byteOrder(id, after) > 0) found.set(id, Math.max(seq, found.get(id) ?? 0));
  }
  return [...found]
    .sort(([a], [b]) => byteOrder(a, b))
    .slice(0, limit)
    .map(([id, seq]) => ({ id, seq: residency.peek(id)?.committedSeq ?? seq }));
}

/** Ids that may not be in their shard's file yet, with their durable seq. */
function unsettledIds(residency: Residency, prefix: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const actor of residency.all()) {
    if (actor.committedSeq > 0 && !actor.isSettled && actor.id.startsWith(prefix)) {
      ids.set(actor.id, actor.committedSeq);
    }
  }
  return ids;
}

function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
