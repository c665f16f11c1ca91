/**
 * An engine behind a server, as what a run drives: callers share one connection of the client library, or take turns on
 * several.
 *
 * - The processor time of a child is the kernel's account of it; of another server what its metrics say, if it is told
 *   where they are.
 * - The window that is closed is closed first for the client and a child, then the metrics are asked.
 */
import { type Client, connect } from "../../../client/client.ts";
import { type EngineSettings, workerNamesOf } from "./in-process.ts";
import { keepApart } from "./processors/apart.ts";
import { busyProcessors, Processor } from "./processors/processor.ts";
import { readServerMetrics, type ServerMetrics } from "./server-metrics.ts";
import { startServerProcess } from "./server-process.ts";
import type { EntitySource, Readings, ServerFacts, Subject } from "./subject.ts";

interface Reachable {
  readonly address: string;
  /** URL of HTTP, or undefined. */
  readonly http: string | undefined;
  /** Of a child. */
  readonly pid?: number;
  readonly workerNames?: readonly string[];
  stop(): Promise<void>;
}

const connectTimeoutMs = 5000;

/** Starts a server and connects to it; closing stops it. `isApart` keeps it and this client on processors of their own. */
export async function openChild(
  settings: EngineSettings,
  connections: number,
  isApart: boolean,
): Promise<Subject> {
  const child = await startServerProcess(settings);
  let release = () => {};
  const stop = async () => {
    release();
    await child.stop();
  };
  try {
    if (isApart) release = keepApart(child.pid);
    const workerNames = workerNamesOf(settings.writers);
    return await openReachable({ ...child, workerNames, stop }, connections);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

/** Connects to a server that runs; `http` (HOST:PORT or URL) is where it tells its metrics. */
export function openServer(address: string, http: string | undefined, connections: number): Promise<Subject> {
  const url = http === undefined || http.includes("://") ? http : `http://${http}`;
  return openReachable({ address, http: url, stop: async () => {} }, connections);
}

async function openReachable(server: Reachable, connections: number): Promise<Subject> {
  const { address, http, pid } = server;
  const clients: Client[] = [];
  for (let i = 0; i < connections; i++) {
    clients.push(await connect({ address, connectTimeoutMs, name: "warp bench" }));
  }
  const facts: ServerFacts = {
    address,
    isChild: pid !== undefined,
    aggregates: clients[0]?.server?.aggregates ?? [],
  };
  const metrics = async () => (http === undefined ? undefined : await readServerMetrics(http));
  let closing: Promise<void> | undefined;
  return {
    source: inTurns(clients),
    server: facts,
    async measure() {
      const before = await metrics();
      const begun = performance.now();
      const ofServer = pid === undefined ? undefined : processorOf(pid, server.workerNames);
      const ofClient = new Processor([]);
      return async () => {
        const clientUse = ofClient.use();
        const serverUse = ofServer?.use();
        const after = await metrics();
        const told = toldUse(before, after, performance.now() - begun);
        return readingsOf(clientUse, serverUse ?? told, before, after);
      };
    },
    close() {
      closing ??= Promise.all(clients.map((client) => client.close())).then(() => server.stop());
      return closing;
    },
  };
}

/** Each entity that is asked for goes over the next connection. */
function inTurns(clients: readonly Client[]): EntitySource {
  let next = 0;
  return {
    entity(id) {
      const client = clients[next++ % clients.length];
      if (client === undefined) throw new Error("there is no connection");
      return client.entity(id);
    },
  };
}

/** Undefined where the kernel does not tell it of another process. */
function processorOf(pid: number, workerNames: readonly string[] = []): Processor | undefined {
  return process.platform === "linux" ? new Processor(workerNames, pid) : undefined;
}

type Use = ReturnType<Processor["use"]>;

function toldUse(
  before: ServerMetrics | undefined,
  after: ServerMetrics | undefined,
  elapsedMs: number,
): Use | undefined {
  if (before === undefined || after === undefined) return undefined;
  return { ...busyProcessors(((after.cpuSeconds - before.cpuSeconds) * 1000) / elapsedMs), threads: [] };
}

function readingsOf(
  client: Use,
  server: Use | undefined,
  before: ServerMetrics | undefined,
  after: ServerMetrics | undefined,
): Readings {
  const named = (side: string, use: Use | undefined) =>
    (use?.threads ?? []).map(({ name, busy }) => ({ name: `${side} ${name}`, busy }));
  const threads = [...named("client", client), ...named("server", server)].sort((a, b) => b.busy - a.busy);
  return {
    processor: {
      ...busyProcessors(client.busy + (server?.busy ?? 0)),
      client: busyProcessors(client.busy),
      ...(server === undefined ? {} : { server: busyProcessors(server.busy) }),
      threads,
    },
    rssBytes: after?.rssBytes,
    clientRssBytes: process.memoryUsage.rss(),
    backlogStartBytes: before?.unsettledBytes,
    backlogEndBytes: after?.unsettledBytes,
    residentEntities: after?.residentEntities,
  };
}
