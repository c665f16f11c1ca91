/**
 * The thread of a backup: tasks in, one at a time, and what became of them out.
 *
 * - What it knows of a target and a shard stays from one backup to the next, so that a small one costs little.
 * - It yields the processor to the threads that callers wait for.
 */
import { toWarpError } from "../../core/errors.ts";
import { restoreShard } from "../reading/shard-restore.ts";
import { verifyShard } from "../reading/verify.ts";
import { openTarget } from "../target/target.ts";
import { SegmentDraft } from "../writing/segment-draft.ts";
import { ShardBackup } from "../writing/shard-backup.ts";
import type { BackupTask, FromBackupWorker, ToBackupWorker } from "./messages.ts";
import { yieldProcessor } from "./niceness.ts";

declare const self: Worker;

const backups = new Map<string, ShardBackup>();
const draft = new SegmentDraft();
let last: Promise<void> = Promise.resolve();

self.onmessage = (event: MessageEvent<ToBackupWorker>) => {
  const message = event.data;
  last = last.then(() => handle(message));
};

async function handle(message: ToBackupWorker): Promise<void> {
  if (message.type === "close") {
    for (const backup of backups.values()) backup.close();
    self.onmessage = null;
    process.exit(0);
  }
  try {
    post({ type: "done", result: await run(message) });
  } catch (thrown) {
    post({ type: "failed", error: toWarpError(thrown, "IO_ERROR").toWire() });
  }
}

async function run(task: Exclude<ToBackupWorker, { type: "close" }>) {
  const target = openTarget(task.target);
  const onBytes = (bytes: number) => post({ type: "progress", bytes });
  if (task.type === "verify") return await verifyShard(target, task, onBytes);
  if (task.type === "restore") return await restoreShard(target, task, onBytes);
  yieldProcessor();
  return await backupOf(task).run(task, onBytes);
}

function backupOf(task: BackupTask): ShardBackup {
  const name = `${task.shard} ${task.target}`;
  const known = backups.get(name);
  if (known !== undefined && !task.isNewTarget) return known;
  known?.close();
  const backup = new ShardBackup(openTarget(task.target), task, draft);
  backups.set(name, backup);
  return backup;
}

function post(message: FromBackupWorker): void {
  self.postMessage(message);
}
