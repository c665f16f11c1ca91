/** A connection of the client on Node. */
import { connect } from "node:net";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { ClientSocket, SocketListener } from "./client-socket.ts";

export function dialNode(host: string, port: number, listener: SocketListener): ClientSocket {
  const socket = connect({ host, port, noDelay: true });
  let isOver = false;
  const close = (why: WarpError): void => {
    if (isOver) return;
    isOver = true;
    listener.onClosed(why);
  };
  socket.on("connect", () => {
    if (!isOver) listener.onOpen();
  });
  socket.on("data", (chunk: Buffer) => {
    if (!isOver) listener.onData(chunk);
  });
  socket.on("drain", () => {
    if (!isOver) listener.onDrain();
  });
  socket.on("error", (error) => close(toWarpError(error, "DISCONNECTED")));
  socket.on("close", () => close(new WarpError("DISCONNECTED", "the connection was closed")));
  return {
    write: (buffer, from, to) => socket.write(buffer.subarray(from, to)),
    end() {
      isOver = true;
      socket.end();
      socket.unref();
    },
    destroy() {
      isOver = true;
      socket.destroy();
    },
  };
}
