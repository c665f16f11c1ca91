/**
 * A context with a TCP server in front of it, in a directory of its own, for the tests of the network.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/logger.ts";
import { defineAggregate, reject, type StoredEvent, start, type Warp } from "../../src/index.ts";
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

/** Settings with room for records of any size; to freeze those takes long. */
export const largeSettings = {
  freeze: false,
  shards: 3,
  journal: { segmentBytes: 32 << 20, segmentsMax: 4 },
  memory: { tailBytes: 48 << 20 },
  logger: silentLogger,
} as const;

/** `wrap` may hold calls of the engine up. */
export async function serveContext(
  options: Partial<TcpOptions> = {},
  wrap: (port: EnginePort) => EnginePort = (port) => port,
  settings: typeof smallSettings | typeof largeSettings = smallSettings,
): Promise<ServedContext> {
  const dataDir = mkdtempSync(join(tmpdir(), "warp-net-"));
  const warp = await start({ ...settings, dataDir, aggregates: [counter] });
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

/** Many times the number 1: more than four times as large in MessagePack as in JSON. */
export function filled(count: number): { type: string; data: number[] } {
  return { type: "Filled", data: Array<number>(count).fill(1) };
}

/** Events that are quickly compared: of those that are {@link filled} only with how many. */
export function briefly(events: readonly StoredEvent[]): unknown[] {
  return events.map((event) => {
    const { type, data } = event;
    if (type !== "Filled" || !Array.isArray(data)) return event;
    return { ...event, data: data.every((one) => one === 1) ? data.length : "not filled" };
  });
}

/** Resolves when the condition holds; a test's time limit is the only other end. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
