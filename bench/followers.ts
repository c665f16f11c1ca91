/**
 * What followers cost a writer: the same closed loop of appends with and without subscribers, in pairs that take turns.
 *
 * `bun bench/followers.ts [--subscribers=1000] [--entities=1] [--callers=64] [--connections=0] [--drain] [--pairs=5] [--seconds=2]`
 *
 * - With `--entities=1` everybody appends to one entity and everybody follows it; otherwise the appends go to so many
 *   entities and the subscribers follow everything.
 * - With `--connections=N` the subscribers are in another process, on so many TCP connections; otherwise in this one.
 * - With `--drain` that process throws away what comes, unread: what is left is what pushing costs the writer, and as little as can
 *   be of what receiving costs, on a machine whose processors both share.
 * - `receiverCpu`: processors that the other process used while the appends ran.
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { encode } from "@msgpack/msgpack";
import { connect } from "../src/client/index.ts";
import { defineAggregate, start, type Warp } from "../src/index.ts";
import { listenTcp } from "../src/net/tcp-server.ts";
import { enginePortOf } from "../src/server.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    subscribers: { type: "string", default: "1000" },
    entities: { type: "string", default: "1" },
    callers: { type: "string", default: "64" },
    connections: { type: "string", default: "0" },
    pairs: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    drain: { type: "boolean", default: false },
    /** The other process of `--connections`: the address to connect to. */
    follow: { type: "string" },
  },
});
const subscribers = Number(values.subscribers);
const entities = Number(values.entities);
const callers = Number(values.callers);
const connections = Number(values.connections);
const query = { from: "end", ...(entities === 1 ? { entity: "hot-0" } : {}) };

interface Source {
  subscribe(asked: typeof query & { signal: AbortSignal }): AsyncIterable<{
    readonly kind: string;
    readonly events?: readonly { readonly recordedAt: number }[];
  }>;
}

/** What all subscribers together have read. */
const read = { messages: 0, events: 0, live: 0 };

async function follow(source: Source, signal: AbortSignal): Promise<void> {
  for await (const { kind, events = [] } of source.subscribe({ ...query, signal })) {
    if (kind === "caughtUp") read.live++;
    read.messages++;
    read.events += events.length;
  }
}

/** The process of the subscribers: tells when they are live, and at the end what they read. */
async function followOverTcp(address: string): Promise<void> {
  const abort = new AbortController();
  const clients = await Promise.all(Array.from({ length: connections }, () => connect({ address })));
  const following = Array.from({ length: subscribers }, (_, i) => {
    const client = clients[i % connections];
    return client === undefined ? Promise.resolve() : follow(client as Source, abort.signal);
  });
  while (read.live < subscribers) await Bun.sleep(5);
  await untilTold();
  abort.abort();
  await Promise.all(following);
  await Promise.all(clients.map((client) => client.close()));
}

/** Connections that subscribe, with more credit than anybody uses, and throw away what comes. */
async function drainOverTcp(address: string): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address.replace(/^\w+:\/\//, "")}`);
  const frame = (content: unknown) => {
    const body = encode(content);
    const bytes = Buffer.alloc(4 + body.length);
    bytes.writeUInt32BE(body.length);
    bytes.set(body, 4);
    return bytes;
  };
  const entity = entities === 1 ? "hot-0" : null;
  const sockets = await Promise.all(
    Array.from({ length: connections }, () =>
      Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          data(_, chunk) {
            read.messages += chunk.length;
          },
        },
      }),
    ),
  );
  for (const [i, socket] of sockets.entries()) {
    const frames = [frame([0, 1, 0, 1])];
    for (let k = i; k < subscribers; k += connections)
      frames.push(frame([0, k + 2, 9, k + 1, 2 ** 40, entity, null, null, "end", null]));
    socket.write(Buffer.concat(frames));
  }
  await untilTold();
  for (const socket of sockets) socket.end();
}

