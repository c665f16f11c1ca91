/**
 * Subscriptions over TCP: the client against a server, through a proxy that cuts, and peers that behave badly.
 */
import { afterEach, expect, test } from "bun:test";
import { type AddressInfo, createServer, connect as netConnect } from "node:net";
import {
  type Client,
  connect,
  type RemoteSubscribeQuery,
  type StoredEvent,
  type SubscriptionMessage,
} from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { openCuttingProxy, randomOf } from "./cutting-proxy.ts";
import { frameOf, RawPeer } from "./raw-peer.ts";
import { briefly, filled, largeSettings, type ServedContext, serveContext, until } from "./served-context.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(options: Parameters<typeof serveContext>[0] = {}): Promise<ServedContext> {
  const served = await serveContext(options);
  closers.push(() => served.close());
  return served;
}

async function dial(address: string): Promise<Client> {
  const client = await connect({ address });
  closers.push(() => client.close());
  return client;
}

const added = (by: number) => ({ type: "Added", data: { by } });

async function untilCaughtUp(client: Client, query: RemoteSubscribeQuery): Promise<SubscriptionMessage[]> {
  const messages: SubscriptionMessage[] = [];
  for await (const message of client.subscribe(query)) {
    messages.push(message);
    if (message.kind === "caughtUp") break;
  }
  return messages;
}

const eventsOf = (messages: readonly SubscriptionMessage[]): StoredEvent[] =>
  messages.flatMap((message) => (message.kind === "events" ? message.events : []));

test("replays, catches up and goes on live, with the events as the library gives them", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  await client.entity("alice").append(added(1));
  await client
    .entity("alice")
    .append({ type: "Note", data: { at: new Date(5), big: 2n ** 60n }, occurredAt: 9 });
  await client.entity("bob").append(added(2));
  for (const query of [{}, { entity: "alice" }, { prefix: "al" }, { types: ["Note"] }, { stored: true }]) {
    const expected: StoredEvent[] = [];
    for await (const message of warp.subscribe(query)) {
      if (message.kind === "events") expected.push(...message.events);
      if (message.kind === "caughtUp") break;
    }
    expect(expected.length).toBeGreaterThan(0);
    expect(eventsOf(await untilCaughtUp(client, query))).toEqual(expected);
  }
  const subscription = client.subscribe({ entity: "alice", from: "end" });
  expect((await subscription.next()).value?.kind).toBe("caughtUp");
  const next = subscription.next();
  await client.entity("bob").append(added(3));
  await client.entity("alice").append(added(4));
  expect((await next).value).toMatchObject({ kind: "events", events: [{ entity: "alice", seq: 3 }] });
  await subscription.return();
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
  await until(() => warp.subscriptions.followers === 0);
});

test("each event arrives once and in order although the connection is cut again and again", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  const random = randomOf(seed);
  const { tcp, warp } = await serve();
  const proxy = await openCuttingProxy(tcp.port, seed);
  closers.push(() => proxy.close());
  const client = await dial(proxy.address);
  const counts = new Map<string, number>();
  const queries: RemoteSubscribeQuery[] = [{}, { entity: "e1" }, { prefix: "e" }, { types: ["Added"] }];
  let interruptions = 0;
  const seen = queries.map(() => new Map<string, number>());
  const abort = new AbortController();
  const reading = queries.map(async (query, i) => {
    const onInterrupted = () => interruptions++;
    const own = seen[i] ?? new Map<string, number>();
    for await (const { entity, seq } of client
      .subscribe({ ...query, signal: abort.signal, onInterrupted })
      .events()) {
      expect([entity, seq]).toEqual([entity, (own.get(entity) ?? 0) + 1]);
      own.set(entity, seq);
      if (random() < 0.002) await Bun.sleep(random() * 20);
    }
  });
  for (let round = 0; round < 150 || interruptions < 5; round++) {
    const writes = Array.from({ length: 10 }, () => {
      const id = `e${Math.floor(random() * 5)}`;
      const count = 1 + Math.floor(random() * 20);
      counts.set(id, (counts.get(id) ?? 0) + count);
      return warp.entity(id).appendBatch(Array.from({ length: count }, (_, k) => added(k)));
    });
    await Promise.all(writes);
    await Bun.sleep(random() * 4);
  }
  proxy.calm();
  await until(() =>
    seen.every((own, i) =>
      [...counts].every(([id, count]) => (i === 1 && id !== "e1") || own.get(id) === count),
    ),
  );
  abort.abort();
  await Promise.all(reading);
});

