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
  readonly #begin: () => Worker;
  #workers: readonly BackupWorker[];

  constructor(count: number, begin = beginWorker) {
    this.#begin = begin;
    this.#workers = Array.from({ length: count }, () => new BackupWorker(begin()));
  }

  /**
   * Runs tasks of different shards; returns their results in the order of the tasks. After a failure the others are waited
   * for, and the first failure is thrown. In the place of a Worker that died there is a new one by the next call.
   */
  async run<T extends Task>(
    tasks: readonly T[],
    how: How,
    { onBytes, onDone }: Hearing<Extract<Result, { type: T["type"] }>>,
  ): Promise<Extract<Result, { type: T["type"] }>[]> {
    this.#workers = this.#workers.map((worker) =>
      worker.hasDied ? new BackupWorker(this.#begin()) : worker,
    );
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

function beginWorker(): Worker {
  return new Worker(new URL("./backup-worker.ts", import.meta.url));
}

/** One Worker. What it is asked is answered in order; one that died answers nothing, so nothing is asked of it. */
class BackupWorker {
  readonly #worker: Worker;
  readonly #closed: Promise<void>;
  #waiting: Waiting[] = [];
  #failure: WarpError | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = (event: MessageEvent<FromBackupWorker>) => this.#onMessage(event.data);
    worker.onerror = (event) => this.#fail(`a backup Worker died: ${event.message}`);
    this.#closed = new Promise((resolve) => {
      worker.addEventListener("close", () => {
        this.#fail("a backup Worker ended by itself");
        resolve();
      });
    });
  }

  get hasDied(): boolean {
    return this.#failure !== undefined;
  }

  run(task: Task, onBytes: Waiting["onBytes"]): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#waiting.push({ onBytes, shard: task.shard, resolve, reject });
      this.#post(task);
    });
  }

  async close(): Promise<void> {
    if (this.#failure === undefined) this.#post({ type: "close" });
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
    this.#failure ??= new WarpError("ENGINE_FAILED", why);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }

  #post(message: ToBackupWorker): void {
    this.#worker.postMessage(message);
  }
}
