/**
 * What is read for exports, holds and deletions: what a shard has of an entity, and its ledger.
 */
import { join } from "node:path";
import { findInLedger, readLedgerPage } from "../files/ledger.ts";
import type { LedgerEntry } from "../files/ledger-format.ts";
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

/** An entry of the ledger, and how far its erasure is. */
export interface ListedEntry extends LedgerEntry {
  readonly isComplete: boolean;
  readonly events: number;
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
}

export interface LedgerResult {
  readonly op: "ledger";
  readonly entries: readonly ListedEntry[];
  readonly hasMore: boolean;
}

export interface ErasureResult {
  readonly op: "erasure";
  readonly found: ListedEntry | undefined;
}

interface LedgerHome {
  readonly dataDir: string;
  readonly context: string;
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
  home: LedgerHome,
): LedgerResult {
  const atLeast = view.runs.erasures.lastEntry;
  const { entries, hasMore } = readLedgerPage(placeOf(home, shard), after, limit, atLeast);
  return { op: "ledger", entries: entries.map((entry) => listed(view, entry)), hasMore };
}

/** The newest erasure of an id that was erased at a time. */
export function erasureOf(
  view: ShardView,
  { shard, erasedAt, idHash }: Request<"erasure">,
  home: LedgerHome,
): ErasureResult {
  const entry = findInLedger(placeOf(home, shard), erasedAt, idHash);
  return { op: "erasure", found: entry && listed(view, entry) };
}

function placeOf({ dataDir, context }: LedgerHome, shard: number) {
  return { path: join(shardDirectory(dataDir, shard), "ledger"), context, shard };
}

function listed(view: ShardView, entry: LedgerEntry): ListedEntry {
  const row = view.runs.erasures.find(entry.number);
  const { events = 0, runs = 0, snapshots = 0, callerKeys = 0 } = row ?? {};
  return { ...entry, isComplete: row?.state === 0, events, runs, snapshots, callerKeys };
}
