/**
 * How far the threads of a backup stand behind those that callers wait for. On Linux a niceness belongs to a thread;
 * shard writers have 10.
 *
 * A niceness alone does not keep a thread from finishing its slice of 3 ms on the processor where the main thread wakes up. So
 * it asks for short slices: with them the main thread waited 33 to 43 ms of a second more beside a backup at full load, without
 * them 57 to 59.
 */
import { setPriority } from "node:os";
import { askForShortSlices } from "../../journal/short-slices.ts";

export const backupNiceness = 15;

let hasYielded = false;

/** For the thread that calls it, from now on. */
export function yieldProcessor(): void {
  if (process.platform !== "linux" || hasYielded) return;
  setPriority(0, backupNiceness);
  askForShortSlices();
  hasYielded = true;
}
