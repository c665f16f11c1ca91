/**
 * Large requests that are not answered yet: what they take is bounded for a connection and for all of them, and nobody is closed for it.
 */
import { afterEach, expect, test } from "bun:test";
import { limits } from "../../src/core/limits.ts";
import type { EnginePort } from "../../src/net/engine-port.ts";
import { appendsFrame, frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext, until } from "./served-context.ts";

const { connectionPagesMax, connectionRequestBytes, frameBytesMax, largeRequestBytes } = limits;

/** Holds up what is sent to the engine until it is opened. */
class Gate {
  #held: (() => void)[] | undefined = [];
  began = 0;

  open(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }

  /** Lets those go on that came behind the first ones. */
  releaseBehind(count: number): void {
    for (const go of this.#held?.splice(count) ?? []) go();
  }

  wrap(port: EnginePort): EnginePort {
    const pass = (go: () => void) => {
      this.began++;
      if (this.#held === undefined) go();
      else this.#held.push(go);
    };
    return {
      ...port,
      append: (...call) => pass(() => port.append(...call)),
      send: (...call) => pass(() => port.send(...call)),
      async exportPage(entity, cursor) {
        await new Promise<void>(pass);
        return await port.exportPage(entity, cursor);
      },
    };
  }
}

let served: ServedContext | undefined;

afterEach(async () => {
  await served?.close();
  served = undefined;
});

async function serveGated(networkBytes: number = limits.networkBytesMax) {
  const gate = new Gate();
  served = await serveContext({ limits: { networkBytes } }, (port) => gate.wrap(port));
  return { gate, served, peer: await RawPeer.greeted(served.tcp.port) };
}

/** A command that is refused, with an input of so many bytes. */
const send = (id: number, bytes: number) =>
  frameOf([0, id, 2, "alice", "add", jsonValue({ by: -1, text: "x".repeat(bytes) })]);
const ping = (id: number) => frameOf([0, id, 6]);
const idsFrom = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

async function answersTo(peer: RawPeer, ids: readonly number[]): Promise<void> {
  const answered: number[] = [];
  while (answered.length < ids.length) {
    const frame = await peer.next();
    if (frame === undefined) throw new Error("the connection was closed");
    answered.push(Number(frame[1]));
  }
  expect(answered.toSorted((a, b) => a - b)).toEqual([...ids]);
}

/** Others are served, and so would those that were sent before. */
async function othersAreServed({ tcp }: ServedContext): Promise<void> {
  const other = await RawPeer.greeted(tcp.port);
  for (const id of idsFrom(2, 50)) {
    other.send(ping(id));
    expect(await other.next()).toEqual([1, id, null]);
  }
  other.close();
}

test("a connection is not read beyond the bytes that it may have under way, and everything is answered in the end", async () => {
  const { gate, served, peer } = await serveGated();
  const bytes = 900_000;
  const ids = idsFrom(100, 60);
  for (const id of ids) peer.send(send(id, bytes));
  await until(() => gate.began * bytes > connectionRequestBytes - bytes);
  await othersAreServed(served);
  expect((gate.began - 1) * bytes).toBeLessThanOrEqual(connectionRequestBytes);
  gate.open();
  await answersTo(peer, ids);
  await until(() => served.tcp.bufferBytes === 0);
  peer.close();
});

test("small requests are not counted, whatever they come to", async () => {
  const { gate, peer } = await serveGated(4 << 20);
  const ids = idsFrom(100, 400);
  for (const id of ids) peer.send(send(id, largeRequestBytes - 100));
  await until(() => gate.began === ids.length);
  gate.open();
  await answersTo(peer, ids);
  peer.close();
});

test("appends that came in one frame count once", async () => {
  const { gate, served, peer } = await serveGated();
  peer.send(frameOf([0, 2, 7, [0, "alice"]]));
  await peer.next();
  const text = JSON.stringify([{ by: 1, text: "x".repeat(250_000) }]);
  const heads = Array.from({ length: 32 }, () => [0, text.length] as const);
  // Two frames of 8 MB are not too much, so a third one is read, and no fourth.
  for (const first of [100, 200, 300]) peer.send(appendsFrame(first, heads, text.repeat(32)));
  await until(() => gate.began >= 96);
  await othersAreServed(served);
  peer.send(appendsFrame(400, heads, text.repeat(32)));
  await othersAreServed(served);
  expect(gate.began).toBe(96);
  gate.open();
  await answersTo(
    peer,
    [100, 200, 300, 400].flatMap((first) => idsFrom(first, 32)),
  );
  peer.close();
});

test("all connections together are bounded, those without large requests are read on, and nobody is closed", async () => {
  const networkBytes = 8 << 20;
  const { gate, served } = await serveGated(networkBytes);
  const bytes = 200_000;
  const ids = idsFrom(100, 20);
  const peers = await Promise.all(idsFrom(0, 6).map(() => RawPeer.greeted(served.tcp.port)));
  for (const id of ids) {
    for (const peer of peers) peer.send(send(id, bytes));
    await othersAreServed(served);
  }
  // Each may have had one frame beyond it.
  expect(gate.began * bytes).toBeLessThan(networkBytes + peers.length * bytes);
  expect(gate.began * bytes).toBeGreaterThan(networkBytes - bytes);
  await until(() => served.tcp.connections === peers.length + 1);
  gate.open();
  for (const peer of peers) await answersTo(peer, ids);
  for (const peer of peers) peer.close();
});

test("a connection that waits for others is read on when theirs are answered", async () => {
  const { gate, served, peer } = await serveGated(4 << 20);
  const bytes = 420_000;
  peer.send(send(100, bytes));
  await until(() => gate.began === 1);
  const other = await RawPeer.greeted(served.tcp.port);
  const ids = idsFrom(100, 9);
  for (const id of ids) {
    other.send(send(id, bytes));
    await until(() => gate.began === id - 98);
  }
  peer.send(send(101, bytes));
  await othersAreServed(served);
  expect(gate.began).toBe(10);
  gate.releaseBehind(1);
  await until(() => gate.began === 11);
  gate.open();
  await answersTo(other, ids);
  await answersTo(peer, [100, 101]);
  peer.close();
  other.close();
});

test("what waits in line for a peer that has gone counts no more", async () => {
  const { gate, served } = await serveGated(1 << 20);
  const page = (id: number, bytes: number) => frameOf([0, id, 16, "e".repeat(bytes)]);
  for (let round = 1; round <= 10; round++) {
    const peer = await RawPeer.greeted(served.tcp.port);
    for (const id of idsFrom(100, connectionPagesMax)) peer.send(page(id, 10));
    await until(() => gate.began === round * connectionPagesMax);
    const { requests } = served.tcp.counters;
    peer.send(page(200, 120_000));
    await until(() => served.tcp.counters.requests > requests);
    peer.close();
    await until(() => served.tcp.connections === 1);
  }
  const before = gate.began;
  const peer = await RawPeer.greeted(served.tcp.port);
  const ids = idsFrom(100, 5);
  for (const id of ids) peer.send(send(id, 100_000));
  await until(() => gate.began === before + ids.length);
  gate.open();
  await answersTo(peer, ids);
  peer.close();
});

test("types of a subscription are bounded in length, and so is a cursor", async () => {
  const { peer } = await serveGated();
  peer.send(frameOf([0, 2, 9, 1, 1000, null, null, ["ü".repeat(127)]]));
  expect(await peer.next()).toEqual([1, 2, null]);
  peer.send(frameOf([0, 3, 9, 2, 1000, null, null, ["Added", "ü".repeat(128)]]));
  let frame = await peer.next();
  while (frame?.[0] === 3) frame = await peer.next();
  expect(frame?.slice(0, 3)).toEqual([2, 3, "INVALID_ARGUMENT"]);
  peer.send(frameOf([0, 4, 9, 3, 1000, null, null, null, "c".repeat(5000)]));
  frame = await peer.next();
  while (frame?.[0] === 3) frame = await peer.next();
  expect(frame?.slice(0, 3)).toEqual([2, 4, "INVALID_ARGUMENT"]);
  peer.close();
});

test("a frame of the largest size is read", async () => {
  const { gate, peer } = await serveGated();
  gate.open();
  peer.send(frameOf([0, 2, 21, "pause", "p".repeat(frameBytesMax - 40)]));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 2, "UNKNOWN_PROJECTION"]);
  peer.close();
});
