/**
 * A peer that sends any bytes: what a client in another language, or a hostile one, is to the server.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { decode, encode } from "@msgpack/msgpack";

/** A frame of anything that MessagePack holds. */
export function frameOf(content: unknown): Buffer {
  return framed(encode(content));
}

export function framed(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeUInt32BE(body.length);
  frame.set(body, 4);
  return frame;
}

/** Appends in one frame: for each the number of its entity and the bytes of its data; the data of all one behind the other. */
export function appendsFrame(
  id: number,
  heads: readonly (readonly [number, number])[],
  data: string | Uint8Array,
  delivery: readonly number[] | null = null,
): Buffer {
  const bytes = Buffer.alloc(heads.length * 8);
  for (const [i, [entity, length]] of heads.entries()) {
    bytes.writeUInt32BE(entity, i * 8);
    bytes.writeUInt32BE(length, i * 8 + 4);
  }
  return frameOf([0, id, 32, "Added", delivery, Buffer.from(data as string), bytes]);
}

/** Event data as a peer without any of Warp's code writes it. */
export function jsonValue(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value)));
}

export class RawPeer {
  readonly socket: Socket;
  /** Frames that came and were not asked for yet. */
  readonly #frames: unknown[][] = [];
  #bytes = Buffer.alloc(0);
  #waiting: (() => void) | undefined;
  isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#waiting?.();
    });
  }

  static async open(port: number): Promise<RawPeer> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const peer = new RawPeer(socket);
    await once(socket, "connect");
    return peer;
  }

  /** Connects and is welcomed. */
  static async greeted(port: number): Promise<RawPeer> {
    const peer = await RawPeer.open(port);
    peer.send(frameOf([0, 1, 0, 1]));
    const welcome = await peer.next();
    if (welcome?.[0] !== 1) throw new Error(`not welcomed: ${JSON.stringify(welcome)}`);
    return peer;
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next frame; undefined when the server has closed. */
  async next(): Promise<unknown[] | undefined> {
    while (this.#frames.length === 0 && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    return this.#frames.shift();
  }

  async untilClosed(): Promise<void> {
    while ((await this.next()) !== undefined);
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE(0)) {
      const end = 4 + this.#bytes.readUInt32BE(0);
      this.#frames.push(decode(this.#bytes.subarray(4, end)) as unknown[]);
      this.#bytes = this.#bytes.subarray(end);
    }
    this.#waiting?.();
  }
}
