/**
 * Which processors threads run on, as `taskset` shows and sets it from outside (Linux: sched_setaffinity(2), sched_getcpu(3),
 * proc(5)). On other systems nothing is known and nothing is done.
 *
 * A thread is known by its number in the system.
 */
import { dlopen, ptr } from "bun:ffi";
import { readFileSync, readlinkSync } from "node:fs";

/** As many processors as the C library's own set has. */
const maskBytes = 128;

/** The number of the calling thread; 0 where the system does not tell. */
export function currentThread(): number {
  if (process.platform !== "linux") return 0;
  return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
}

/** The processors that a thread of this process may run on, ascending; none where the system does not tell, or it has ended. */
export function allowedProcessors(thread = currentThread()): number[] {
  if (process.platform !== "linux") return [];
  let status: string;
  try {
    status = readFileSync(`/proc/self/task/${thread}/status`, "utf8");
  } catch {
    return [];
  }
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** Lets a thread, of this process or another one, run on these processors alone. False when the system does not. */
export function runOn(thread: number, processors: readonly number[]): boolean {
  const mask = new Uint8Array(maskBytes);
  for (const processor of processors) {
    mask[processor >> 3] = (mask[processor >> 3] ?? 0) | (1 << (processor & 7));
  }
  return library()?.symbols.sched_setaffinity(thread, maskBytes, ptr(mask)) === 0;
}

/** The processor that the calling thread is on at this moment; -1 where the system does not tell. */
export function currentProcessor(): number {
  return library()?.symbols.sched_getcpu() ?? -1;
}

let opened: ReturnType<typeof open> | undefined;

function library(): ReturnType<typeof open> | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    opened ??= open();
  } catch {
    // A C library of another name, or a system that forbids generated code: then without.
  }
  return opened;
}

function open() {
  return dlopen("libc.so.6", {
    sched_setaffinity: { args: ["i32", "u64", "ptr"], returns: "i32" },
    sched_getcpu: { args: [], returns: "i32" },
  });
}
