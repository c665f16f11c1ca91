/**
 * Verifies a whole data directory, and writes nothing in it: its identity and keys, the journal, the shards, and that
 * the two fit together. What `warp check`, the crash tests and a restore use.
 *
 * The directory is locked meanwhile, so no other process can have it open.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readKnownTargets } from "./backup/known-targets.ts";
import { readRecordHead } from "./core/append-record.ts";
import { openDataDirectory } from "./core/data-directory.ts";
import { bytesOf } from "./core/entry.ts";
import { toWarpError, WarpError } from "./core/errors.ts";
import { type Keyring, openKeyring, type RootKeySource } from "./core/keyring.ts";
import { PeriodKeys } from "./core/period-keys.ts";
import { recordKind } from "./core/record.ts";
import { replayJournal } from "./journal/replay.ts";
import { settledPositionOf } from "./shard/check/settled-position.ts";
import { checkShards, type Finding } from "./shard/check.ts";

export type { Finding } from "./shard/check.ts";

export interface CheckSettings {
  readonly dataDir: string;
  readonly rootKey?: RootKeySource | undefined;
}

/** First and last position that the journal has of a shard. */
interface Span {
  readonly first: number;
  last: number;
}

/** What is wrong with a directory, one finding at a time. Errors: those of opening it, other than damage. */
export function* checkDirectory(settings: CheckSettings): Generator<Finding> {
  const { dataDir, rootKey } = settings;
  let unlock: (() => void) | undefined;
  try {
    const directory = openDataDirectory({
      path: dataDir,
      context: undefined,
      shards: undefined,
      create: false,
    });
    unlock = directory.unlock;
    const { context, shards: shardCount } = directory.identity;
    const keyring = openKeyring({ dataDir, context, rootKey, create: false });
    const shards = Array.from({ length: shardCount }, (_, shard) => shard);
    const periods = PeriodKeys.of(keyring.periods).memory;
    const spans = yield* checkJournal(dataDir, context, keyring, shardCount);
    yield* checkShards({ dataDir, context, shards, shardCount, periods });
    yield* compare(dataDir, spans);
    yield* checkKnownTargets(dataDir);
  } catch (thrown) {
    yield findingOf(thrown, dataDir);
  } finally {
    unlock?.();
  }
}

function* checkJournal(
  dataDir: string,
  context: string,
  keyring: Keyring,
  shardCount: number,
): Generator<Finding, Map<number, Span>> {
  const spans = new Map<number, Span>();
  const directory = join(dataDir, "journal");
  if (!existsSync(directory)) {
    yield { severity: "damage", file: "journal", what: "it is missing", details: {} };
    return spans;
  }
  const replay = { directory, context, keyOf: (period: number) => keyring.keyOf(period) };
  try {
    const blocks = replayJournal(replay);
    let step = blocks.next();
    for (; !step.done; step = blocks.next()) takePositions(step.value, shardCount, spans);
    const { hole } = step.value;
    if (hole !== undefined) {
      const what = `a block is missing or damaged, and block ${hole.behind} stands behind it: the next start drops that and all that follows`;
      yield { severity: "damage", file: hole.file, what, details: { offset: hole.offset } };
    }
  } catch (thrown) {
    yield findingOf(thrown, "journal");
  }
  return spans;
}

/** Notes the positions of a block's records. Errors: CORRUPT for a gap, or for a record that cannot be one of ours. */
function takePositions(records: Buffer, shardCount: number, spans: Map<number, Span>): void {
  const bytes = bytesOf(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at < records.length; ) {
    const { length, kind, shard, position } = readRecordHead(bytes, at);
    const isKnown = Object.values(recordKind).some((known) => known === kind);
    if (!isKnown || shard >= shardCount || length === 0) {
      const what = `it holds a record of kind ${kind} for shard ${shard}`;
      throw new WarpError("CORRUPT", what, { file: "journal", shard, position });
    }
    const span = spans.get(shard);
    if (span !== undefined && position !== span.last + 1) {
      const what = `shard ${shard} goes from position ${span.last} to ${position}`;
      throw new WarpError("CORRUPT", what, { file: "journal", shard, position });
    }
    if (span === undefined) spans.set(shard, { first: position, last: position });
    else span.last = position;
    at += length;
  }
}

/** Nothing may be missing between what a shard has settled and what the journal begins with. */
function* compare(dataDir: string, spans: ReadonlyMap<number, Span>): Generator<Finding> {
  for (const [shard, { first }] of spans) {
    const settled = settledPositionOf(dataDir, shard);
    if (settled === undefined || first <= settled + 1) continue;
    const what = `shard ${shard} is settled up to position ${settled}, and the journal begins at ${first}`;
    yield { severity: "damage", file: "journal", what, details: { shard, position: first } };
  }
}

function* checkKnownTargets(dataDir: string): Generator<Finding> {
  try {
    readKnownTargets(dataDir);
  } catch (thrown) {
    yield { ...findingOf(thrown, dataDir), file: "backups.json" };
  }
}

function findingOf(thrown: unknown, file: string): Finding {
  const error = toWarpError(thrown, "IO_ERROR");
  if (error.code !== "CORRUPT") throw error;
  const { file: named, ...details } = error.details;
  return { severity: "damage", file: String(named ?? file), what: error.message, details };
}
