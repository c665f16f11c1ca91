/**
 * A context with a TCP server in front of it, in a directory of its own, for the tests of the network.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/logger.ts";
import { defineAggregate, reject, start, type Warp } from "../../src/index.ts";
import type { EnginePort } from "../../src/net/engine-port.ts";
import { listenTcp, type TcpOptions, type TcpServer } from "../../src/net/tcp-server.ts";
import { enginePortOf } from "../../src/server.ts";

export type CounterEvent = { type: "Added"; data: { by: number } };

/** Counts what was added, and remembers how often. */
export const counter = defineAggregate<CounterEvent>()({
  name: "counter",
  initialState: { sum: 0, times: 0 },
  evolve: {
    Added: (state, { data }) => ({ sum: state.sum + data.by, times: state.times + 1 }),
  },
  commands: {
    add: (_, input: { by: number }) =>
      input.by < 0 ? reject("NEGATIVE", { by: input.by }) : { type: "Added", data: { by: input.by } },
  },
});

export interface ServedContext {
  readonly warp: Warp;
  readonly tcp: TcpServer;
  close(): Promise<void>;
}

/** Settings that keep a test small. */
export const smallSettings = {
  shards: 3,
  journal: { segmentBytes: 256 * 1024, segmentsMax: 8 },
  memory: { tailBytes: 1 << 20 },
  logger: silentLogger,
} as const;

/** `wrap` may hold calls of the engine up. */
export async function serveContext(
  options: Partial<TcpOptions> = {},
  wrap: (port: EnginePort) => EnginePort = (port) => port,
): Promise<ServedContext> {
  const dataDir = mkdtempSync(join(tmpdir(), "warp-net-"));
  const warp = await start({ ...smallSettings, dataDir, aggregates: [counter] });
  const tcp = await listenTcp({ hostname: "127.0.0.1", port: 0, ...options }, wrap(enginePortOf(warp)));
  return {
    warp,
    tcp,
    async close() {
      await tcp.close();
      await warp.close();
      rmSync(dataDir, { recursive: true });
    },
  };
}

/** Resolves when the condition holds; a test's time limit is the only other end. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
