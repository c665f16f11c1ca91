/**
 * The Workers of a backup: tasks of many shards, a few at a time. A shard always goes to the same Worker.
 */
import { WarpError } from "../../core/errors.ts";
import type { FromBackupWorker, ToBackupWorker } from "./messages.ts";

type Task = Exclude<ToBackupWorker, { type: "close" }>;
type Result = Extract<FromBackupWorker, { type: "done" }>["result"];

interface Waiting {
  readonly onBytes: (shard: number, bytes: number) => void;
  readonly shard: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: WarpError) => void;
}

export class BackupWorkers {
  readonly #workers: readonly BackupWorker[];

  constructor(count: number) {
    this.#workers = Array.from({ length: count }, () => new BackupWorker());
  }

  /**
   * Runs tasks of different shards, all at once or one after the other; returns their results in the order of the tasks.
   * After a failure the others are waited for, and the first failure is thrown.
   */
  async run<T extends Task>(
    tasks: readonly T[],
    onBytes: (shard: number, bytes: number) => void,
    how: "at once" | "in turn" = "at once",
  ): Promise<Extract<Result, { type: T["type"] }>[]> {
    const begin = (task: T) => this.#workers[task.shard % this.#workers.length]?.run(task, onBytes);
    const ended: PromiseSettledResult<Result | undefined>[] = [];
    const groups = how === "at once" ? [tasks] : tasks.map((task) => [task]);
    for (const group of groups) ended.push(...(await Promise.allSettled(group.map(begin))));
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