test("a server that is going says so before it closes", async () => {
  const served = await serveContext();
  const client = await dial(served.tcp.address);
  const reasons: string[] = [];
  const subscription = client.subscribe({ onInterrupted: ({ code }) => reasons.push(code) });
  expect((await subscription.next()).value?.kind).toBe("caughtUp");
  await served.tcp.drain();
  await until(() => reasons.length > 0);
  expect(reasons[0]).toBe("CLOSED");
  await subscription.return();
  await served.close();
});

test("draining ends once a peer has read what waited for it", async () => {
  const outputBytes = 64 * 1024;
  const { warp, tcp } = await serve({ limits: { outputBytes } });
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  peer.send(frameOf([0, 2, 9, 1, 2 ** 40, null, null, null, "start"]));
  await peer.next();
  peer.socket.pause();
  const batch = Array.from({ length: 200 }, () => ({ type: "Added", data: { text: "x".repeat(400) } }));
  for (let full = 0; full < 20; full = tcp.bufferBytes > outputBytes ? full + 1 : 0) {
    await warp.entity("a").appendBatch(batch);
  }
  const drained = tcp.drain();
  peer.socket.resume();
  let last: unknown[] | undefined;
  for (let frame = await peer.next(); frame !== undefined; frame = await peer.next()) last = frame;
  expect(last?.slice(0, 4)).toEqual([3, 1, 4, "CLOSED"]);
  await drained;
});

test("a number in use is refused, and its subscription goes on and ends with the connection", async () => {
  const { warp, tcp } = await serve();
  const peer = await RawPeer.greeted(tcp.port);
  const subscribe = (id: number) => frameOf([0, id, 9, 7, 1_000_000, null, null, null, "end"]);
  peer.send(subscribe(2));
  expect(await peer.next()).toEqual([1, 2, null]);
  expect((await peer.next())?.slice(0, 3)).toEqual([3, 7, 1]);
  peer.send(subscribe(3));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 3, "INVALID_ARGUMENT"]);
  peer.send(frameOf([0, 4, 12, 7, "group", 10, null, null, "start"]));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 4, "INVALID_ARGUMENT"]);
  await warp.entity("a").append(added(1));
  expect((await peer.next())?.slice(0, 3)).toEqual([3, 7, 0]);
  expect(warp.subscriptions.followers).toBe(1);
  peer.close();
  await until(() => warp.subscriptions.followers === 0);
});

test("what is unsubscribed before it was answered is answered too", async () => {
  const { warp, tcp } = await serve();
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  const frames = [
    frameOf([0, 2, 9, 7, 1_000_000, null, null, null, "start"]),
    frameOf([0, 3, 10, 7]),
    frameOf([0, 4, 12, 8, "group", 10, null, null, "start"]),
    frameOf([0, 5, 10, 8]),
    frameOf([0, 6, 6]),
  ];
  peer.send(Buffer.concat(frames));
  for (const id of [2, 3, 4, 5, 6]) expect(await peer.next()).toEqual([1, id, null]);
  await until(() => warp.subscriptions.followers === 0);
});

test("what is pushed is what was granted", async () => {
  const { warp, tcp } = await serve();
  const batch = Array.from({ length: 500 }, (_, i) => ({
    type: "Added",
    data: { by: i, text: "x".repeat(200) },
  }));
  for (let i = 0; i < 20; i++) await warp.entity("a").appendBatch(batch);
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  peer.send(frameOf([0, 2, 9, 7, 1, "a", null, null, "start"]));
  expect(await peer.next()).toEqual([1, 2, null]);
  let seqs = 0;
  const count = (push: unknown[] | undefined) => {
    expect(push?.slice(0, 3)).toEqual([3, 7, 0]);
    seqs += eventsIn(push);
  };
  // One byte lets one push come, and nothing behind it: whatever was asked later is answered first.
  count(await peer.next());
  for (let id = 100; id < 120; id++) {
    peer.send(frameOf([0, id, 6]));
    expect(await peer.next()).toEqual([1, id, null]);
  }
  // Grants and endings of subscriptions that are not there are of no interest.
  peer.send(frameOf([4, 99, 1]));
  peer.send(frameOf([0, 3, 10, 98]));
  expect(await peer.next()).toEqual([1, 3, null]);
  peer.send(frameOf([4, 7, 10_000_000]));
  while (seqs < 10_000) count(await peer.next());
  expect(seqs).toBe(10_000);
  expect((await peer.next())?.slice(0, 3)).toEqual([3, 7, 1]);
  peer.send(frameOf([0, 4, 10, 7]));
  expect(await peer.next()).toEqual([1, 4, null]);
  await warp.entity("a").append(added(1));
  peer.send(frameOf([0, 5, 6]));
  expect(await peer.next()).toEqual([1, 5, null]);
});

