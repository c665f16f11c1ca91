/**
 * A client against a peer that says what the test wants, in place of a server.
 */
import { afterEach, expect, spyOn, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { decode, encode } from "@msgpack/msgpack";
import { limits } from "../core/limits.ts";
import { operation } from "../net/protocol/words.ts";
import { type Client, connect } from "./client.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { ConnectSettings } from "./settings.ts";

const welcome = {
  version: 1,
  context: "c",
  node: "n",
  incarnation: "i",
  shards: 1,
  topology: [],
  limits: { frameBytes: 10 << 20, requests: 4096, idleMs: 1000, deliveryWindow: 4096, deliveryTtlMs: 1e8 },
  now: 1_800_000_000_000,
};

type Take = (peer: Peer, id: number, op: number, fields: readonly unknown[]) => void;

/** One connection of the client; hello is answered. */
class Peer {
  readonly #socket: Socket;
  readonly #take: Take;
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket, take: Take) {
    this.#socket = socket;
    this.#take = take;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
  }

  send(...content: unknown[]): void {
    const body = encode(content);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    this.#socket.write(Buffer.concat([length, body]));
  }

  /** Ends the connection. */
  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE()) {
      const end = 4 + this.#bytes.readUInt32BE();
      const frame = decode(this.#bytes.subarray(4, end)) as [number, number, number, ...unknown[]];
      this.#bytes = this.#bytes.subarray(end);
      const [kind, id, op, ...fields] = frame;
      if (kind !== 0) continue;
      if (op === operation.hello) this.send(1, id, welcome);
      else this.#take(this, id, op, fields);
    }
  }
}

let server: Server | undefined;
let client: Client | undefined;

afterEach(async () => {
  await client?.close();
  server?.close();
  client = undefined;
  server = undefined;
});

/** A client of a server that answers by `take`. */
async function served(
  take: Take,
  settings: Partial<ConnectSettings> = {},
): Promise<{ client: Client; states: string[]; address: string; peers: Peer[] }> {
  const peers: Peer[] = [];
  const listening = createServer((socket) => void peers.push(new Peer(socket, take)));
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const address = listening.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const states: string[] = [];
  const of = `127.0.0.1:${address.port}`;
  client = await connect({ address: of, onConnection: (state) => states.push(state), ...settings });
  return { client, states, address: of, peers };
}

async function errorOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
}

test("a client that closes while a request takes long keeps its connection alive by pings", async () => {
  let answer = (): void => {};
  const asked = Promise.withResolvers<void>();
  const pinged = Promise.withResolvers<void>();
  const { client, states } = await served((peer, id, op) => {
    if (op === operation.ping) {
      peer.send(1, id, null);
      pinged.resolve();
    } else {
      answer = () => peer.send(1, id, 7);
      asked.resolve();
    }
  });
  const slow = client.entity("a").seq();
  await asked.promise;
  const closing = client.close();
  const now = performance.now.bind(performance);
  const later = spyOn(performance, "now").mockImplementation(() => now() + 11_000);
  try {
    await pinged.promise;
  } finally {
    later.mockRestore();
  }
  answer();
  expect(await slow).toBe(7);
  await closing;
  expect(states).toEqual(["connected"]);
});

test("what a server says of a repeat says nothing of what was sent before: that may have happened", async () => {
  let appends = 0;
  const { client } = await served((peer, id, op) => {
    if (op !== operation.append) return;
    if (++appends === 1) peer.close();
    else peer.send(2, id, "OVERLOADED", "too many writes wait", null);
  });
  const repeated = await errorOf(client.entity("a").append({ type: "Added", data: 1 }));
  expect(repeated).toMatchObject({ code: "OVERLOADED", details: { outcome: "unknown" } });
  const first = await errorOf(client.entity("a").append({ type: "Added", data: 2 }));
  expect(first).toMatchObject({ code: "OVERLOADED", details: {} });
  expect(appends).toBe(3);
});

