/**
 * Listens for HTTP: Bun's server in front of the app of http/app.ts.
 *
 * `close` takes no new connection and waits for the requests under way; `abort` does not wait.
 */
import { toWarpError } from "../core/errors.ts";
import { createApp } from "./http/app.ts";
import type { HttpParts } from "./http/parts.ts";

/** A connection on which nothing moves for so long is closed, unless the server is at work for it. */
const idleTimeoutSeconds = 60;

export interface HttpServer {
  readonly host: string;
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
  abort(): Promise<void>;
}

export interface HttpListening {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** By which it is also called, in lower case, where only this machine can reach it. */
  readonly names?: readonly string[] | undefined;
  readonly idleTimeoutSeconds?: number;
}

/** Errors: IO_ERROR when the address cannot be had. */
export function listenHttp(options: HttpListening, parts: HttpParts): HttpServer {
  const { host, port, names = [], idleTimeoutSeconds: idle = idleTimeoutSeconds } = options;
  const app = createApp(parts, host, names);
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      // Two servers on one port would share its connections between two data directories.
      reusePort: false,
      idleTimeout: idle,
      // The app refuses a body that is too large, and says so. What it does not read, Bun lets wait or drops.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      fetch: async (request, server) => {
        // A body that does not come is the peer's doing; an answer that takes its time is not.
        const isWhole = request.body === null;
        if (isWhole) server.timeout(request, 0);
        const response = await app.fetch(request);
        if (isWhole) server.timeout(request, idle);
        return response;
      },
    });
    return {
      host: server.hostname ?? host,
      port: server.port ?? port,
      close: () => server.stop(false),
      abort: () => server.stop(true),
    };
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { listen: `${host}:${port}` });
  }
}