function eventsIn(push: unknown[] | undefined): number {
  const events = push?.[4];
  return Array.isArray(events) ? events.length : 0;
}

test("a peer that stops reading is told why and closed, and costs the others nothing", async () => {
  const { warp, tcp } = await serve({ limits: { stallMs: 2000, outputBytes: 64 * 1024 } });
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  peer.send(frameOf([0, 2, 9, 1, 2 ** 40, null, null, null, "start"]));
  await peer.next();
  peer.socket.pause();
  const client = await dial(tcp.address);
  const abort = new AbortController();
  let seen = 0;
  let bytesMax = 0;
  const reading = (async () => {
    for await (const _ of client.subscribe({ signal: abort.signal }).events()) seen++;
  })();
  const batch = Array.from({ length: 200 }, (_, i) => ({
    type: "Added",
    data: { by: i, text: "x".repeat(400) },
  }));
  // Whoever does not read for as long again is cut off without a word, so it reads as soon as it was told.
  const resumed = until(() => tcp.counters.errors > 0).then(() => peer.socket.resume());
  let appended = 0;
  while (tcp.counters.errors === 0) {
    await warp.entity("a").appendBatch(batch);
    appended += batch.length;
    bytesMax = Math.max(bytesMax, tcp.bufferBytes);
    await Bun.sleep(1);
  }
  await until(() => seen === appended);
  abort.abort();
  await reading;
  expect(bytesMax).toBeLessThan(4 * 1024 * 1024);
  await resumed;
  let last: unknown[] | undefined;
  for (let frame = await peer.next(); frame !== undefined; frame = await peer.next()) last = frame;
  expect(last?.slice(0, 3)).toEqual([2, 0, "TIMEOUT"]);
});

test("a reader of the client that is slow holds a bounded amount, and loses nothing", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  const batch = Array.from({ length: 200 }, (_, i) => ({
    type: "Added",
    data: { by: i, text: "x".repeat(400) },
  }));
  await warp.entity("a").appendBatch(batch);
  const subscription = client.subscribe({});
  expect((await subscription.next()).value?.kind).toBe("events");
  for (let i = 0; i < 40; i++) await warp.entity("a").appendBatch(batch);
  await until(() => warp.subscriptions.live === 0);
  const before = tcp.counters.sentBytes;
  await Bun.sleep(50);
  expect(tcp.counters.sentBytes - before).toBeLessThan(2 * 1024 * 1024);
  let seq = 200;
  for await (const event of subscription.events()) {
    expect(event.seq).toBe(++seq);
    if (seq === 8200) break;
  }
});

test("what is read while there is no connection is granted once there is one", async () => {
  const { warp, tcp } = await serve();
  const proxy = await openCuttingProxy(tcp.port, 1);
  closers.push(() => proxy.close());
  proxy.calm();
  const client = await dial(proxy.address);
  const batch = Array.from({ length: 200 }, () => ({ type: "Added", data: { text: "x".repeat(400) } }));
  const batches = 30;
  for (let i = 0; i < batches; i++) await warp.entity("a").appendBatch(batch);
  let interruptions = 0;
  const subscription = client.subscribe({ onInterrupted: () => interruptions++ });
  // Nobody reads: everything that was granted comes, and waits.
  await until(() => tcp.counters.sentBytes > limits.clientPushBytes);
  await client.ping();
  proxy.cut();
  await until(() => interruptions > 0);
  expect(client.isConnected).toBe(false);
  let seq = 0;
  for await (const event of subscription.events()) {
    expect(event.seq).toBe(++seq);
    if (seq === batches * batch.length) break;
  }
});

test("a thousand subscriptions of one entity on one connection see the same", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  const subscriptions = Array.from({ length: 1000 }, () => client.subscribe({ entity: "hot", from: "end" }));
  await Promise.all(subscriptions.map((subscription) => subscription.next()));
  expect(warp.subscriptions).toMatchObject({ followers: 1000, live: 1000 });
  const reading = subscriptions.map(async (subscription) => {
    const seqs: number[] = [];
    for await (const { seq } of subscription.events()) {
      seqs.push(seq);
      if (seqs.length === 50) break;
    }
    return seqs;
  });
  for (let i = 0; i < 50; i++) await warp.entity("hot").append(added(i));
  const expected = Array.from({ length: 50 }, (_, i) => i + 1);
  for (const seqs of await Promise.all(reading)) expect(seqs).toEqual(expected);
});