test("a connection that is silent is given up, but not by a client that was stopped itself", () => {
  const heartbeat = new Heartbeat();
  const now = performance.now();
  heartbeat.heard();
  const isDead = (seconds: number) => heartbeat.isDead(now + seconds * 1000);
  expect([0, 4, 8, 12, 16, 20, 24].some(isDead)).toBe(false);
  expect(isDead(26)).toBe(true);
  heartbeat.heard();
  expect([1, 4].some(isDead)).toBe(false);
  // It was stopped for a minute; what has come meanwhile is read behind this.
  expect([60, 64, 68, 72].some(isDead)).toBe(false);
  expect(isDead(76)).toBe(true);
  // One that is stopped again and again finds it all the same.
  heartbeat.heard();
  expect(isDead(100)).toBe(false);
  expect(isDead(130)).toBe(true);
});

test("all who close a client hear of its end", async () => {
  let answer = (): void => {};
  const asked = Promise.withResolvers<void>();
  const { client } = await served((peer, id) => {
    answer = () => peer.send(1, id, 7);
    asked.resolve();
  });
  const slow = client.entity("a").seq();
  await asked.promise;
  const closing = [client.close(), client.close()];
  answer();
  expect(await slow).toBe(7);
  await Promise.all(closing);
  await client.close();
});

test("subscribing and joining on a closed client fails, whether it closes or has closed", async () => {
  let answer = (): void => {};
  const asked = Promise.withResolvers<void>();
  const { client } = await served((peer, id) => {
    answer = () => peer.send(1, id, 7);
    asked.resolve();
  });
  const interruptions: string[] = [];
  const onInterrupted = (): void => void interruptions.push("interrupted");
  const slow = client.entity("a").seq();
  await asked.promise;
  const closing = client.close();
  expect(await errorOf(client.subscribe({ onInterrupted }).next())).toMatchObject({ code: "CLOSED" });
  expect(await errorOf(client.join("g", { onInterrupted }).next())).toMatchObject({ code: "CLOSED" });
  answer();
  await slow;
  await closing;
  expect(await errorOf(client.subscribe({ onInterrupted }).next())).toMatchObject({ code: "CLOSED" });
  expect(await errorOf(client.join("g", { onInterrupted }).next())).toMatchObject({ code: "CLOSED" });
  expect(interruptions).toEqual([]);
});

test("a subscription that the server ends because it stops is begun again", async () => {
  let begun = 0;
  const { client } = await served((peer, id, op, [subscription]) => {
    if (op !== operation.subscribe) {
      peer.send(1, id, null);
    } else if (begun++ === 0) {
      peer.send(2, id, "CLOSED", "the server stops", null);
    } else {
      peer.send(1, id, null);
      peer.send(3, subscription, 1, "cursor");
    }
  });
  const subscription = client.subscribe();
  expect(await subscription.next()).toMatchObject({ value: { kind: "caughtUp" } });
  expect(begun).toBe(2);
  await subscription.return();
});

test("a client dials again whatever becomes of the requests of the connection that it lost", async () => {
  let isFirst = true;
  const { client } = await served((peer, id) => {
    if (isFirst) peer.close();
    else peer.send(1, id, 7);
    isFirst = false;
  });
  // What could not be written once more without the number.
  const broken = Object.assign(client.entity("a"), { id: 7 as never });
  expect(await broken.seq()).toBe(7);
});

/** A value as the wire carries it. */
const encoded = (value: unknown) => new Uint8Array(Buffer.from(JSON.stringify(value)));
/** Warnings of the process while `run` runs. */
async function warningsOf(run: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", onWarning);
  try {
    await run();
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.off("warning", onWarning);
  }
  return warnings;
}

const noJson = new Uint8Array(Buffer.from("{no json"));

test("a reply that cannot be read costs its call, and neither the connection nor a repeat", async () => {
  const asked: number[] = [];
  const { client, states } = await served((peer, id, op, [entity]) => {
    asked.push(op);
    if (op === operation.ping) peer.send(1, id, null);
    else if (entity === "error") peer.send(2, id, "INVALID_EVENT", "why", noJson);
    else if (op === operation.append) peer.send(1, id, "no outcome");
    else if (op === operation.seq) peer.send(1, id, -1);
    else peer.send(1, id, [3, noJson]);
  });
  const read = client.entity("a").state();
  const seq = client.entity("a").seq();
  const write = client.entity("a").append({ type: "Added", data: 1 });
  const refused = client.entity("error").append({ type: "Added", data: 1 });
  const ping = client.ping();
  for (const call of [read, seq]) {
    const error = await errorOf(call);
    expect(error).toMatchObject({ code: "PROTOCOL_ERROR" });
    expect(error).not.toHaveProperty("details.outcome");
  }
  // Whether they have happened is what could not be read.
  for (const call of [write, refused]) {
    expect(await errorOf(call)).toMatchObject({ code: "PROTOCOL_ERROR", details: { outcome: "unknown" } });
  }
  await ping;
  expect(asked).toHaveLength(5);
  expect(states).toEqual(["connected"]);
});

