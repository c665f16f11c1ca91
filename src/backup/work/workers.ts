/**
 * The Workers of a backup: tasks of many shards, a few at a time. For a backup, a shard always goes to the same Worker, which
 * remembers it; where nothing is remembered, to whichever is free.
 */
import { WarpError } from "../../core/errors.ts";
import type { FromBackupWorker, ToBackupWorker } from "./messages.ts";

type Task = Exclude<ToBackupWorker, { type: "close" }>;
type Result = Extract<FromBackupWorker, { type: "done" }>["result"];

/**
 * "at once": a Worker has the shards that are its own, one after the other. "in turn": one shard at a time, by the Worker whose own it
 * is. "by whoever is free": a Worker begins the next shard when it has ended one.
 */
type How = "at once" | "in turn" | "by whoever is free";

interface Waiting {
  readonly onBytes: (shard: number, bytes: number) => void;
  readonly shard: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: WarpError) => void;
}

interface Hearing<Done> {
  readonly onBytes: (shard: number, bytes: number) => void;
  readonly onDone?: (done: Done) => void;
}

export class BackupWorkers {
  readonly #workers: readonly BackupWorker[];

  constructor(count: number) {
    this.#workers = Array.from({ length: count }, () => new BackupWorker());
  }

  /**
   * Runs tasks of different shards; returns their results in the order of the tasks. After a failure the others are waited
   * for, and the first failure is thrown.
   */
  async run<T extends Task>(
    tasks: readonly T[],
    how: How,
    { onBytes, onDone }: Hearing<Extract<Result, { type: T["type"] }>>,
  ): Promise<Extract<Result, { type: T["type"] }>[]> {
    const ended: PromiseSettledResult<Result>[] = [];
    const ownerOf = ({ shard }: T) => this.#workers[shard % this.#workers.length] as BackupWorker;
    const drain = async (queue: Iterable<[number, T]>, workerOf: (task: T) => BackupWorker) => {
      for (const [at, task] of queue) {
        const [end] = await Promise.allSettled([workerOf(task).run(task, onBytes)]);
        ended[at] = end;
        if (end.status === "fulfilled") onDone?.(end.value as Extract<Result, { type: T["type"] }>);
      }
    };
    const queue = [...tasks.entries()];
    if (how === "in turn") {
      await drain(queue, ownerOf);
    } else {
      const shared = queue.values();
      const queueOf = (worker: BackupWorker) =>
        how === "at once" ? queue.filter(([, task]) => ownerOf(task) === worker) : shared;
      await Promise.all(this.#workers.map((worker) => drain(queueOf(worker), () => worker)));
    }
    return ended.map((end) => {
      if (end.status === "rejected") throw end.reason;
      return end.value as Extract<Result, { type: T["type"] }>;
    });
  }

  /** Finishes what is under way and ends the Workers. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

/** One Worker. What it is asked is answered in order. */
class BackupWorker {
  readonly #worker = new Worker(new URL("./backup-worker.ts", import.meta.url));
  readonly #closed: Promise<void>;
  #waiting: Waiting[] = [];

  constructor() {
    const worker = this.#worker;
    worker.onmessage = (event: MessageEvent<FromBackupWorker>) => this.#onMessage(event.data);
    worker.onerror = (event) => this.#fail(`a backup Worker died: ${event.message}`);
    this.#closed = new Promise((resolve) => {
      worker.addEventListener("close", () => {
        this.#fail("a backup Worker ended by itself");
        resolve();
      });
    });
  }

  run(task: Task, onBytes: Waiting["onBytes"]): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ onBytes, shard: task.shard, resolve, reject });
      this.#post(task);
    });
  }

  async close(): Promise<void> {
    this.#post({ type: "close" });
    await this.#closed;
  }

  #onMessage(message: FromBackupWorker): void {
    const waiting = this.#waiting[0];
    if (waiting === undefined) return;
    if (message.type === "progress") {
      waiting.onBytes(waiting.shard, message.bytes);
      return;
    }
    this.#waiting.shift();
    if (message.type === "done") waiting.resolve(message.result);
    else waiting.reject(WarpError.fromWire(message.error));
  }

  #fail(why: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new WarpError("ENGINE_FAILED", why));
  }

  #post(message: ToBackupWorker): void {
    this.#worker.postMessage(message);
  }
}
