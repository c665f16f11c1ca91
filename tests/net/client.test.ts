/**
 * The client against a server: every verb, the ends that a call can have, and each append exactly once whatever happens
 * to the connection.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { type Client, connect, WarpError } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { openCuttingProxy, randomOf } from "./cutting-proxy.ts";
import { frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { counter, type ServedContext, serveContext } from "./served-context.ts";

let served: ServedContext;
let client: Client;

beforeAll(async () => {
  served = await serveContext();
  client = await connect({ address: served.tcp.address, context: "default", name: "test" });
});

afterAll(async () => {
  await client.close();
  await served.close();
});

const added = (by: number) => ({ type: "Added", data: { by } });

async function codeOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WarpError);
  return (error as WarpError).code;
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("appends, conflicts, keys and rejections come back as the library gives them", async () => {
  const alice = client.entity("alice");
  expect(await alice.append(added(5))).toMatchObject({
    ok: true,
    seq: 1,
    firstSeq: 1,
    count: 1,
    duplicate: false,
  });
  expect(
    await alice.appendBatch([added(1), { type: "Note", data: "hä?", occurredAt: new Date(5) }]),
  ).toMatchObject({
    ok: true,
    seq: 3,
    count: 2,
  });
  expect(await alice.append(added(1), { expect: 2 })).toEqual({ ok: false, reason: "conflict", seq: 3 });
  expect(await alice.append(added(1), { key: "k" })).toMatchObject({ seq: 4, duplicate: false });
  expect(await alice.append(added(1), { key: "k" })).toMatchObject({ seq: 4, duplicate: true });
  expect(await codeOf(alice.append(added(2), { key: "k" }))).toBe("KEY_REUSED");
  expect(await alice.as(counter).send("add", { by: 3 })).toMatchObject({ ok: true, seq: 5 });
  const { seq } = await served.warp.entity("alice").snapshot();
  expect(await alice.send("counter.add", { by: -1 })).toEqual({
    ok: false,
    reason: "rejected",
    code: "NEGATIVE",
    details: { by: -1 },
    seq,
    duplicate: false,
  });
});

test("states and histories are those of the library", async () => {
  const bob = client.entity("bob");
  const special = {
    at: new Date(7),
    big: 2n ** 60n,
    bytes: Uint8Array.of(1, 2, 3),
    minus: -0,
    none: Number.NaN,
  };
  await bob.appendBatch(Array.from({ length: 30 }, (_, i) => added(i)));
  await bob.append({ type: "Special", data: special, occurredAt: 1000 });
  const local = served.warp.entity("bob");
  expect(await bob.state()).toEqual(await local.read());
  expect(await bob.as(counter).state()).toEqual(await local.read(counter));
  expect(await bob.snapshot("counter")).toEqual({ seq: 31, state: { sum: 435, times: 30 } });
  expect(await bob.stateAt({ seq: 3 })).toEqual({ sum: 3, times: 3 });
  expect(await bob.stateAt({ occurred: new Date(999) })).toEqual({ sum: 0, times: 0 });
  expect(await bob.seq()).toBe(31);
  expect(await client.entity("nobody").seq()).toBe(0);
  for (const query of [{}, { from: 5, to: 9 }, { limit: 3 }, { direction: "backward", limit: 4 }] as const) {
    expect(await collect(bob.events(query))).toEqual(await collect(local.events(query)));
    expect(await collect(bob.storedEvents(query))).toEqual(await collect(local.storedEvents(query)));
  }
  expect(await codeOf(bob.state("nothing"))).toBe("UNKNOWN_AGGREGATE");
});

test("a long history and a long listing come page by page", async () => {
  const long = client.entity("long");
  const text = "x".repeat(400);
  for (let i = 0; i < 12; i++) {
    await long.appendBatch(
      Array.from({ length: 250 }, (_, k) => ({ type: "Line", data: { i: i * 250 + k, text } })),
    );
  }
  const seqs = (events: readonly { seq: number }[]) => events.map(({ seq }) => seq);
  const upwards = Array.from({ length: 3000 }, (_, i) => i + 1);
  expect(seqs(await collect(long.events()))).toEqual(upwards);
  expect(seqs(await collect(long.events({ direction: "backward" })))).toEqual(upwards.toReversed());
  expect(seqs(await collect(long.events({ from: 100, limit: 2800 })))).toEqual(upwards.slice(99, 2899));
  await Promise.all(Array.from({ length: 1200 }, (_, i) => client.entity(`many-${i}`).append(added(1))));
  const local = await collect(served.warp.entities({ prefix: "many-" }));
  expect(await collect(client.entities({ prefix: "many-" }))).toEqual(local);
  expect(await collect(client.entities({ prefix: "many-", limit: 700 }))).toEqual(local.slice(0, 700));
});

test("what cannot be sent is refused before it is sent, and nothing else is disturbed", async () => {
  const carol = client.entity("carol");
  const bad = [undefined, { when: new Map() }, "\ud800", () => 1];
  const results = await Promise.allSettled([
    ...bad.map((data) => carol.append({ type: "Bad", data })),
    carol.append(added(1)),
    carol.append({ type: "Long", data: "x".repeat(2 << 20) }),
    carol.append(added(1)),
  ]);
  expect(results.map(({ status }) => status).filter((status) => status === "fulfilled")).toHaveLength(2);
  expect(await codeOf(carol.append({ type: "Bad", data: undefined }))).toBe("INVALID_EVENT");
  expect(await codeOf(carol.append(added(1), { timeoutMs: 0 }))).toBe("INVALID_ARGUMENT");
  expect(await carol.seq()).toBe(2);
});

test("texts that UTF-8 cannot hold are refused before they are sent, in whatever place", async () => {
  const lone = "name-\ud800";
  const states: string[] = [];
  const other = await connect({
    address: served.tcp.address,
    onConnection: (state) => states.push(state),
  });
  const [ill, fine] = [other.entity(lone), other.entity("well-formed")];
  // From the third call on the handle's appends go in groups.
  await fine.append(added(1));
  await fine.append(added(1));
  const calls = [
    ill.append(added(1)),
    ill.appendBatch([added(1), added(2)]),
    ill.seq(),
    ill.state(),
    collect(ill.events()),
    collect(ill.export()),
    ill.delete(),
    fine.append(added(1), { key: lone }),
    fine.append({ type: lone, data: 1 }),
    fine.append({ type: `März ${lone}`, data: 1 }),
    fine.append({ type: "x".repeat(300) + lone, data: 1 }),
    fine.appendBatch([added(1), { type: lone, data: 1 }]),
    fine.send(lone, 1),
    fine.send("counter.add", { by: 1 }, { key: lone }),
    fine.state(lone),
    collect(other.entities({ prefix: lone })),
    other.subscribe({ entity: lone }).next(),
    other.subscribe({ types: [lone] }).next(),
    other.join(lone).next(),
    other.query(`SELECT '${lone}'`),
  ];
  const good = fine.append(added(1));
  for (const call of calls) expect(await codeOf(call)).toBe("INVALID_ARGUMENT");
  expect(await good).toMatchObject({ ok: true, seq: 3 });
  expect(await fine.append({ type: "März 🚀", data: "ä" })).toMatchObject({ seq: 4 });
  expect(await collect(other.entities({ prefix: "name-" }))).toEqual([]);
  const { address } = served.tcp;
  for (const given of [{ token: lone }, { context: lone }, { name: lone }])
    expect(await codeOf(connect({ address, timeoutMs: 300, ...given }))).toBe("INVALID_ARGUMENT");
  await other.close();
  expect(states).toEqual(["connected"]);
});

test("a hello of the client is as long as servers take: what would make it longer is refused", async () => {
  const { address } = served.tcp;
  const longest = "é".repeat(limits.helloTextBytesMax / 2);
  const other = await connect({ address, token: longest, name: longest });
  await other.ping();
  await other.close();
  for (const given of [{ token: `${longest}x` }, { context: `${longest}x` }, { name: `${longest}x` }])
    expect(await codeOf(connect({ address, ...given }))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(connect({ address, token: longest, name: longest, context: longest }))).toBe(
    "CONFIG_MISMATCH",
  );
});

test("a call ends with its signal, its time or its client, whichever is first", async () => {
  const dave = client.entity("dave");
  expect(await codeOf(dave.append(added(1), { signal: AbortSignal.abort() }))).toBe("ABORTED");
  const aborting = new AbortController();
  const call = dave.append(added(1), { signal: aborting.signal });
  aborting.abort();
  expect(await codeOf(call)).toBe("ABORTED");

  const own = await serveContext();
  // Connecting may take its time; what is short is how long a call waits for a server that is gone.
  const other = await connect({ address: own.tcp.address, timeoutMs: 400, connectTimeoutMs: 30_000 });
  await own.close();
  const late = other.entity("dave").append(added(1));
  expect(await codeOf(late)).toBe("DISCONNECTED");
  const pending = other.entity("dave").append(added(1));
  const closing = other.close();
  expect(await codeOf(other.entity("dave").seq())).toBe("CLOSED");
  expect(await codeOf(pending)).toBe("DISCONNECTED");
  await closing;
});

test("connecting says why it failed", async () => {
  const { address } = served.tcp;
  expect(await codeOf(connect({ address, context: "other" }))).toBe("CONFIG_MISMATCH");
  expect(await codeOf(connect({ address: "not an address" }))).toBe("INVALID_ARGUMENT");
  const own = await serveContext({ token: "secret" });
  expect(await codeOf(connect({ address: own.tcp.address, token: "wrong" }))).toBe("UNAUTHORIZED");
  const right = await connect({ address: own.tcp.address, token: "secret" });
  await right.ping();
  await right.close();
  await own.close();
  expect(await codeOf(connect({ address: own.tcp.address, timeoutMs: 300 }))).toBe("DISCONNECTED");
});

test("what would break the protocol costs the call, not the connection", async () => {
  const states: string[] = [];
  const careful = await connect({
    address: served.tcp.address,
    onConnection: (state) => states.push(state),
  });
  const entity = careful.entity("careful");
  const wrong = [-1, 1.5, Number.NaN, 2 ** 53, null as never, "5" as never];
  for (const number of wrong) {
    expect(await codeOf(entity.append(added(1), { expect: number }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(entity.as(counter).send("add", { by: 1 }, { expect: number }))).toBe(
      "INVALID_ARGUMENT",
    );
    for (const part of ["from", "to", "limit"]) {
      expect(await codeOf(collect(entity.events({ [part]: number })))).toBe("INVALID_ARGUMENT");
    }
    expect(await codeOf(collect(careful.entities({ limit: number })))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(careful.join("g", { window: number }).next())).toBe("INVALID_ARGUMENT");
    expect(await codeOf(careful.groups.parked("g", number === null ? -1 : number))).toBe("INVALID_ARGUMENT");
  }
  const types = Array.from({ length: limits.subscriptionTypesMax + 1 }, (_, i) => `T${i}`);
  expect(await codeOf(careful.subscribe({ types }).next())).toBe("INVALID_ARGUMENT");
  expect(await codeOf(careful.join("g", { types }).next())).toBe("INVALID_ARGUMENT");
  expect(await entity.append(added(1), { expect: "none" })).toMatchObject({ ok: true, seq: 1 });
  const work = careful.join("careful", { prefix: "careful" });
  const first = (await work.next()).value;
  expect(() => first?.retry(-1)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => first?.retry(0.5)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  first?.ack();
  await work.return();
  await careful.close();
  expect(states).toEqual(["connected"]);
});

test("a write on a connection that the server refuses has an unknown outcome", async () => {
  const server = createServer((socket) => {
    let frames = 0;
    socket.on("error", () => {});
    socket.on("data", () => {
      if (frames++ > 0)
        socket.end(frameOf([2, 0, "PROTOCOL_ERROR", "a frame is broken", jsonValue({ at: 1 })]));
      else socket.write(frameOf([1, 1, welcome]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const peer = await RawPeer.open(served.tcp.port);
  peer.send(frameOf([0, 1, 0, 1]));
  const welcome = (await peer.next())?.[2];
  peer.close();
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const refused = await connect({ address: `127.0.0.1:${address.port}` });
  const calls = await Promise.allSettled([refused.entity("a").append(added(1)), refused.entity("a").seq()]);
  const [write, read] = calls.map((call) => (call.status === "rejected" ? call.reason : undefined));
  expect(write).toMatchObject({ code: "PROTOCOL_ERROR" });
  expect(write.details.outcome).toBe("unknown");
  expect(read).toMatchObject({ code: "PROTOCOL_ERROR" });
  expect(read.details.outcome).toBeUndefined();
  await refused.close();
  server.close();
});

test("a write that was sent has an unknown outcome when no other connection is let in", async () => {
  const peer = await RawPeer.open(served.tcp.port);
  peer.send(frameOf([0, 1, 0, 1]));
  const welcome = (await peer.next())?.[2];
  peer.close();
  const lost = Promise.withResolvers<void>();
  const more = Promise.withResolvers<void>();
  let connections = 0;
  const server = createServer((socket) => {
    let frames = 0;
    const isFirst = connections++ === 0;
    socket.on("error", () => {});
    socket.on("data", () => {
      if (!isFirst) {
        void more.promise.then(() =>
          socket.end(frameOf([2, 0, "UNAUTHORIZED", "the token has changed", null])),
        );
      } else if (frames++ === 0) {
        socket.write(frameOf([1, 1, welcome]));
      } else {
        socket.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const refused = await connect({
    address: `127.0.0.1:${address.port}`,
    onConnection: (state) => state === "lost" && lost.resolve(),
  });
  const sent = [refused.entity("a").append(added(1)), refused.entity("a").seq()];
  const settled = Promise.allSettled(sent);
  await lost.promise;
  const unsent = refused.entity("a").append(added(1));
  more.resolve();
  const [write, read] = (await settled).map((call) => (call.status === "rejected" ? call.reason : undefined));
  expect(write).toMatchObject({ code: "UNAUTHORIZED", details: { outcome: "unknown" } });
  expect(read).toMatchObject({ code: "UNAUTHORIZED" });
  expect(read.details.outcome).toBeUndefined();
  const [late] = await Promise.allSettled([unsent]);
  expect(late).toMatchObject({ status: "rejected", reason: { code: "UNAUTHORIZED" } });
  expect(late).not.toHaveProperty("reason.details.outcome");
  await refused.close();
  server.close();
});

test("draining answers what is under way, refuses nothing that was sent, and ends", async () => {
  const own = await serveContext();
  const other = await connect({ address: own.tcp.address, timeoutMs: 10_000 });
  const calls = Array.from({ length: 500 }, () => other.entity("erin").append(added(1)));
  await calls[0];
  await own.tcp.drain();
  const answered = await Promise.allSettled(calls);
  const done = answered.filter(({ status }) => status === "fulfilled").length;
  expect(await own.warp.entity("erin").seq()).toBe(done);
  expect(own.tcp.connections).toBe(0);
  await other.close();
  await own.close();
});

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

test(`each append counts once over connections that are split, delayed and cut (SEED=${seed})`, async () => {
  const random = randomOf(seed);
  const proxy = await openCuttingProxy(served.tcp.port, seed);
  const shaky = await connect({ address: proxy.address, timeoutMs: 30_000 });
  const entities = Array.from({ length: 10 }, (_, i) => `shaky-${seed}-${i}`);
  // Kept handles name their entities by numbers, which end with each connection; new ones never do.
  const kept = new Map(entities.map((id) => [id, shaky.entity(id)]));
  const expected = new Map(entities.map((id) => [id, [] as number[]]));
  let next = 0;
  const caller = async (): Promise<void> => {
    for (let i = 0; i < 60 || proxy.cuts === 0; i++) {
      const id = entities[Math.floor(random() * entities.length)] ?? "";
      const numbers = Array.from({ length: 1 + Math.floor(random() * 3) }, () => next++);
      expected.get(id)?.push(...numbers);
      const entity = (random() < 0.7 ? kept.get(id) : undefined) ?? shaky.entity(id);
      const result = await entity.appendBatch(numbers.map(added));
      expect(result).toMatchObject({ ok: true, count: numbers.length });
    }
  };
  await Promise.all(Array.from({ length: 20 }, caller));
  for (const [id, numbers] of expected) {
    const events = await collect(served.warp.entity(id).events());
    const stored = events.map(({ data }) => (data as { by: number }).by);
    expect(stored.toSorted((a, b) => a - b)).toEqual(numbers.toSorted((a, b) => a - b));
    expect(await shaky.entity(id).state()).toMatchObject({ times: numbers.length });
  }
  expect(proxy.cuts).toBeGreaterThan(0);
  proxy.calm();
  await shaky.close();
  await proxy.close();
});

test("a deletion that waits for what is pending is answered, however short the client's other calls are", async () => {
  const [asked, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const passed = () => {
    asked.resolve();
    return gone.promise;
  };
  const unregister = served.warp.erasureFollowers.register({ name: "slow", passed });
  const own = served.warp.entity("who-goes-slowly");
  await own.append(added(1));
  // What the disk has to do for it is done: the follower alone is waited for.
  await own.delete({ waitMs: 0 });
  await asked.promise;
  const { address } = served.tcp;
  const hasty = await connect({ address, context: "default", timeoutMs: 200, connectTimeoutMs: 30_000 });
  const who = hasty.entity("who-goes-slowly");
  expect(await who.delete({ waitMs: 600 })).toMatchObject({
    status: "pending",
    pending: expect.arrayContaining(["slow"]),
  });
  expect(await codeOf(who.delete({ waitMs: 600 }, { timeoutMs: 200 }))).toBe("TIMEOUT");
  expect(await codeOf(who.delete({ waitMs: Number.NaN }))).toBe("INVALID_ARGUMENT");
  gone.resolve();
  unregister();
  expect(await who.delete({ waitMs: 60_000 })).toMatchObject({ status: "erased" });
  expect(await who.delete({}, { timeoutMs: undefined })).toMatchObject({ status: "erased" });
  await hasty.close();
});