test("says by its code what is wrong with a subscription", async () => {
  const { tcp } = await serve();
  const client = await dial(tcp.address);
  const other = await serve();
  const [mark] = await untilCaughtUp(await dial(other.tcp.address), { from: "end" });
  const codeOf = async (query: RemoteSubscribeQuery) =>
    await client
      .subscribe(query)
      .next()
      .then(
        () => "none",
        (thrown) => thrown.code,
      );
  expect(await codeOf({ from: mark?.cursor ?? "" })).toBe("CURSOR_FOREIGN");
  expect(await codeOf({ from: "nowhere" })).toBe("INVALID_ARGUMENT");
  expect(await codeOf({ entity: "" })).toBe("INVALID_ARGUMENT");
  expect(await codeOf({ entity: "a", prefix: "b" })).toBe("INVALID_ARGUMENT");
  expect(await codeOf({ types: [] })).toBe("INVALID_ARGUMENT");
  const waiting = client.subscribe({ from: "end" });
  await waiting.next();
  const end = waiting.next().then(
    () => "none",
    (thrown) => thrown.code,
  );
  await client.close();
  expect(await end).toBe("CLOSED");
});

test("a subscription that the client has given up waiting for is taken back", async () => {
  const { warp, tcp } = await serve();
  // What the server says can be held back.
  const held: Buffer[] = [];
  let isHeld = false;
  let say: ((chunk: Buffer) => void) | undefined;
  const proxy = createServer((near) => {
    const far = netConnect(tcp.port, "127.0.0.1");
    say = (chunk) => near.write(chunk);
    near.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk: Buffer) => (isHeld ? held.push(chunk) : near.write(chunk)));
    for (const socket of [near, far])
      socket.on("error", () => {}).on("close", () => near.destroy() && far.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  closers.push(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  const client = await connect({ address: `127.0.0.1:${port}`, timeoutMs: 300, connectTimeoutMs: 30_000 });
  closers.push(() => client.close());
  // Not over the client: a disk may take longer than its calls.
  await warp.entity("alice").append(added(1));
  isHeld = true;
  const reasons: string[] = [];
  const subscription = client.subscribe({ onInterrupted: ({ code }) => reasons.push(code) });
  const first = subscription.next();
  await until(() => reasons.includes("TIMEOUT"));
  isHeld = false;
  for (const chunk of held.splice(0)) say?.(chunk);
  expect(await first).toMatchObject({ value: { kind: "events" } });
  await until(() => warp.subscriptions.followers === 1);
  await subscription.return();
  await until(() => warp.subscriptions.followers === 0);
});

test("a chunk is pushed whatever forms its data has, in parts where it would be too large for a frame", async () => {
  const served = await serveContext({}, undefined, largeSettings);
  closers.push(() => served.close());
  const { warp, tcp } = served;
  const client = await dial(tcp.address);
  const noted = { type: "Noted", data: { at: new Date(5), minus: -0 } };
  const [a = "", b = ""] = ["{x}a", "{x}b"];
  await warp.entity(a).append(noted);
  await warp.entity(b).append(filled(150_000));
  await warp.entity(a).append(noted);
  // Records that are too large in one form with what comes before and behind them, and one that is of both forms itself.
  const large = Array.from({ length: 6 }, () => filled(400_000));
  await warp.entity(b).appendBatch(large);
  await warp.entity(a).append(noted);
  await warp.atomically([a, b], ([first, second]) => {
    first?.append(noted);
    second?.append(...large);
  });
  await warp.entity(a).append(noted);

  const expected: StoredEvent[] = [];
  for await (const message of warp.subscribe()) {
    if (message.kind === "events") expected.push(...message.events);
    if (message.kind === "caughtUp") break;
  }
  const messages = await untilCaughtUp(client, {});
  expect(briefly(eventsOf(messages))).toEqual(briefly(expected));
  // From the cursor of each push it goes on behind it, or with the record that it is a part of.
  let read = 0;
  for (const message of messages) {
    if (message.kind !== "events") continue;
    read += message.events.length;
    const { position } = message.events.at(-1) ?? {};
    const isPart = expected[read]?.position === position;
    const begin = isPart ? expected.findIndex((event) => event.position === position) : read;
    const rest = eventsOf(await untilCaughtUp(client, { from: message.cursor }));
    expect(briefly(rest)).toEqual(briefly(expected.slice(begin)));
  }
});
