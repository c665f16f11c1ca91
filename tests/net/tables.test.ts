/**
 * Appends whose data is a table: from the client, and from a peer that makes its own.
 */
import { expect, test } from "bun:test";
import { encode, ExtData } from "@msgpack/msgpack";
import { tableOf } from "../../src/aggregate/tables.ts";
import { encodeEvents } from "../../src/client/encoding.ts";
import { connect } from "../../src/client/index.ts";
import { Table } from "../../src/core/table.ts";
import { framed, frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { serveContext } from "./served-context.ts";

const rows = Array.from({ length: 300 }, (_, i) => ({
  by: i,
  text: `größer ${i}`,
  at: 1.7e12 + i / 2,
  deep: { i },
}));
const events = rows.map((data) => ({ type: "Added", data }));

/** The bytes that docs/protocol.md describes, made without Warp's code: whole numbers, and texts. */
function tableByHand(numbers: readonly number[], texts: readonly string[]): Buffer {
  const u16 = (n: number) => Buffer.from([n & 255, n >>> 8]);
  const u32 = (n: number) => Buffer.from([n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24]);
  const column = (kind: number, content: Buffer) =>
    Buffer.concat([Buffer.of(kind), u32(content.length), content]);
  const f64 = Buffer.alloc(8);
  f64.writeDoubleLE(10);
  const keys = Buffer.from('["by","text"]');
  return Buffer.concat([
    u32(numbers.length),
    u16(2),
    u32(keys.length),
    keys,
    column(1, Buffer.concat([f64, ...numbers.map((n) => u32((n - 10) >>> 0))])),
    column(3, Buffer.concat([...texts.map((t) => u16(Buffer.byteLength(t))), Buffer.from(texts.join(""))])),
  ]);
}

const append = (id: number, data: unknown) =>
  framed(encode([0, id, 1, "alice", "Added", data, null, null, null, null]));

/** Kind and id of a reply, and what of its outcome does not depend on the shard. */
function outcomeIn([kind, id, outcome]: unknown[] = []): unknown[] {
  return [kind, id, ...(Array.isArray(outcome) ? outcome.slice(0, 4) : [outcome])];
}

test("a client sends many like events as a table, which the server keeps and gives back", async () => {
  const served = await serveContext();
  const client = await connect({ address: `127.0.0.1:${served.tcp.port}` });
  const alice = client.entity("alice");
  expect(await alice.appendBatch(events)).toMatchObject({ ok: true, count: 300 });
  expect(await alice.appendBatch(events.slice(0, 2))).toMatchObject({ ok: true, count: 2 });
  const back: unknown[] = [];
  for await (const event of alice.events()) back.push(event.data);
  expect(back).toEqual([...rows, ...rows.slice(0, 2)]);
  expect(await alice.state()).toEqual({ sum: 44_850 + 1, times: 302 });
  // Under a key, the same events are the same whatever they were sent as.
  const keyed = await client.entity("bob").appendBatch(events, { key: "once" });
  expect(keyed).toMatchObject({ ok: true, duplicate: false });
  expect(await served.warp.entity("bob").appendBatch(events, { key: "once" })).toMatchObject({
    duplicate: true,
  });
  await client.close();
  await served.close();
});

test("a client makes tables only for a server that takes them, and of lists that are like tables", () => {
  expect(encodeEvents(events, true).data).toBeInstanceOf(Table);
  expect(encodeEvents(events, false).data).toBe(JSON.stringify(rows));
  expect(encodeEvents(events.slice(0, 2), true).data).toBeString();
  expect(encodeEvents([...events, { type: "Added", data: { by: 1n } }], true).data).toBeInstanceOf(
    Uint8Array,
  );
});

test("a table that another program wrote is read, and what is none is refused without harm", async () => {
  const served = await serveContext();
  const peer = await RawPeer.open(served.tcp.port);
  peer.send(frameOf([0, 1, 0, 1]));
  const [, , welcome] = (await peer.next()) ?? [];
  expect(welcome).toMatchObject({ limits: { tables: 1 } });
  const bytes = tableByHand([7, 12, 10], ["", "drei", "für"]);
  peer.send(append(2, new ExtData(2, bytes)));
  expect(outcomeIn(await peer.next())).toEqual([1, 2, 0, 3, 1, 3]);
  const back: unknown[] = [];
  for await (const event of served.warp.entity("alice").events()) back.push(event.data);
  expect(back).toEqual([
    { by: 7, text: "" },
    { by: 12, text: "drei" },
    { by: 10, text: "für" },
  ]);
  // Cut off, with bytes behind it, and empty.
  const damaged = [bytes.subarray(0, 40), Buffer.concat([bytes, bytes]), Buffer.alloc(0)];
  for (const [i, table] of damaged.entries()) {
    peer.send(append(10 + i, new ExtData(2, table)));
    expect((await peer.next())?.slice(0, 3)).toEqual([2, 10 + i, "INVALID_ARGUMENT"]);
  }
  const proto = new Table(1, ["__proto__"], [{ kind: "json", pieces: ['[{"by":1}]'] }]).toBytes().bytes;
  peer.send(append(20, new ExtData(2, proto)));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 20, "INVALID_ARGUMENT"]);
  // What only JSON text could hide is found: the append is refused as it is in JSON.
  const lone = new Table(1, ["by"], [{ kind: "json", pieces: ['["\\ud800"]'] }]).toBytes().bytes;
  peer.send(append(21, new ExtData(2, lone)));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 21, "INVALID_EVENT"]);
  // Nor is text that is not UTF-8 stored: it would be read as other text.
  const latin = tableByHand([7, 12], ["Q", "Q"]);
  latin.write("\xe9\xe9", latin.length - 2, "latin1");
  peer.send(append(24, new ExtData(2, latin)));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 24, "INVALID_ARGUMENT"]);
  peer.send(append(22, jsonValue([{ by: 1 }])));
  expect(outcomeIn(await peer.next())).toEqual([1, 22, 0, 4, 4, 1]);
  // Where no data of an append stands, a table breaks the protocol.
  peer.send(framed(encode([0, 23, 2, "alice", "add", new ExtData(2, bytes), null, null, null])));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 0, "PROTOCOL_ERROR"]);
  await served.close();
});

test("bytes of tables do not depend on who asks: the same rows make the same table", () => {
  expect(tableOf(rows)?.toBytes().bytes).toEqual(
    tableOf(structuredClone(rows))?.toBytes().bytes as Uint8Array,
  );
});
