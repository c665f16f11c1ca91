/**
 * The processes that run queries over embedded rows.
 *
 * - SQLite cannot be told to stop a query from outside of its thread, and a thread cannot be ended in it. A process can: a
 *   query that takes too long is killed with it, and nobody else notices. It holds nothing but read-only connections.
 * - One query a process at a time; what comes meanwhile waits, and its waiting counts.
 * - A process ends with its parent, whatever it does, and by itself when it has been idle for a while.
 */
import type { Subprocess } from "bun";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { QueryAnswer, QueryRequest, QueryResult } from "./messages.ts";

const processesMax = 2;
const waitingMax = 64;
const idleMs = 30_000;

interface Waiting {
  readonly request: QueryRequest;
  readonly resolve: (result: QueryResult) => void;
  readonly reject: (error: WarpError) => void;
  readonly timer: NodeJS.Timeout;
  process: QueryProcess | undefined;
  isDone: boolean;
}

interface QueryProcess {
  readonly child: Subprocess;
  serves: Waiting | undefined;
  idle: NodeJS.Timeout | undefined;
}

export class QueryPool {
  readonly #command: () => readonly string[];
  readonly #processes = new Set<QueryProcess>();
  readonly #waiting: Waiting[] = [];
  #nextId = 1;
  #isClosed = false;

  /** `command` starts a process that is query-process.ts. */
  constructor(command: () => readonly string[]) {
    this.#command = command;
  }

  /** Errors: QUERY_FAILED, TIMEOUT, OVERLOADED, CLOSED. */
  run(request: Omit<QueryRequest, "id">, timeoutMs: number): Promise<QueryResult> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
      if (this.#waiting.length >= waitingMax) {
        throw new WarpError("OVERLOADED", "too many queries wait", { limit: waitingMax });
      }
      const timer = setTimeout(() => this.#expire(waiting, timeoutMs), timeoutMs);
      const waiting: Waiting = {
        request: { ...request, id: this.#nextId++ },
        resolve,
        reject,
        timer,
        process: undefined,
        isDone: false,
      };
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0))
      this.#end(waiting, new WarpError("CLOSED", "this context is closed"));
    for (const process of this.#processes) {
      if (process.serves !== undefined)
        this.#end(process.serves, new WarpError("CLOSED", "this context is closed"));
      process.child.kill("SIGKILL");
    }
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      let free: QueryProcess | undefined;
      for (const process of this.#processes) if (process.serves === undefined) free = process;
      if (free === undefined && this.#processes.size < processesMax) free = this.#start();
      if (free === undefined) return;
      const waiting = this.#waiting.shift();
      if (waiting === undefined) return;
      clearTimeout(free.idle);
      free.serves = waiting;
      waiting.process = free;
      free.child.send(waiting.request);
    }
  }

  #start(): QueryProcess {
    const child: Subprocess = Bun.spawn([...this.#command()], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "inherit",
      serialization: "advanced",
      ipc: (answer: QueryAnswer) => this.#answered(process, answer),
      onExit: () => this.#exited(process),
    });
    child.unref();
    const process: QueryProcess = { child, serves: undefined, idle: undefined };
    this.#processes.add(process);
    return process;
  }

  #answered(process: QueryProcess, answer: QueryAnswer): void {
    const waiting = process.serves;
    if (waiting === undefined || waiting.request.id !== answer.id) return;
    process.serves = undefined;
    process.idle = setTimeout(() => {
      this.#processes.delete(process);
      process.child.kill("SIGKILL");
    }, idleMs);
    process.idle.unref();
    if ("error" in answer) this.#end(waiting, WarpError.fromWire(answer.error));
    else this.#end(waiting, undefined, answer.result);
    this.#next();
  }

  #exited(process: QueryProcess): void {
    clearTimeout(process.idle);
    this.#processes.delete(process);
    const waiting = process.serves;
    if (waiting !== undefined) {
      this.#end(waiting, new WarpError("QUERY_FAILED", "the process that ran the query ended"));
    }
    if (!this.#isClosed) this.#next();
  }

  #expire(waiting: Waiting, timeoutMs: number): void {
    const at = this.#waiting.indexOf(waiting);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.#end(
      waiting,
      new WarpError("TIMEOUT", `the query did not end within ${timeoutMs} ms`, { timeoutMs }),
    );
    const { process } = waiting;
    if (process?.serves !== waiting) return;
    process.serves = undefined;
    // Not for the next one before it is gone.
    this.#processes.delete(process);
    process.child.kill("SIGKILL");
    this.#next();
  }

  #end(waiting: Waiting, error: WarpError | undefined, result?: QueryResult): void {
    if (waiting.isDone) return;
    waiting.isDone = true;
    clearTimeout(waiting.timer);
    if (result === undefined) waiting.reject(toWarpError(error, "QUERY_FAILED"));
    else waiting.resolve(result);
  }
}
