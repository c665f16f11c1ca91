/**
 * The shards of a context, opened: their writers, their tails, and what the main thread knows of each.
 */
import type { DataDirectory } from "../../core/data-directory.ts";
import { WarpError } from "../../core/errors.ts";
import type { Keyring } from "../../core/keyring.ts";
import { PeriodKeys } from "../../core/period-keys.ts";
import type { ResolvedSettings } from "../../core/settings.ts";
import { Tail } from "../../journal/tail.ts";
import { Filter } from "../../shard/files/filter.ts";
import type { ShardOpened, ShardWorkerOptions } from "../../shard/messages.ts";
import { startWriterWorker } from "../../shard/threads.ts";
import type { Folding } from "../folding.ts";
import { Settling } from "../storage/settling.ts";
import { ShardState } from "../storage/shard-state.ts";

/** How the failure of a writer is heard of. */
export interface WriterFailure {
  set(error: WarpError): void;
  /** Resolves when there is one. */
  readonly happened: Promise<WarpError>;
}

export interface Storage {
  readonly tails: readonly Tail[];
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  /** By shard: records up to this position are named. */
  readonly named: readonly number[];
  readonly workerOptions: ShardWorkerOptions;
  onSettled: () => void;
  onCheckpointed: () => void;
}

/** Starts the shard writers; each opens, or makes, the files of its shards. */
export async function openShards(
  directory: DataDirectory,
  settings: ResolvedSettings,
  keyring: Keyring,
  folding: Folding,
  failure: WriterFailure,
): Promise<Storage> {
  const { identity } = directory;
  const writers = Math.min(settings.writers, identity.shards);
  const indexes = Array.from({ length: identity.shards }, (_, index) => index);
  const workerOptions: ShardWorkerOptions = {
    dataDir: directory.path,
    context: identity.context,
    shards: indexes,
    periods: PeriodKeys.of(keyring.periods).memory,
    durability: settings.durability,
    idHashKey: keyring.idHashKey,
    create: identity.state === "creating",
    deliveryBytes: Math.floor(settings.deliveryBytes / identity.shards),
  };
  const tails = Array.from({ length: writers }, () => new Tail(settings.tailBytes));
  const opened: ShardOpened[] = [];
  const shards: ShardState[] = [];
  const named: number[] = [];
  const storage: Storage = {
    tails,
    shards,
    named,
    workerOptions,
    onSettled: () => {},
    onCheckpointed: () => {},
    settlings: tails.map(
      (tail, writer) =>
        new Settling({
          worker: startWriterWorker(),
          writer,
          tail,
          folding,
          settings,
          onSettled: () => storage.onSettled(),
          onCheckpointed: () => storage.onCheckpointed(),
          onFilter: (shard, kind, filter) => shards[shard]?.replaceFilter(kind, filter),
          onFailed: (error) => failure.set(error),
        }),
    ),
  };
  const openings = storage.settlings.map((settling, writer) => {
    const own = indexes.filter((index) => index % writers === writer);
    const tail = tails[writer]?.memory ?? new SharedArrayBuffer(0);
    return settling.open({ type: "open", options: { ...workerOptions, shards: own }, tail });
  });
  const answers = await Promise.race([Promise.all(openings), failure.happened]);
  if (answers instanceof WarpError) {
    await Promise.all(storage.settlings.map((settling) => settling.close()));
    throw answers;
  }
  opened.push(...answers.flat().sort((a, b) => a.shard - b.shard));
  for (const one of opened) {
    const shard = new ShardState({
      ...one,
      index: one.shard,
      writer: one.shard % writers,
      ids: new Filter(one.ids),
      keys: new Filter(one.keys),
      idHashKey: keyring.idHashKey,
    });
    for (const window of one.deliveries) shard.deliveries.restore(window);
    if (one.deliveriesAbsentTo !== undefined) shard.deliveries.noteAbsent(one.deliveriesAbsentTo);
    shards.push(shard);
    named.push(one.namedPosition);
    storage.settlings[shard.writer]?.adopt(shard);
  }
  return storage;
}
