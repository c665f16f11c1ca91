/**
 * How much processor a stretch of time took: by the process, and where the kernel tells (Linux) by each of its threads.
 */
import { readdirSync, readFileSync } from "node:fs";
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

const threadsFolder = "/proc/self/task";

export class Processor {
  readonly #workerNames: readonly string[];
  readonly #begun = performance.now();
  readonly #usage = process.cpuUsage();
  readonly #threads: ReadonlyMap<string, ThreadTime>;

  /** Names of this process's Workers in the order in which they were started. */
  constructor(workerNames: readonly string[]) {
    this.#workerNames = workerNames;
    this.#threads = threadTimes(workerNames);
  }

  /** What was used since this was made. */
  use(): ProcessorUse {
    const elapsedMs = performance.now() - this.#begun;
    const { user, system } = process.cpuUsage(this.#usage);
    const busy = (user + system) / 1000 / elapsedMs;
    const threads = [...threadTimes(this.#workerNames)]
      .map(([id, { name, ns }]) => ({
        name,
        busy: (ns - (this.#threads.get(id)?.ns ?? 0)) / 1e6 / elapsedMs,
      }))
      .filter((thread) => thread.busy >= 0.01)
      .sort((a, b) => b.busy - a.busy);
    return { busy, share: busy / availableParallelism(), threads };
  }
}

/** By thread id, which grows with every start; the main thread is called `main`. */
function threadTimes(workerNames: readonly string[]): Map<string, ThreadTime> {
  const times = new Map<string, ThreadTime>();
  if (process.platform !== "linux") return times;
  let workers = 0;
  const ids = readdirSync(threadsFolder).sort((a, b) => Number(a) - Number(b));
  for (const id of ids) {
    const name = readText(`${threadsFolder}/${id}/comm`);
    const ns = Number(readText(`${threadsFolder}/${id}/schedstat`)?.split(" ")[0]);
    if (name === undefined || Number.isNaN(ns)) continue;
    const isMain = id === String(process.pid);
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
