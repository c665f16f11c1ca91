/**
 * How far the threads of a backup stand behind those that callers wait for. On Linux a niceness belongs to a thread;
 * shard writers have 10.
 */
import { setPriority } from "node:os";

export const backupNiceness = 15;

export function yieldProcessor(): void {
  if (process.platform === "linux") setPriority(0, backupNiceness);
}
