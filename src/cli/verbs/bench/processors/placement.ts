/**
 * Which processors a thread may run on, as `taskset` sets it from outside (Linux, sched_setaffinity(2)).
 *
 * Client and server of a run wake each other thousands of times a second. A scheduler that puts who is woken beside who wakes
 * has the two wait for one processor while the other idles (docs/decisions/0012); kept apart, they do not.
 */
import { dlopen, ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { UsageError } from "../../../exit.ts";

/** As many processors as the C library's own set has. */
const maskBytes = 128;

/** The processors that the calling thread may run on, ascending; none where the system does not tell. */
export function allowedProcessors(): number[] {
  if (process.platform !== "linux") return [];
  const status = readFileSync("/proc/thread-self/status", "utf8");
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** Lets a thread, 0 for the calling one, run on these processors alone. False when the system does not. */
export function runOn(thread: number, processors: readonly number[]): boolean {
  if (process.platform !== "linux") return false;
  const mask = new Uint8Array(maskBytes);
  for (const processor of processors) {
    mask[processor >> 3] = (mask[processor >> 3] ?? 0) | (1 << (processor & 7));
  }
  const library = dlopen("libc.so.6", {
    sched_setaffinity: { args: ["i32", "u64", "ptr"], returns: "i32" },
  });
  const status = library.symbols.sched_setaffinity(thread, maskBytes, ptr(mask));
  library.close();
  return status === 0;
}

/**
 * Keeps the main thread of the server `pid` and this thread on processors of their own; all other threads run where they
 * ran. What it returns lets this thread go again. Errors: UsageError where that cannot be done.
 */
export function keepApart(pid: number): () => void {
  const allowed = allowedProcessors();
  const [first] = allowed;
  const last = allowed.at(-1);
  if (first === undefined || last === undefined || first === last || !runOn(pid, [first])) {
    throw new UsageError("--apart needs Linux and two processors");
  }
  runOn(0, [last]);
  return () => runOn(0, allowed);
}
