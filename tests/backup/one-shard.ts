/**
 * One shard of a closed data directory, for tests of what happens to it while it is backed up: its files as its writer has
 * them, the task of a backup, and a target in which something happens before a call.
 */
import type { BackupTarget } from "../../src/backup/target/target.ts";
import { DirectoryTarget } from "../../src/backup/target/directory-target.ts";
import type { BackupTask } from "../../src/backup/work/messages.ts";
import { StopFlag } from "../../src/backup/work/stop-flag.ts";
import { SegmentDraft } from "../../src/backup/writing/segment-draft.ts";
import { ShardBackup } from "../../src/backup/writing/shard-backup.ts";
import { readIdentity } from "../../src/core/data-directory.ts";
import { openKeyring, readKeyring } from "../../src/core/keyring.ts";
import { PeriodKeys } from "../../src/core/period-keys.ts";
import { settleErasures } from "../../src/shard/erase/carry-out.ts";
import { Shard } from "../../src/shard/shard.ts";

const shard = 0;

function keysOf(dataDir: string) {
  const { context } = readIdentity(dataDir);
  const { periods, idHashKey } = openKeyring({ dataDir, context, create: false });
  return { context, periods: PeriodKeys.of(periods), idHashKey };
}

export function openShard(dataDir: string): Shard {
  const { context, periods, idHashKey } = keysOf(dataDir);
  return Shard.open(shard, {
    ...{ dataDir, context, shards: [shard], create: false, periods: periods.memory, idHashKey },
    ...{ durability: "fsync", deliveryBytes: 0 },
  });
}

export function taskOf(dataDir: string, target: string): BackupTask {
  const { incarnation } = readIdentity(dataDir);
  const { context, periods, idHashKey } = keysOf(dataDir);
  return {
    ...{ type: "backup", target, shard, context, incarnation, dataDir, idHashKey, isNewTarget: false },
    ...{ keyring: readKeyring(dataDir), periods: periods.memory },
    stop: new StopFlag().memory,
  };
}

/** Backs the shard up into a target that this directory was backed up into before. */
export async function backUpShard(
  dataDir: string,
  target: BackupTarget,
  segmentBytes?: number,
  stop = new StopFlag(),
) {
  const task = { ...taskOf(dataDir, target.name), stop: stop.memory };
  const backup = new ShardBackup(target, task, new SegmentDraft(segmentBytes));
  try {
    return await backup.run(task, () => undefined);
  } finally {
    backup.close();
  }
}

/** Erases an entity as far as its key: its rows are still to be removed (`shard.runs.erasures.sweep`). */
export function eraseKey(opened: Shard, number: number, id: string): void {
  const position = opened.runs.meta.position + 1;
  const record = { number, position, id: Buffer.from(id), events: 1, erasedAt: 1, reason: "", by: "" };
  for (const [erased, entry] of settleErasures(opened, [record]))
    opened.runs.erasures.begin(erased, position, entry, record.events);
}

/** A directory; `before` is told of every call that reads or writes an object. */
export class WatchedTarget extends DirectoryTarget {
  readonly #before: (call: "get" | "put" | "replace", object: string) => void;

  constructor(path: string, before: (call: "get" | "put" | "replace", object: string) => void) {
    super(path);
    this.#before = before;
  }

  override get(object: string, bytesMax?: number): Promise<Uint8Array | undefined> {
    this.#before("get", object);
    return super.get(object, bytesMax);
  }

  override put(object: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#before("put", object);
    return super.put(object, parts);
  }

  override replace(object: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#before("replace", object);
    return super.replace(object, parts);
  }
}
