/**
 * Listens for HTTP: Bun's server in front of the app of http/app.ts.
 *
 * `close` takes no new connection and waits for the requests under way; `abort` does not wait.
 */
import { toWarpError } from "../core/errors.ts";
import { createApp } from "./http/app.ts";
import type { HttpParts } from "./http/parts.ts";

/** A connection on which nothing moves for so long is closed. */
const idleTimeoutSeconds = 60;

export interface HttpServer {
  readonly host: string;
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
  abort(): Promise<void>;
}

/** Errors: IO_ERROR when the address cannot be had. */
export function listenHttp(options: { host: string; port: number }, parts: HttpParts): HttpServer {
  const { host, port } = options;
  const app = createApp(parts);
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      // Two servers on one port would share its connections between two data directories.
      reusePort: false,
      idleTimeout: idleTimeoutSeconds,
      // The app answers a body that is too large itself; this one ends a connection that goes on sending.
      maxRequestBodySize: parts.bodyBytesMax + 1024 * 1024,
      development: false,
      fetch: (request) => app.fetch(request),
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
