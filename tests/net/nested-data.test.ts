/**
 * Data that is nested as deep as it may be goes over the wire in both directions, in both forms; deeper data goes nowhere.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encode, ExtData } from "@msgpack/msgpack";
import { type Client, connect } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { eventsOf } from "../../src/net/protocol/requests.ts";
import { frameOf, framed, jsonValue, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext } from "./served-context.ts";

const { dataDepthMax } = limits;

let served: ServedContext;
let client: Client;

beforeAll(async () => {
  served = await serveContext();
  client = await connect({ address: served.tcp.address });
});

afterAll(async () => {
  await client.close();
  await served.close();
});

/** A value within so many arrays and objects. */
function nested(depth: number, leaf: unknown): unknown {
  let value = leaf;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value };
  return value;
}

test("data of the deepest nesting is appended, read and pushed", async () => {
  // A big integer does not fit in JSON, nor does the data of the other events of its append.
  for (const [entity, leaf] of [
    ["json", 1],
    ["msgpack", 1n],
  ] as const) {
    const data = nested(dataDepthMax, leaf);
    const handle = client.entity(entity);
    expect(await handle.append({ type: "Note", data })).toMatchObject({ ok: true });
    expect(
      await handle.appendBatch([
        { type: "Note", data },
        { type: "Note", data: 1n },
      ]),
    ).toMatchObject({ ok: true });
    const read: unknown[] = [];
    for await (const event of handle.events()) read.push(event.data);
    expect(read).toEqual([data, data, 1n]);
    const pushed: unknown[] = [];
    for await (const message of client.subscribe({ entity })) {
      if (message.kind === "caughtUp") break;
      if (message.kind === "events") pushed.push(...message.events.map(({ data }) => data));
    }
    expect(pushed).toEqual([data, data, 1n]);
  }
});

test("deeper data is refused, whatever form it has", async () => {
  const peer = await RawPeer.greeted(served.tcp.port);
  const msgpack = (value: unknown) => new ExtData(1, encode(value, { useBigInt64: true }));
  const append = (id: number, data: unknown, personal: unknown = null) =>
    framed(encode([0, id, 1, "deep", "Note", data, null, null, null, null, personal]));
  const codeOf = async (frame: Uint8Array) => {
    peer.send(frame);
    return (await peer.next())?.[2];
  };
  const tooDeep = nested(dataDepthMax + 1, 1);
  expect(await codeOf(append(2, jsonValue([tooDeep])))).toBe("INVALID_EVENT");
  expect(await codeOf(append(3, msgpack([tooDeep])))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(append(4, msgpack([nested(dataDepthMax, 1)])))).toMatchObject({ 0: 0 });
  // What is not in a list has no level more: inputs of commands.
  expect(await codeOf(frameOf([0, 5, 2, "deep", "add", msgpack(nested(dataDepthMax + 1, 1))]))).toBe(
    "INVALID_ARGUMENT",
  );
  // What is said of others stands in a list of maps.
  const saying = (depth: number) => [{ subject: "bob", data: nested(depth, 1) }];
  for (const form of [jsonValue, msgpack]) {
    expect(await codeOf(append(6, jsonValue([1]), form(saying(dataDepthMax))))).toMatchObject({ 0: 0 });
    expect(await codeOf(append(7, jsonValue([1]), form(saying(dataDepthMax + 1))))).toBeOneOf([
      "INVALID_EVENT",
      "INVALID_ARGUMENT",
    ]);
  }
  peer.close();
  let count = 0;
  for await (const _ of served.warp.entity("deep").events()) count++;
  expect(count).toBe(3);
});

test("what is said of others may each be as large as data may be", () => {
  const personal = JSON.stringify([1, 2].map(() => ({ subject: "bob", data: "x".repeat(700_000) })));
  const request = { entity: "a", types: "Note", data: "[1,2]", occurred: undefined, options: undefined };
  expect(eventsOf({ ...request, personal })).toMatchObject([
    { type: "Note", personal: { subject: "bob" } },
    {},
  ]);
});