/** Tells that it is there, then waits for the end, and says what it has read and used meanwhile. */
async function untilTold(): Promise<void> {
  const before = process.cpuUsage();
  const begun = performance.now();
  console.log("live");
  for await (const _ of console) break;
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ ...read, cpu: (user + system) / 1000 / (performance.now() - begun) }));
}

/** Events per second of the closed loop. */
async function appendFor(warp: Warp, seconds: number): Promise<number> {
  const handles = Array.from({ length: entities }, (_, i) => warp.entity(`hot-${i}`));
  const end = performance.now() + seconds * 1000;
  let appended = 0;
  const loop = async (caller: number): Promise<void> => {
    for (let i = caller; performance.now() < end; i += 7919) {
      await handles[i % entities]?.append({
        type: "Paid",
        data: { cents: i, ref: `order-${i}`, note: "thank you" },
      });
      appended++;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => loop(caller)));
  return appended / seconds;
}

async function withSubscribers(warp: Warp, address: string, work: () => Promise<number>): Promise<number> {
  if (connections === 0) {
    const abort = new AbortController();
    const following = Array.from({ length: subscribers }, () => follow(warp as Source, abort.signal));
    while (warp.subscriptions.live < subscribers) await Bun.sleep(5);
    const result = await work();
    abort.abort();
    await Promise.all(following);
    return result;
  }
  const args = process.argv.slice(1).concat(`--follow=${address}`);
  // What they do with what they get is not the writer's cost: they get the processor when nobody else wants it.
  const child = Bun.spawn(["nice", "-n", "19", process.execPath, ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const lines = child.stdout.getReader();
  await lines.read();
  while (warp.subscriptions.live < subscribers) await Bun.sleep(5);
  const result = await work();
  child.stdin.write("\n");
  await child.stdin.end();
  const told = new TextDecoder().decode((await lines.read()).value);
  const more = JSON.parse(told) as typeof read & { cpu: number };
  receiverCpu.push(more.cpu);
  read.messages += more.messages;
  read.events += more.events;
  await child.exited;
  return result;
}

const receiverCpu: number[] = [];
const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0;

async function measure(): Promise<void> {
  const folder = scratchDirectory("followers");
  const sum = defineAggregate({
    name: "sum",
    initialState: { cents: 0 },
    evolve: { Paid: (state: { cents: number }, { data }) => ({ cents: state.cents + data.cents }) },
  });
  const warp = await start({ dataDir: join(folder, "data"), aggregates: [sum] });
  const tcp = await listenTcp({ hostname: "127.0.0.1", port: 0 }, enginePortOf(warp));
  const seconds = Number(values.seconds);
  const loadBefore = loadavg()[0];
  await appendFor(warp, seconds);
  const pairs: { without: number; with: number; ratio: number }[] = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const measured = { without: 0, with: 0 };
    for (const which of pair % 2 === 0 ? (["without", "with"] as const) : (["with", "without"] as const)) {
      measured[which] =
        which === "without"
          ? await appendFor(warp, seconds)
          : await withSubscribers(warp, tcp.address, () => appendFor(warp, seconds));
    }
    pairs.push({ ...measured, ratio: measured.with / measured.without });
  }
  await tcp.close();
  await warp.close();
  const whole = (value: number) => Math.round(value);
  console.log(
    JSON.stringify({
      subscribers,
      entities,
      callers,
      connections,
      withoutPerSecond: whole(median(pairs.map((pair) => pair.without))),
      withPerSecond: whole(median(pairs.map((pair) => pair.with))),
      ratio: Number(median(pairs.map(({ ratio }) => ratio)).toFixed(3)),
      ratios: pairs.map(({ ratio }) => Number(ratio.toFixed(3))),
      receiverCpu: Number(median(receiverCpu).toFixed(2)),
      messagesPerSubscriber: whole(read.messages / subscribers),
      eventsPerSubscriber: whole(read.events / subscribers),
      load: [loadBefore, loadavg()[0]],
    }),
  );
}

if (values.follow === undefined) await measure();
else if (values.drain) await drainOverTcp(values.follow);
else await followOverTcp(values.follow);
