/**
 * Requests for pages beside others of their connection: a few are under way, the others wait in line, in bounded memory, and hold up
 * nobody else.
 */
import { afterEach, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import type { EnginePort } from "../../src/net/engine-port.ts";
import { frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { briefly, filled, largeSettings, type ServedContext, serveContext, until } from "./served-context.ts";

const { connectionPagesMax, connectionQueueBytes } = limits;

/** Holds up the pages of histories, exports and ledgers until it is opened. */
class Gate {
  /** The entities whose pages were begun, in that order. */
  readonly begun: string[] = [];
  underWay = 0;
  mostUnderWay = 0;
  readonly #opened = Promise.withResolvers<void>();

  open(): void {
    this.#opened.resolve();
  }

  wrap(port: EnginePort): EnginePort {
    const pass = (entity: string) => this.#pass(entity);
    const end = () => this.underWay--;
    return {
      ...port,
      async *events(entity, query, stored) {
        await pass(entity);
        yield* port.events(entity, query, stored);
        end();
      },
      async exportPage(entity, cursor) {
        await pass(entity);
        const page = await port.exportPage(entity, cursor);
        end();
        return page;
      },
      async erasures(shard, after) {
        await pass(`ledger of ${shard}`);
        const entries = await port.erasures(shard, after);
        end();
        return entries;
      },
    };
  }

  async #pass(entity: string): Promise<void> {
    this.begun.push(entity);
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    await this.#opened.promise;
  }
}

let served: ServedContext | undefined;

afterEach(async () => {
  await served?.close();
  served = undefined;
});

async function serveGated(): Promise<{ gate: Gate; served: ServedContext; peer: RawPeer }> {
  const gate = new Gate();
  served = await serveContext({}, (port) => gate.wrap(port));
  return { gate, served, peer: await RawPeer.greeted(served.tcp.port) };
}

const eventsOf = (id: number, entity: string) => frameOf([0, id, 4, entity]);
const ping = (id: number) => frameOf([0, id, 6]);
const idsFrom = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** Ids of the next replies, which are no errors. */
async function repliesOf(peer: RawPeer, count: number): Promise<number[]> {
  const ids: number[] = [];
  while (ids.length < count) {
    const frame = await peer.next();
    if (frame?.[0] !== 1) throw new Error(`no reply: ${JSON.stringify(frame)}`);
    ids.push(Number(frame[1]));
  }
  return ids;
}

test("slow pages hold up no other request of their connection, and begin in the order in which they came", async () => {
  const { gate, peer } = await serveGated();
  const pages = idsFrom(100, 5 * connectionPagesMax);
  peer.send(Buffer.concat(pages.map((id) => eventsOf(id, `page-${id}`))));
  peer.send(frameOf([0, 2, 1, "alice", "Added", jsonValue([{ by: 3 }])]));
  expect(await peer.next()).toMatchObject([1, 2, { 0: 0, 1: 1 }]);
  peer.send(frameOf([0, 3, 3, "alice"]));
  const [, , state] = (await peer.next()) ?? [];
  expect(state).toEqual([1, new Uint8Array(Buffer.from('{"sum":3,"times":1}'))]);
  peer.send(ping(4));
  expect(await peer.next()).toEqual([1, 4, null]);
  expect(gate.begun).toHaveLength(connectionPagesMax);

  gate.open();
  expect((await repliesOf(peer, pages.length)).toSorted((a, b) => a - b)).toEqual(pages);
  expect(gate.begun).toEqual(pages.map((id) => `page-${id}`));
  expect(gate.mostUnderWay).toBe(connectionPagesMax);
  peer.close();
});

test("pages of exports and of ledgers are pages like others", async () => {
  const { gate, served, peer } = await serveGated();
  await served.warp.entity("alice").append({ type: "Added", data: { by: 1 } });
  const exports = idsFrom(100, connectionPagesMax);
  peer.send(Buffer.concat(exports.map((id) => frameOf([0, id, 16, "alice"]))));
  const ledgers = idsFrom(200, connectionPagesMax);
  peer.send(Buffer.concat([...ledgers.map((id) => frameOf([0, id, 19, 1, 0])), ping(2)]));
  expect(await peer.next()).toEqual([1, 2, null]);
  expect(gate.begun).toEqual(exports.map(() => "alice"));
  gate.open();
  expect((await repliesOf(peer, 2 * connectionPagesMax)).toSorted((a, b) => a - b)).toEqual([
    ...exports,
    ...ledgers,
  ]);
  expect(gate.mostUnderWay).toBe(connectionPagesMax);
  peer.close();
});

test("beyond what may wait the connection is not read, and everything is answered in the end", async () => {
  const { gate, served, peer } = await serveGated();
  const before = served.tcp.counters.requests;
  const pages = idsFrom(100, 2000);
  peer.send(Buffer.concat([...pages.map((id) => eventsOf(id, `page-${id}-${"x".repeat(200)}`)), ping(2)]));
  await until(() => served.tcp.bufferBytes > connectionQueueBytes);
  // Another connection is read on, and so would this one be if it were.
  const other = await RawPeer.greeted(served.tcp.port);
  for (let id = 2; id < 50; id++) {
    other.send(ping(id));
    expect(await other.next()).toEqual([1, id, null]);
  }
  expect(served.tcp.counters.requests - before).toBeLessThan(pages.length / 2);
  // What waits, and what had arrived behind it before the connection was paused.
  expect(served.tcp.bufferBytes).toBeLessThan(connectionQueueBytes + (1 << 20));
  other.close();

  gate.open();
  expect((await repliesOf(peer, pages.length + 1)).toSorted((a, b) => a - b)).toEqual([2, ...pages]);
  await until(() => served.tcp.bufferBytes === 0);
  peer.close();
});

test("what waits for a peer that has gone is forgotten", async () => {
  const { gate, served, peer } = await serveGated();
  peer.send(Buffer.concat(idsFrom(100, 100).map((id) => eventsOf(id, `page-${id}`))));
  peer.send(ping(2));
  expect(await peer.next()).toEqual([1, 2, null]);
  expect(served.tcp.bufferBytes).toBeGreaterThan(0);
  peer.close();
  await until(() => served.tcp.connections === 0);
  expect(served.tcp.bufferBytes).toBe(0);
  gate.open();
  await until(() => gate.underWay === 0);
  expect(gate.begun).toHaveLength(connectionPagesMax);
});

test("a server that stops answers what waits", async () => {
  const { gate, served, peer } = await serveGated();
  const pages = idsFrom(100, 5 * connectionPagesMax);
  peer.send(Buffer.concat(pages.map((id) => eventsOf(id, `page-${id}`))));
  await until(() => served.tcp.counters.requests > pages.length);
  const drained = served.tcp.drain();
  gate.open();
  expect((await repliesOf(peer, pages.length)).toSorted((a, b) => a - b)).toEqual(pages);
  expect(await peer.next()).toBeUndefined();
  await drained;
});

test("history is read whatever forms of data follow each other, and however large they would be in the other", async () => {
  served = await serveContext({}, undefined, largeSettings);
  const { warp, tcp } = served;
  const client = await connect({ address: tcp.address });
  const numbers = filled(150_000);
  const dates = [new Date(5), -0, Number.NaN, 2n ** 60n, new Uint8Array([1, 2])].map((of) => ({
    type: "Noted",
    data: { of },
  }));
  const said = { type: "Noted", data: 1, personal: { subject: "bob", data: "x".repeat((1 << 20) - 8) } };
  const histories = {
    first: [...dates, numbers, numbers, ...dates],
    last: [numbers, numbers, numbers, ...dates],
    turns: [...dates.flatMap((event) => [event, numbers]), { type: "Noted", data: { small: [1] } }, ...dates],
    large: [filled(500_000), ...dates, said, said],
  };
  for (const [entity, history] of Object.entries(histories)) {
    for (const event of history) await warp.entity(entity).append(event);
    for (const direction of ["forward", "backward"] as const) {
      const expected = await Array.fromAsync(warp.entity(entity).events({ direction }));
      const all = await Array.fromAsync(client.entity(entity).events({ direction }));
      expect(briefly(all)).toEqual(briefly(expected));
      const some = await Array.fromAsync(client.entity(entity).events({ direction, limit: 4 }));
      expect(briefly(some)).toEqual(briefly(expected.slice(0, 4)));
    }
  }
  await client.close();
});
