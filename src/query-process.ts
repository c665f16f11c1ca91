/**
 * A process that runs queries for its parent, one after the other, and is killed when one of them takes too long.
 *
 * SQLite runs in a Worker, so that this thread notices the end of the parent whatever a query does.
 */
import type { QueryAnswer, QueryRequest } from "./projection/query/messages.ts";

export function runQueryProcess(): void {
  const worker = new Worker(new URL("./query-worker.ts", import.meta.url));
  worker.onmessage = (event: MessageEvent<QueryAnswer>) => process.send?.(event.data);
  worker.onerror = () => process.kill(process.pid, "SIGKILL");
  process.on("message", (request: QueryRequest) => worker.postMessage(request));
  // Nothing of it is worth an orderly end: its connections only read.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  // The terminal's Ctrl-C is for the parent, which decides.
  process.on("SIGINT", () => {});
}

if (import.meta.main && process.send !== undefined) runQueryProcess();