test("a push that cannot be read ends its subscription, and nothing else", async () => {
  const ended = Promise.withResolvers<unknown>();
  let begun = 0;
  const { client, states } = await served((peer, id, op, [subscription]) => {
    peer.send(1, id, null);
    if (op === operation.unsubscribe) ended.resolve(subscription);
    if (op !== operation.subscribe) return;
    begun++;
    if (begun === 1) peer.send(3, subscription, 0, "cursor", [["a", 1, "Added", 0, 5, null, 9]], noJson);
    else peer.send(3, subscription, 1, "cursor");
  });
  const subscription = client.subscribe();
  expect(await errorOf(subscription.next())).toMatchObject({ code: "PROTOCOL_ERROR" });
  expect(await ended.promise).toBe(1);
  expect(begun).toBe(1);
  const other = client.subscribe();
  expect(await other.next()).toMatchObject({ value: { kind: "caughtUp" } });
  await other.return();
  expect(states).toEqual(["connected"]);
});

test("what may undo others' work is not sent again: whether it has happened is unknown", async () => {
  const asked: number[] = [];
  const { client } = await served((peer, id, op) => {
    asked.push(op);
    if (op === operation.ping) peer.send(1, id, null);
    else peer.close();
  });
  const entity = client.entity("a");
  const calls: (() => Promise<unknown>)[] = [
    () => entity.delete(),
    () => entity.hold({ reason: "claim" }),
    () => entity.releaseHold(),
    () => client.groups.replay("g"),
    () => client.groups.remove("g"),
    () => client.projection("rebuild", "p"),
  ];
  for (const call of calls) {
    asked.length = 0;
    expect(await errorOf(call())).toMatchObject({ code: "DISCONNECTED", details: { outcome: "unknown" } });
    // Repeated, it would come before this.
    await client.ping();
    expect(asked).toHaveLength(2);
  }
});

test("what was not sent yet when the connection was lost is sent on the next one", async () => {
  const lost = Promise.withResolvers<void>();
  let pings = 0;
  const { client } = await served(
    (peer, id, op) => {
      if (op === operation.ping && pings++ === 0) peer.close();
      else peer.send(1, id, op === operation.delete ? encoded({ status: "nothing" }) : 7);
    },
    { onConnection: (state) => state === "lost" && lost.resolve() },
  );
  const ping = client.ping();
  await lost.promise;
  expect(await client.entity("a").delete()).toMatchObject({ status: "nothing" });
  await ping;
});

test("reads of holds, keys, groups and projections, backups and rotations are asked again", async () => {
  const seen = new Set<number>();
  const { client } = await served((peer, id, op) => {
    if (seen.has(op)) peer.send(1, id, encoded([]));
    else peer.close();
    seen.add(op);
  });
  const calls: (() => Promise<unknown>)[] = [
    () => client.entity("a").deletePlan(),
    () => client.entity("a").currentHold(),
    () => client.keysStatus(),
    () => client.rotateKeys(),
    () => client.backup(),
    () => client.groups.parked("g"),
    () => client.projection("list"),
  ];
  for (const call of calls) {
    seen.clear();
    await call();
  }
});

test("what goes on when its caller stops waiting has an unknown outcome", async () => {
  const { client } = await served(() => {});
  const call = { timeoutMs: 100 };
  const unknown = { code: "TIMEOUT", details: { outcome: "unknown" } };
  const [erased, rotated, plan] = await Promise.all([
    errorOf(client.entity("a").delete({ waitMs: 60_000 }, call)),
    errorOf(client.rotateKeys(call)),
    errorOf(client.entity("a").deletePlan(call)),
  ]);
  expect(erased).toMatchObject(unknown);
  expect(rotated).toMatchObject(unknown);
  expect(plan).toMatchObject({ code: "TIMEOUT", details: { outcome: "none" } });
});

