/**
 * Groups over TCP: members on connections that are cut, and what operators see.
 */
import { afterEach, expect, test } from "bun:test";
import { type Client, connect, type RemoteWork, type WarpError } from "../../src/client/index.ts";
import { openCuttingProxy, randomOf } from "./cutting-proxy.ts";
import { frameOf, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext, until } from "./served-context.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(): Promise<ServedContext> {
  const served = await serveContext();
  closers.push(() => served.close());
  return served;
}

async function dial(address: string): Promise<Client> {
  const client = await connect({ address });
  closers.push(() => client.close());
  return client;
}

const added = (by: number) => ({ type: "Added", data: { by } });

async function next(work: AsyncIterator<RemoteWork>): Promise<RemoteWork> {
  const { value, done } = await work.next();
  if (done === true) throw new Error("the membership ended");
  return value;
}

test("members on connections that are cut work off every event, those of an entity in order", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  const random = randomOf(seed);
  const { warp, tcp } = await serve();
  const proxy = await openCuttingProxy(tcp.port, seed);
  closers.push(() => proxy.close());
  const counts = new Map<string, number>();
  const done = new Map<string, number>();
  const abort = new AbortController();
  let interruptions = 0;
  const members = Array.from({ length: 3 }, async () => {
    const client = await dial(proxy.address);
    const onInterrupted = () => interruptions++;
    for await (const work of client.join("g", { signal: abort.signal, onInterrupted, window: 8 })) {
      const { entity, seq } = work.event;
      const before = done.get(entity) ?? 0;
      // Again is possible, late is not.
      if (seq > before) {
        expect([entity, seq]).toEqual([entity, before + 1]);
        done.set(entity, seq);
      }
      if (random() < 0.05) work.retry(1);
      else work.ack();
    }
  });
  for (let round = 0; round < 60 || interruptions < 3; round++) {
    const writes = Array.from({ length: 5 }, () => {
      const id = `e${Math.floor(random() * 8)}`;
      counts.set(id, (counts.get(id) ?? 0) + 2);
      return warp.entity(id).appendBatch([added(1), added(2)]);
    });
    await Promise.all(writes);
    await Bun.sleep(random() * 5);
  }
  proxy.calm();
  await until(() => [...counts].every(([id, count]) => done.get(id) === count));
  abort.abort();
  await Promise.all(members);
});

test("what a member held when it died goes to another, and operators see the group", async () => {
  const begunAt = Date.now();
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  for (let i = 0; i < 3; i++) await client.entity(`e${i}`).append(added(i));
  const peer = await RawPeer.greeted(tcp.port);
  peer.send(frameOf([0, 2, 12, 5, "mailer", 10, null, ["Added"], "start"]));
  expect(await peer.next()).toEqual([1, 2, null]);
  let held = 0;
  while (held < 3) {
    const deliveries = (await peer.next())?.[3];
    held += Array.isArray(deliveries) ? deliveries.length : 0;
  }
  expect(await client.groups.status()).toMatchObject([
    { name: "mailer", types: ["Added"], members: 1, underWay: 3, waiting: 0, parked: 0 },
  ]);
  const work = client.join("mailer");
  await until(() => warp.groups.status()[0]?.members === 2);
  peer.close();
  const entities: string[] = [];
  for (let i = 0; i < 3; i++) {
    const one = await next(work);
    expect(one.attempt).toBe(2);
    entities.push(one.event.entity);
    if (i === 0) one.park("NO_ADDRESS");
    else one.ack();
  }
  expect(entities.sort()).toEqual(["e0", "e1", "e2"]);
  await until(() => warp.groups.status()[0]?.lag === 0);
  const [status] = await client.groups.status();
  expect(status).toMatchObject({ lag: 0, parked: 1 });
  expect(status?.oldestParkedAt).toBeGreaterThanOrEqual(begunAt);
  expect(await client.groups.parked("mailer")).toMatchObject([{ seq: 1, reason: "NO_ADDRESS", attempts: 2 }]);
  expect(await client.groups.replay("mailer")).toBe(1);
  (await next(work)).ack();
  await until(() => warp.groups.status()[0]?.parked === 0);
  await work.return();
  await until(() => warp.groups.status()[0]?.members === 0);
  await client.groups.remove("mailer");
  expect(await client.groups.status()).toEqual([]);
});

test("a membership is read by one reader: nobody gets the work of another", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  const membership = client.join("g");
  const first = next(membership);
  const second = membership.next().catch((thrown: WarpError) => thrown);
  await warp.entity("a").appendBatch([added(1), added(2)]);
  expect((await first).event.seq).toBe(1);
  expect(await second).toMatchObject({ code: "INVALID_ARGUMENT" });
  (await first).ack();
  expect((await next(membership)).event.seq).toBe(2);
});

test("what is acknowledged right before the client closes is done", async () => {
  const { warp, tcp } = await serve();
  const first = await dial(tcp.address);
  const second = await dial(tcp.address);
  for (let i = 1; i <= 3; i++) await warp.entity("a").append(added(i));
  const membership = first.join("g", { from: "start" });
  const work = await next(membership);
  work.ack();
  await first.close();
  // Too late, and without effect.
  work.ack();
  expect((await next(second.join("g"))).event.seq).toBe(2);
});

test("what is acknowledged again and again in one turn costs no other call of the client", async () => {
  const { warp, tcp } = await serve();
  const states: string[] = [];
  const client = await connect({ address: tcp.address, onConnection: (state) => states.push(state) });
  closers.push(() => client.close());
  await warp.entity("a").append(added(1));
  const work = await next(client.join("g", { prefix: "a" }));
  for (let i = 0; i < 2000; i++) work.ack();
  expect(await client.entity("b").append(added(1))).toMatchObject({ ok: true });
  await until(() => warp.groups.status()[0]?.underWay === 0);
  expect(states).toEqual(["connected"]);
});

test("says by its code what is wrong with a member", async () => {
  const { tcp } = await serve();
  const client = await dial(tcp.address);
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => "none",
      (thrown: WarpError) => thrown.code,
    );
  expect(await codeOf(client.join("a b").next())).toBe("INVALID_ARGUMENT");
  expect(await codeOf(client.join("g", { window: 0 }).next())).toBe("INVALID_ARGUMENT");
  expect(await codeOf(client.join("g", { from: "nowhere" }).next())).toBe("INVALID_ARGUMENT");
  expect(await codeOf(client.groups.parked("nobody"))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(client.groups.replay("nobody"))).toBe("INVALID_ARGUMENT");
});
