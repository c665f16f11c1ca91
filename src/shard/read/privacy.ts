/**
 * What is read for exports, holds and deletions: what a shard has of an entity, and its ledger.
 */
import { join } from "node:path";
import { type LedgerEntry, readLedger } from "../files/ledger.ts";
import type { ReadRequest } from "../messages.ts";
import { shardDirectory } from "../shard.ts";
import type { ShardView } from "./view.ts";

type Request<Op extends ReadRequest["op"]> = Extract<ReadRequest, { op: Op }>;

export interface SizesResult {
  readonly op: "sizes";
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
  readonly bytes: number;
  readonly hold: string | undefined;
}

export interface LedgerResult {
  readonly op: "ledger";
  /** Entries there are. */
  readonly count: number;
  readonly entries: readonly (LedgerEntry & {
    readonly isComplete: boolean;
    readonly events: number;
    readonly runs: number;
    readonly snapshots: number;
    readonly callerKeys: number;
  })[];
}

/** What is settled of an entity, counted. */
export function sizesOf(view: ShardView, { number, isHoldOnly }: Request<"sizes">): SizesResult {
  return view.runs.view(() => {
    const found = view.runs.holds.find(number, view.vault, view.associated.hold);
    const hold = found === undefined ? undefined : found.toString("utf8");
    const sizes = isHoldOnly ? { runs: 0, snapshots: 0, callerKeys: 0, bytes: 0 } : view.runs.sizesOf(number);
    return { op: "sizes", hold, ...sizes };
  });
}

/** Entries of a shard's ledger behind one, with how far their erasures are. Errors: CORRUPT for a broken ledger. */
export function ledgerOf(
  view: ShardView,
  { shard, after, limit }: Request<"ledger">,
  place: { readonly dataDir: string; readonly context: string },
): LedgerResult {
  const path = join(shardDirectory(place.dataDir, shard), "ledger");
  const entries = readLedger({ path, context: place.context, shard }, view.runs.erasures.lastEntry);
  const page = entries.slice(after, after + limit).map((entry) => {
    const row = view.runs.erasures.find(entry.number);
    const { events = 0, runs = 0, snapshots = 0, callerKeys = 0 } = row ?? {};
    return { ...entry, isComplete: row?.state === 0, events, runs, snapshots, callerKeys };
  });
  return { op: "ledger", entries: page, count: entries.length };
}
