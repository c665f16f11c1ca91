/**
 * The TCP server: accepts connections, and ends those that are too slow. What a connection does is in tcp/.
 *
 * - One timer looks after the deadlines of all connections; an idle connection costs no timer and no buffer.
 * - Draining: no new connection and no new request; what is under way is answered, then the connections are closed.
 */
import type { Socket } from "bun";
import { toWarpError, WarpError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import type { EnginePort } from "./engine-port.ts";
import { Connection } from "./tcp/connection.ts";
import { digestOf } from "./tcp/dispatch.ts";
import { defaultTcpLimits, Shared, type TcpCounters, type TcpLimits } from "./tcp/shared.ts";

export interface TcpOptions {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Every hello must carry it, if it is set. */
  readonly token?: string | undefined;
  readonly limits?: Partial<TcpLimits> | undefined;
  readonly logger?: Logger | undefined;
}

export interface TcpServer {
  /** HOST:PORT, as it can be connected to. */
  readonly address: string;
  readonly port: number;
  /** Connections that are open. */
  readonly connections: number;
  /** Bytes of buffers that they hold. */
  readonly bufferBytes: number;
  readonly counters: Readonly<TcpCounters>;
  /** Refuses new work and resolves when everything under way is answered and sent. */
  drain(): Promise<void>;
  /** Closes every connection at once. */
  close(): Promise<void>;
}

const sweepMs = 1000;

/** Errors: IO_ERROR when the address cannot be listened on. */
export async function listenTcp(options: TcpOptions, port: EnginePort): Promise<TcpServer> {
  const { hostname, token, logger = silentLogger } = options;
  const own: TcpLimits = { ...defaultTcpLimits, ...options.limits };
  const shared = new Shared(port, own, logger, token === undefined ? undefined : digestOf(token));
  const listener = listen(options, shared);
  const shortest = Math.min(own.handshakeMs, own.stallMs, own.idleMs);
  const timer = setInterval(
    () => {
      const now = performance.now();
      for (const connection of shared.connections) connection.checkDeadlines(now);
    },
    Math.min(sweepMs, Math.max(1, shortest / 4)),
  );
  timer.unref();
  const bracketed = hostname.includes(":") ? `[${hostname}]` : hostname;
  return {
    address: `${bracketed}:${listener.port}`,
    port: listener.port,
    get connections() {
      return shared.connections.size;
    },
    get bufferBytes() {
      return shared.bufferBytes;
    },
    counters: shared.counters,
    async drain() {
      shared.isDraining = true;
      listener.stop(false);
      await new Promise<void>((resolve) => {
        shared.onGone = () => {
          if (shared.connections.size === 0) resolve();
        };
        shared.onGone();
        for (const connection of shared.connections) shared.markDirty(connection);
      });
      clearInterval(timer);
    },
    async close() {
      clearInterval(timer);
      listener.stop(true);
      for (const connection of shared.connections) connection.terminate();
    },
  };
}

function listen({ hostname, port }: TcpOptions, shared: Shared): Bun.TCPSocketListener<Connection> {
  try {
    return Bun.listen<Connection>({
      hostname,
      port,
      socket: {
        open: (socket) => accept(socket, shared),
        data: (socket, chunk) => socket.data.receive(chunk),
        drain: (socket) => socket.data.drained(),
        close: (socket) => socket.data.gone(),
        error: (socket, error) => {
          shared.logger.warn("a connection failed", { error: error.message });
          socket.data.terminate();
        },
      },
    });
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { hostname, port });
  }
}

function accept(socket: Socket<Connection>, shared: Shared): void {
  socket.setNoDelay(true);
  const connection = new Connection(socket, shared);
  socket.data = connection;
  const isFull = shared.connections.size >= shared.limits.connections;
  shared.connections.add(connection);
  if (isFull) {
    shared.counters.refused++;
    connection.fail(new WarpError("OVERLOADED", "too many connections", { limit: "connections" }));
  } else {
    shared.counters.accepted++;
  }
}
