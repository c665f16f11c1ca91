/**
 * Queries over what projections have made: waits for the rows to be there, then asks the database that holds them.
 */
import { decodeCursor } from "../../core/cursor.ts";
import { WarpError } from "../../core/errors.ts";
import type { FeedSource } from "../../core/feed.ts";
import { limits } from "../../core/limits.ts";
import type { Projections, QueryPlace } from "../projections.ts";
import { RemoteQueries } from "./elsewhere.ts";
import type { QueryParam, QueryResult } from "./messages.ts";
import type { QueryPool } from "./pool.ts";

/** The place of a write: the result of an append, or a cursor. */
export type After = string | { readonly shard: number; readonly position: number };

export interface QueryOptions {
  /** Waits until the rows are past this. */
  readonly after?: After | readonly After[] | undefined;
  /** For all of it, waiting included; 10 s by default. */
  readonly timeoutMs?: number | undefined;
  /** Rows at most, 10,000 by default; `isTruncated` says that there were more. */
  readonly rows?: number | undefined;
  /** Bytes of values at most, about; 64 MiB by default. */
  readonly bytes?: number | undefined;
  /** The sink to ask, by its name in the settings; the embedded one by default. */
  readonly sink?: string | undefined;
}

export class Queries {
  readonly #projections: Projections;
  readonly #source: FeedSource;
  readonly #pool: QueryPool;
  readonly #remote = new RemoteQueries();

  constructor(projections: Projections, source: FeedSource, pool: QueryPool) {
    this.#projections = projections;
    this.#source = source;
    this.#pool = pool;
  }

  /** Errors: INVALID_ARGUMENT, CURSOR_FOREIGN, CONFIG_MISMATCH, TIMEOUT, QUERY_FAILED, SINK_UNAVAILABLE, OVERLOADED, CLOSED. */
  async run(
    sql: string,
    params: readonly QueryParam[] = [],
    {
      after,
      timeoutMs = limits.queryMs,
      rows = limits.queryRows,
      bytes = limits.queryBytesLocal,
      sink,
    }: QueryOptions = {},
  ): Promise<QueryResult> {
    if (typeof sql !== "string" || sql === "") throw new WarpError("INVALID_ARGUMENT", "a query is SQL text");
    requireWhole("timeoutMs", timeoutMs, limits.queryMsMax);
    requireWhole("rows", rows, limits.queryRowsMax);
    requireWhole("bytes", bytes, Number.MAX_SAFE_INTEGER);
    const deadline = performance.now() + timeoutMs;
    const positions = after === undefined ? undefined : positionsOf(after, this.#source);
    const what = { sql, params, rowsMax: rows, bytesMax: bytes };
    for (;;) {
      const left = Math.max(1, Math.ceil(deadline - performance.now()));
      const place = await this.#projections.placeFor(sink, positions, left);
      const rest = Math.max(1, Math.ceil(deadline - performance.now()));
      if (place.kind !== "sqlite") return await this.#remote.run(place, { ...what, timeoutMs: rest });
      try {
        return await this.#pool.run({ place, ...what }, rest);
      } catch (thrown) {
        // A build may have taken another's place, and that one's file be gone, before it was opened.
        const isStale = pathsOf(place) !== pathsOf(await this.#projections.placeFor(sink, undefined, rest));
        if (!isStale || !(thrown instanceof WarpError) || thrown.code !== "QUERY_FAILED") throw thrown;
      }
    }
  }

  async close(): Promise<void> {
    this.#pool.close();
    await this.#remote.close();
  }
}

function pathsOf(place: QueryPlace): string {
  return place.kind === "sqlite" ? place.files.map(({ path }) => path).join("\n") : "";
}

/** A position for every shard; 0 for one that is not asked for. Errors: INVALID_ARGUMENT, CURSOR_FOREIGN. */
function positionsOf(after: After | readonly After[], source: FeedSource): number[] {
  const positions = new Array<number>(source.shards).fill(0);
  const raise = (shard: number, position: number) => {
    if (!(shard in positions) || !Number.isSafeInteger(position)) {
      throw new WarpError("INVALID_ARGUMENT", `there is no position ${position} of shard ${shard}`);
    }
    positions[shard] = Math.max(positions[shard] ?? 0, position);
  };
  for (const one of isList(after) ? after : [after]) {
    if (typeof one !== "string") raise(one.shard, one.position);
    else for (const [shard, position] of decodeCursor(one, source).entries()) raise(shard, position ?? 0);
  }
  return positions;
}

function isList(after: After | readonly After[]): after is readonly After[] {
  return Array.isArray(after);
}

function requireWhole(name: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return;
  throw new WarpError("INVALID_ARGUMENT", `${name} is a whole number from 1 to ${max}, not ${String(value)}`);
}
