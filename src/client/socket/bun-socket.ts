/**
 * A connection of the client on Bun: its own sockets.
 *
 * A write takes what the kernel takes; the rest is copied and sent when there is room, in order.
 */
import type { Socket } from "bun";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { ClientSocket, SocketListener } from "./client-socket.ts";

const nothing = Buffer.alloc(0);

export function dialBun(host: string, port: number, listener: SocketListener): ClientSocket {
  const socket = new BunSocket(listener);
  Bun.connect<BunSocket>({ hostname: host, port, data: socket, socket: handler }).catch((thrown: unknown) =>
    socket.closed(toWarpError(thrown, "DISCONNECTED")),
  );
  return socket;
}

const handler: Bun.SocketHandler<BunSocket> = {
  open: (socket) => socket.data.opened(socket),
  data: (socket, chunk) => socket.data.received(chunk),
  drain: (socket) => socket.data.drained(),
  close: (socket) => socket.data.closed(new WarpError("DISCONNECTED", "the connection was closed")),
  error: (socket, error) => socket.data.failed(error),
  connectError: (socket, error) => socket.data.closed(toWarpError(error, "DISCONNECTED")),
};

class BunSocket implements ClientSocket {
  readonly #listener: SocketListener;
  #socket: Socket<BunSocket> | undefined;
  /** What the kernel has not taken yet. */
  #unsent: Buffer = nothing;
  #isOver = false;
  #isEnding = false;

  constructor(listener: SocketListener) {
    this.#listener = listener;
  }

  write(buffer: Buffer, from: number, to: number): boolean {
    const isFirst = this.#unsent.length === 0;
    const taken = isFirst ? this.#send(buffer, from, to) : 0;
    if (taken === to - from) return true;
    const rest = buffer.subarray(from + taken, to);
    this.#unsent = isFirst ? Buffer.from(rest) : Buffer.concat([this.#unsent, rest]);
    return false;
  }

  end(): void {
    this.#isOver = true;
    this.#isEnding = true;
    this.#socket?.unref();
    if (this.#unsent.length === 0) this.#socket?.end();
  }

  destroy(): void {
    this.#isOver = true;
    this.#socket?.terminate();
  }

  opened(socket: Socket<BunSocket>): void {
    this.#socket = socket;
    if (this.#isOver) {
      socket.terminate();
      return;
    }
    socket.setNoDelay(true);
    this.#listener.onOpen();
  }

  received(chunk: Buffer): void {
    if (!this.#isOver) this.#listener.onData(chunk);
  }

  drained(): void {
    const unsent = this.#unsent;
    if (unsent.length > 0) {
      const taken = this.#send(unsent, 0, unsent.length);
      this.#unsent = taken === unsent.length ? nothing : unsent.subarray(taken);
    }
    if (this.#unsent.length > 0) return;
    if (this.#isEnding) this.#socket?.end();
    else if (!this.#isOver) this.#listener.onDrain();
  }

  /** A handler threw, which is a mistake of this program: the connection is not used any more. */
  failed(error: Error): void {
    this.#socket?.terminate();
    this.closed(toWarpError(error, "DISCONNECTED"));
  }

  closed(why: WarpError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.onClosed(why);
  }

  /** Bytes that the kernel took; a socket that has closed takes none, and says so by `close`. */
  #send(buffer: Buffer, from: number, to: number): number {
    return Math.max(0, this.#socket?.write(buffer, from, to - from) ?? 0);
  }
}
