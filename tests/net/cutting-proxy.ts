/**
 * A TCP proxy that treats a connection badly, by a seed: splits what it passes on into small pieces, holds pieces back,
 * swallows what the server says and cuts the connection in the middle of anything.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Small random numbers that a seed repeats (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface CuttingProxy {
  readonly address: string;
  /** Connections that were cut so far. */
  readonly cuts: number;
  /** From now on everything passes. */
  calm(): void;
  /** Cuts every connection now. */
  cut(): void;
  close(): Promise<void>;
}

export async function openCuttingProxy(targetPort: number, seed: number): Promise<CuttingProxy> {
  const random = randomOf(seed);
  const sockets = new Set<Socket>();
  let isCalm = false;
  let cuts = 0;

  const pass = (from: Socket, to: Socket, cut: () => void): void => {
    let isDeaf = false;
    from.on("data", (chunk: Buffer) => {
      // What comes behind a piece that was swallowed must not arrive either: TCP loses the end, never the middle.
      if (isDeaf) return;
      if (isCalm) {
        to.write(chunk);
        return;
      }
      const fate = random();
      // From here on nothing of this side arrives any more, and a little later the connection is cut.
      if (fate < 0.03) isDeaf = true;
      const kept = isDeaf ? Math.floor(random() * chunk.length) : chunk.length;
      for (let at = 0; at < kept; ) {
        const size = 1 + Math.floor(random() * (random() < 0.5 ? 16 : 4096));
        to.write(chunk.subarray(at, Math.min(kept, at + size)));
        at += size;
      }
      if (isDeaf) setTimeout(cut, random() * 20);
      else if (fate < 0.06) cut();
      else if (fate < 0.2) {
        from.pause();
        setTimeout(() => from.resume(), random() * 10);
      }
    });
  };

  const server: Server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    let isCut = false;
    const cut = (): void => {
      if (isCut) return;
      isCut = true;
      cuts++;
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", cut);
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    pass(near, far, cut);
    pass(far, near, cut);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    address: `127.0.0.1:${address.port}`,
    get cuts() {
      return cuts;
    },
    calm() {
      isCalm = true;
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
