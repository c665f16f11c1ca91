/**
 * A TCP connection as the client uses it, whatever runs it: Bun's own sockets, or those of Node.
 *
 * - One of `onClosed` is called, once; nothing is called after it, nor after {@link ClientSocket.destroy}.
 * - What is written is taken whole. `write` returns false when it had to be kept; then `onDrain` follows, and until
 *   then nothing more should be written. The bytes written must not change before they are sent, which an answer to them proves.
 * - A chunk given to `onData` belongs to the receiver until the microtasks of that turn have run.
 */
import type { WarpError } from "../../core/errors.ts";
import { dialBun } from "./bun-socket.ts";
import { dialNode } from "./node-socket.ts";

export interface SocketListener {
  onOpen(): void;
  onData(chunk: Buffer): void;
  onDrain(): void;
  onClosed(why: WarpError): void;
}

export interface ClientSocket {
  write(buffer: Buffer, from: number, to: number): boolean;
  /** Closes once everything written is sent; the process need not wait for it. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

/** Begins to connect. Bun's sockets spare the streams that Node's are made of: a fifth of the client's work. */
export function dial(host: string, port: number, listener: SocketListener): ClientSocket {
  return typeof Bun === "undefined" ? dialNode(host, port, listener) : dialBun(host, port, listener);
}
