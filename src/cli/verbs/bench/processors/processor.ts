/**
 * How much processor a stretch of time took: by this process or another one of this machine, and where the kernel tells
 * (Linux) by each of its threads.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

export interface ProcessorUse {
  /** Processors kept busy, on average. */
  readonly busy: number;
  /** `busy` as a share of all processors, 0 to 1. */
  readonly share: number;
  /** Threads that kept at least a hundredth of a processor busy, the busiest first; empty where nobody tells. */
  readonly threads: readonly { readonly name: string; readonly busy: number }[];
}

interface ThreadTime {
  readonly name: string;
  readonly ns: number;
}

/** The unit of times in `/proc/PID/stat`; the same on every machine that this program runs on. */
const ticksPerSecond = 100;

export class Processor {
  readonly #workerNames: readonly string[];
  readonly #begun = performance.now();
  readonly #pid: number;
  readonly #usedMs: number;
  readonly #threads: ReadonlyMap<string, ThreadTime>;

  /** Names of the process's Workers in the order in which they were started. Of another process only Linux tells. */
  constructor(workerNames: readonly string[], pid: number = process.pid) {
    this.#workerNames = workerNames;
    this.#pid = pid;
    this.#usedMs = usedMs(pid);
    this.#threads = threadTimes(pid, workerNames);
  }

  /** What was used since this was made. */
  use(): ProcessorUse {
    const elapsedMs = performance.now() - this.#begun;
    const busy = (usedMs(this.#pid) - this.#usedMs) / elapsedMs;
    const threads = [...threadTimes(this.#pid, this.#workerNames)]
      .map(([id, { name, ns }]) => ({
        name,
        busy: (ns - (this.#threads.get(id)?.ns ?? 0)) / 1e6 / elapsedMs,
      }))
      .filter((thread) => thread.busy >= 0.01)
      .sort((a, b) => b.busy - a.busy);
    return { ...busyProcessors(busy), threads };
  }
}

/** Processors kept busy, and the share of all that this is. */
export function busyProcessors(busy: number): { readonly busy: number; readonly share: number } {
  return { busy, share: busy / availableParallelism() };
}

/** Processor time of a process so far, user and system; 0 for one that has ended. */
function usedMs(pid: number): number {
  if (pid === process.pid) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  }
  // The second field is the name in parentheses, which may hold anything; utime and stime are the 14th and 15th.
  const stat = readText(`/proc/${pid}/stat`) ?? "";
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 1000) / ticksPerSecond;
}

/** By thread id, which grows with every start; the main thread is called `main`. */
function threadTimes(pid: number, workerNames: readonly string[]): Map<string, ThreadTime> {
  const times = new Map<string, ThreadTime>();
  if (process.platform !== "linux") return times;
  const folder = `/proc/${pid}/task`;
  if (!existsSync(folder)) return times;
  let workers = 0;
  const ids = readdirSync(folder).sort((a, b) => Number(a) - Number(b));
  for (const id of ids) {
    const name = readText(`${folder}/${id}/comm`);
    const ns = Number(readText(`${folder}/${id}/schedstat`)?.split(" ")[0]);
    if (name === undefined || Number.isNaN(ns)) continue;
    const isMain = id === String(pid);
    times.set(id, {
      name: isMain ? "main" : name === "Worker" ? (workerNames[workers++] ?? name) : name,
      ns,
    });
  }
  return times;
}

/** Undefined when the thread has ended meanwhile. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