test("what a server could take for a broken protocol is refused before it is sent", async () => {
  const asked: number[] = [];
  const { client } = await served((peer, id, op) => {
    asked.push(op);
    peer.send(1, id, null);
  });
  const entity = client.entity("a");
  const from = "c".repeat(4097);
  const calls = [
    client.subscribe({ from }).next(),
    client.join("g", { from }).next(),
    client.projection("explode" as never, "p"),
    entity.hold("claim" as never),
    entity.hold(null as never),
    entity.delete(["claim"] as never),
  ];
  for (const call of calls) expect(await errorOf(call)).toMatchObject({ code: "INVALID_ARGUMENT" });
  await client.ping();
  expect(asked).toEqual([operation.ping]);
});

test("acknowledgements of one turn are sent in requests that a server takes, however many they are", async () => {
  const sent: number[] = [];
  const all = Promise.withResolvers<void>();
  const { client } = await served((peer, id, op, [subscription, deliveries]) => {
    peer.send(1, id, null);
    if (op === operation.join)
      peer.send(3, subscription, 5, [[1, 1, "a", 1, "Added", 0, 5, null, 9]], encoded([1]));
    if (op !== operation.acknowledge) return;
    sent.push((deliveries as number[]).length);
    if (sent.length === 3) all.resolve();
  });
  const { value: work } = await client.join("g").next();
  for (let i = 0; i < 2 * limits.groupWindowMax + 1; i++) work?.ack();
  await all.promise;
  expect(sent).toEqual([limits.groupWindowMax, limits.groupWindowMax, 1]);
});

const answerAll: Take = (peer, id) => peer.send(1, id, null);

test("a client that is closed when it hears of the lost connection does not dial again", async () => {
  const states: string[] = [];
  const closed = Promise.withResolvers<void>();
  const { client, address, peers } = await served(answerAll, {
    onConnection: (state) => {
      states.push(state);
      if (state === "lost") void client.close().then(closed.resolve);
    },
  });
  peers[0]?.close();
  await closed.promise;
  // By the time that another client has found its server again three times, this one would have tried.
  const back = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
  let connections = 0;
  const onConnection = (state: string): void => {
    if (state === "connected") back[connections++]?.resolve();
  };
  const other = await connect({ address, onConnection });
  for (const { promise } of back) {
    await promise;
    peers.at(-1)?.close();
  }
  await other.close();
  expect(states).toEqual(["connected", "lost"]);
});

test("a callback that throws keeps the client from nothing, and is a warning of the process", async () => {
  const states: string[] = [];
  const warnings = await warningsOf(async () => {
    const { client, peers } = await served(answerAll, {
      timeoutMs: 2000,
      onConnection: (state) => {
        states.push(state);
        throw new Error(state);
      },
    });
    peers[0]?.close();
    await client.ping();
    await client.ping();
  });
  expect(states).toEqual(["connected", "lost", "connected"]);
  expect(warnings).toEqual(Array(3).fill("onConnection of a Warp client has failed"));
});

test("subscriptions and memberships go on when onInterrupted throws, whatever interrupted them", async () => {
  const begun: number[] = [];
  const take: Take = (peer, id, op, [subscription]) => {
    if (op !== operation.subscribe && op !== operation.join) {
      peer.send(1, id, null);
      return;
    }
    begun.push(op);
    const times = begun.filter((one) => one === op).length;
    if (times === 2) {
      peer.send(2, id, "CLOSED", "the server stops", null);
      return;
    }
    peer.send(1, id, null);
    if (times < 3) return;
    if (op === operation.subscribe) peer.send(3, subscription, 1, "cursor");
    else peer.send(3, subscription, 4, "INVALID_ARGUMENT", "the end", null);
  };
  const warnings = await warningsOf(async () => {
    const { client, peers } = await served(take);
    const onInterrupted = (): void => {
      throw new Error("why");
    };
    const subscription = client.subscribe({ onInterrupted });
    const membership = client.join("g", { onInterrupted });
    const read = [subscription.next(), errorOf(membership.next())];
    await client.ping();
    peers[0]?.close();
    expect(await Promise.all(read)).toMatchObject([
      { value: { kind: "caughtUp" } },
      { code: "INVALID_ARGUMENT" },
    ]);
    await subscription.return();
  });
  expect(warnings).toEqual(Array(4).fill("onInterrupted of a Warp client has failed"));
});
