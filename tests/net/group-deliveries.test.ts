/**
 * Deliveries of a group over TCP that wait to be read: whose time passes, and whose entity is erased.
 */
import { afterEach, beforeEach, expect, type Mock, spyOn, test } from "bun:test";
import { type Client, connect, type RemoteWork } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { Member } from "../../src/subscription/groups/member.ts";
import { frameOf, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext, until } from "./served-context.ts";

/** How far the clock of the process has been put ahead. */
let aheadMs = 0;
let clock: Mock<typeof performance.now>;
const closers: (() => unknown)[] = [];

beforeEach(() => {
  const now = performance.now.bind(performance);
  clock = spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  clock.mockRestore();
  aheadMs = 0;
});

const entities = ["a", "b", "c", "d"];

/** Serves a context with an event of each entity. */
async function serve(): Promise<ServedContext> {
  const served = await serveContext();
  closers.push(() => served.close());
  for (const id of entities) await served.warp.entity(id).append({ type: "Added", data: { by: 1 } });
  return served;
}

async function dial(address: string): Promise<Client> {
  const client = await connect({ address });
  closers.push(() => client.close());
  return client;
}

async function next(work: AsyncIterator<RemoteWork>): Promise<RemoteWork> {
  const { value, done } = await work.next();
  if (done === true) throw new Error("the membership ended");
  return value;
}

/** Puts the clock ahead, and lets groups look at it. */
async function later(ms: number): Promise<void> {
  aheadMs += ms;
  const looked = spyOn(Member.prototype, "remove");
  await until(() => looked.mock.calls.length > 0);
  looked.mockRestore();
}

/** Waits until the server has heard what was read, and `work` makes it so. */
async function heard<Result>(work: () => Promise<Result>): Promise<Result> {
  const told = spyOn(Member.prototype, "read");
  const result = await work();
  await until(() => told.mock.calls.length > 0);
  told.mockRestore();
  return result;
}

test("what waits in a client for longer than the time of a delivery is read once and done once, at its first try", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  const work = client.join("g", { window: 4 });
  await until(() => warp.groups.status()[0]?.underWay === 4);
  const read: unknown[] = [];
  for (const _ of entities) {
    const one = await heard(() => next(work));
    read.push([one.event.entity, one.attempt]);
    // In two steps, in both of which the connection is heard of.
    for (const _half of [1, 2]) {
      await later(limits.groupAnswerMs * 0.4);
      await client.groups.status();
    }
    one.ack();
  }
  expect(read.toSorted()).toEqual(entities.map((entity) => [entity, 1]));
  await until(() => warp.groups.status()[0]?.lag === 0);
  expect(warp.groups.status()).toMatchObject([{ underWay: 0, waiting: 0, parked: 0 }]);
});

test("what waits in a client of an erased entity is not read any more", async () => {
  const { warp, tcp } = await serve();
  const client = await dial(tcp.address);
  const work = client.join("g");
  await until(() => warp.groups.status()[0]?.underWay === 4);
  await client.groups.status();
  expect((await warp.entity("b").delete()).status).toBe("erased");
  // What was pushed before the reply has been taken in with it.
  await client.groups.status();
  const read: string[] = [];
  for (let i = 0; i < 3; i++) {
    const one = await next(work);
    read.push(one.event.entity);
    one.ack();
  }
  expect(read.sort()).toEqual(["a", "c", "d"]);
  await until(() => warp.groups.status()[0]?.lag === 0);
});

type Delivered = readonly [delivery: number, attempt: number, entity: string];

/** What a peer is pushed, until that is so many deliveries and withdrawn ones. */
async function pushedTo(peer: RawPeer, count: number, withdrawnCount = 0) {
  const deliveries: Delivered[] = [];
  const withdrawn: number[] = [];
  while (deliveries.length < count || withdrawn.length < withdrawnCount) {
    const [frame, , kind, content] = (await peer.next()) ?? [];
    if (frame !== 3) continue;
    if (kind === 5) deliveries.push(...(content as Delivered[]));
    if (kind === 7) withdrawn.push(...(content as number[]));
  }
  return { deliveries, withdrawn };
}

test("a peer that tells what it reads has the rest delivered again at the same try, and is told what was withdrawn", async () => {
  const { warp, tcp } = await serve();
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  peer.send(frameOf([0, 2, 12, 5, "g", 10, null, null, "start", false, true]));
  const first = (await pushedTo(peer, 4)).deliveries;
  const held = first[0]?.[0] ?? 0;
  await heard(async () => peer.send(frameOf([4, 5, held])));
  await later(limits.groupAnswerMs);
  const again = await pushedTo(peer, 4, 3);
  const triesOf = (deliveries: readonly Delivered[]) =>
    new Map(deliveries.map(([, attempt, entity]) => [entity, attempt]));
  expect(triesOf(again.deliveries)).toEqual(
    triesOf(first.map(([delivery, , entity]) => [delivery, delivery === held ? 2 : 1, entity])),
  );
  const unread = first.map(([delivery]) => delivery).filter((delivery) => delivery !== held);
  expect(again.withdrawn.toSorted((a, b) => a - b)).toEqual(unread);
  expect(warp.groups.status()).toMatchObject([{ underWay: 4 }]);
});

test("to a peer that does not tell, every delivery counts as read when it comes", async () => {
  const { tcp } = await serve();
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.close());
  peer.send(frameOf([0, 2, 12, 5, "g", 10, null, null, "start"]));
  await pushedTo(peer, 4);
  await later(limits.groupAnswerMs);
  const { deliveries, withdrawn } = await pushedTo(peer, 4);
  expect(deliveries.map(([, attempt]) => attempt)).toEqual([2, 2, 2, 2]);
  expect(withdrawn).toEqual([]);
});
