/**
 * Results of queries that wait for their connections to ask for the rest: what they take is bounded over all connections, and a connection
 * that has gone has none.
 */
import { afterEach, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import type { QueryResult } from "../../src/net/protocol/querying.ts";
import { frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext, until } from "./served-context.ts";

let served: ServedContext | undefined;

afterEach(async () => {
  await served?.close();
  served = undefined;
});

const text = "x".repeat(500_000);
/** 60 MB, to who counts them. */
const large: QueryResult = {
  columns: ["n", "text"],
  rows: Array.from({ length: 120 }, (_, i) => [i, text]),
  isTruncated: false,
};

interface Queries {
  began: number;
  ended: number;
  result: QueryResult;
  gate: Promise<void> | undefined;
}

async function serveQueries(given: Partial<Queries> = {}) {
  const queries: Queries = { began: 0, ended: 0, result: large, gate: undefined, ...given };
  const context = await serveContext({}, (port) => ({
    ...port,
    async query() {
      queries.began++;
      await queries.gate;
      queries.ended++;
      return queries.result;
    },
  }));
  served = context;
  return { queries, tcp: context.tcp, greet: () => RawPeer.greeted(context.tcp.port) };
}

const query = (id: number) => frameOf([0, id, 20, "SELECT 1", null, jsonValue({ pages: true })]);
const rowsOf = (id: number, result: unknown) => frameOf([0, id, 24, result]);

interface Page {
  readonly count: number;
  readonly isTruncated: unknown;
  readonly next: unknown;
}

/** The first page of a result. */
async function asked(peer: RawPeer, id: number): Promise<Page> {
  peer.send(query(id));
  const frame = (await peer.next()) ?? [];
  expect(frame.slice(0, 2)).toEqual([1, id]);
  const [, rows, isTruncated, next] = frame[2] as [unknown, Uint8Array, boolean, unknown];
  return { count: JSON.parse(Buffer.from(rows).toString()).length, isTruncated, next };
}

/** Asks for the rest; returns how many rows there were. */
async function fetched(peer: RawPeer, number: unknown): Promise<number> {
  let count = 0;
  for (let next = number, id = 1000; next !== null; id++) {
    peer.send(rowsOf(id, next));
    const frame = (await peer.next()) ?? [];
    expect(frame.slice(0, 2)).toEqual([1, id]);
    const [rows, following] = frame[2] as [Uint8Array, unknown];
    count += JSON.parse(Buffer.from(rows).toString()).length;
    next = following;
  }
  return count;
}

test("a result is cut when those of all connections take too much, and held again when others were fetched", async () => {
  const { greet } = await serveQueries();
  const peers = await Promise.all([greet(), greet(), greet(), greet(), greet()]);
  const held: Page[] = [];
  for (const peer of peers.slice(0, 4)) held.push(await asked(peer, 2));
  for (const { isTruncated, next } of held) expect([isTruncated, typeof next]).toEqual([false, "number"]);
  const last = peers[4] as RawPeer;
  expect(await asked(last, 2)).toMatchObject({ isTruncated: true, next: null });
  const [first] = held;
  expect(await fetched(peers[0] as RawPeer, first?.next)).toBe(large.rows.length - (first?.count ?? 0));
  const again = await asked(last, 3);
  expect(again).toMatchObject({ isTruncated: false });
  // One that goes leaves its place.
  peers[1]?.close();
  await until(() => served?.tcp.connections === 4);
  expect(await asked(last, 4)).toMatchObject({ isTruncated: false });
  for (const peer of peers) peer.close();
});

test("nothing is held for a connection that has gone, or is being closed, when its query ends", async () => {
  const gate = Promise.withResolvers<void>();
  const { queries, tcp, greet } = await serveQueries({ gate: gate.promise });
  const gone = await Promise.all([greet(), greet(), greet()]);
  for (const peer of gone) peer.send(Buffer.concat([query(2), query(3)]));
  await until(() => queries.began === 6);
  gone[0]?.close();
  gone[1]?.close();
  // A frame of no kind: its last words are an error.
  gone[2]?.send(frameOf([9]));
  await until(() => tcp.connections === 0);
  gate.resolve();
  await until(() => queries.ended === 6);
  queries.gate = undefined;
  const peers = await Promise.all([greet(), greet(), greet(), greet()]);
  for (const peer of peers) expect(await asked(peer, 2)).toMatchObject({ isTruncated: false });
  for (const peer of peers) peer.close();
});

test("the number of a result stands for nothing on another connection, whatever that one has", async () => {
  const { greet } = await serveQueries();
  const [peer, other] = [await greet(), await greet()];
  const first = await asked(peer, 2);
  const second = await asked(other, 2);
  expect(first.next).toBeNumber();
  expect(second.next).not.toBe(first.next);
  other.send(rowsOf(3, first.next));
  expect((await other.next())?.slice(0, 3)).toEqual([2, 3, "ABORTED"]);
  // Nor does a number of another server, which would have counted from 1.
  other.send(rowsOf(4, 1));
  expect((await other.next())?.slice(0, 3)).toEqual([2, 4, "ABORTED"]);
  expect(await fetched(other, second.next)).toBe(large.rows.length - second.count);
  expect(await fetched(peer, first.next)).toBe(large.rows.length - first.count);
  peer.close();
  other.close();
});

const mib = 1 << 20;
const rows = (count: number, row: (index: number) => QueryResult["rows"][number]) => ({
  columns: ["n", "value"],
  rows: Array.from({ length: count }, (_, i) => row(i)),
  isTruncated: false,
});

const sizes: Readonly<Record<string, QueryResult>> = {
  "much text of three bytes a character": rows(40, (i) => [i, "日".repeat(100_000)]),
  "rows above the size of an event": rows(9, (i) => [i, "é".repeat(mib)]),
  "text that JSON escapes": rows(30, (i) => [i, "\u0001".repeat(300_000)]),
  "numbers of many digits": rows(150_000, (i) => {
    const small = -1e-300 / (i + 3);
    return [small, small, small, small];
  }),
  "bytes and big integers": rows(9, (i) => [2n ** 60n + BigInt(i), new Uint8Array(mib + i)]),
  "a row that fills a reply between small ones": rows(9, (i) => [
    i,
    "x".repeat(i === 4 ? 10 * mib - 100 : 10),
  ]),
  "a row of which JSON would fill six replies": rows(3, (i) => [i, "\u0001".repeat(i === 1 ? 9 * mib : 1)]),
};

for (const [name, result] of Object.entries(sizes)) {
  test(`${name}: all rows come, in pages, or as many as fit in one reply`, async () => {
    const { tcp, greet } = await serveQueries({ result });
    const client = await connect({ address: tcp.address });
    const { rows, isTruncated } = await client.query("SELECT 1");
    expect(isTruncated).toBe(false);
    expect(rows.length).toBe(result.rows.length);
    expect(Bun.deepEquals(rows, result.rows)).toBe(true);
    await client.close();
    const peer = await greet();
    peer.send(frameOf([0, 2, 20, "SELECT 1"]));
    const frame = await peer.next();
    expect(frame?.slice(0, 2)).toEqual([1, 2]);
    expect(frame?.[2]).toMatchObject({ 2: true, length: 3 });
    peer.close();
  });
}

test("a row that no reply can hold is an error that says so, asked for in pages or not", async () => {
  const text = "x".repeat(10 * mib + 1);
  const { queries, greet } = await serveQueries({ result: rows(3, (i) => [i, i === 1 ? text : ""]) });
  const peer = await greet();
  peer.send(query(2));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 2, "QUERY_FAILED"]);
  peer.send(frameOf([0, 3, 20, "SELECT 1"]));
  // What is before it fits.
  expect((await peer.next())?.[2]).toMatchObject({ 2: true, length: 3 });
  queries.result = rows(1, () => [1, text]);
  peer.send(frameOf([0, 4, 20, "SELECT 1"]));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 4, "QUERY_FAILED"]);
  // It would fit without the names of its columns.
  queries.result = { columns: ["c".repeat(mib)], rows: [["x".repeat(9.5 * mib)]], isTruncated: false };
  peer.send(frameOf([0, 5, 20, "SELECT 1"]));
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 5, "QUERY_FAILED"]);
  peer.close();
});
