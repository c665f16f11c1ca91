/**
 * Appends of many entities in one frame: as a peer in another language sends them, and as a client does.
 */
import { expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { appendsFrame, frameOf, RawPeer } from "./raw-peer.ts";
import { counter, serveContext } from "./served-context.ts";

const added = (by: number) => ({ type: "Added", data: { by } });
const session = [Date.now(), 4711] as const;

/** What a frame of outcomes says: id, seq, and whether there are shard and position. */
function outcomesOf(frame: readonly unknown[] | undefined): [number, number][] {
  expect(frame?.[0]).toBe(5);
  const bytes = Buffer.from(frame?.[1] as Uint8Array);
  const outcomes: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += 24) {
    expect(bytes.readUInt32BE(at + 4)).toBeLessThan(3);
    expect(Number(bytes.readBigUInt64BE(at + 16))).toBeGreaterThan(0);
    outcomes.push([bytes.readUInt32BE(at), Number(bytes.readBigUInt64BE(at + 8))]);
  }
  return outcomes;
}

/** The first elements of the outcome that a reply has. */
function outcomeOf(reply: readonly unknown[] | undefined): unknown {
  expect(reply?.[0]).toBe(1);
  const outcome = reply?.[2];
  return Array.isArray(outcome) ? outcome.slice(0, 5) : outcome;
}

async function greetedWith(port: number, ...entities: string[]): Promise<RawPeer> {
  const peer = await RawPeer.greeted(port);
  for (const [number, entity] of entities.entries()) {
    peer.send(frameOf([0, number + 2, 7, [number, entity]]));
    await peer.next();
  }
  return peer;
}

test("each append of a frame is one of its own: in order, with an id and a delivery id, once", async () => {
  const served = await serveContext();
  const peer = await greetedWith(served.tcp.port, "alice", "bob");
  const [one, two, three] = [1, 2, 3].map((by) => JSON.stringify([{ by }])) as [string, string, string];
  const heads = [
    [0, one.length],
    [1, two.length],
    [0, three.length],
  ] as const;
  const frame = appendsFrame(10, heads, one + two + three, [...session, 1, 0]);
  peer.send(frame);
  const outcomes: [number, number][] = [];
  while (outcomes.length < 3) outcomes.push(...outcomesOf(await peer.next()));
  expect(outcomes.sort(([a], [b]) => a - b)).toEqual([
    [10, 1],
    [11, 1],
    [12, 2],
  ]);
  expect(await served.warp.entity("alice").read(counter)).toEqual({ sum: 4, times: 2 });
  expect(await served.warp.entity("bob").read(counter)).toEqual({ sum: 2, times: 1 });

  // A repeat is answered as one: each by a reply of its own, that says so.
  peer.send(frame);
  const repeats = [await peer.next(), await peer.next(), await peer.next()];
  const told = repeats.map((reply) => [reply?.[1], outcomeOf(reply)]);
  expect(told.sort(([a], [b]) => Number(a) - Number(b))).toEqual([
    [10, [0, 1, 1, 1, true]],
    [11, [0, 1, 1, 1, true]],
    [12, [0, 2, 2, 1, true]],
  ]);
  // The same appends on their own, under the delivery ids that they had in the frame.
  peer.send(frameOf([0, 20, 1, "alice", "Added", Buffer.from(three), null, null, null, [...session, 3, 2]]));
  expect(outcomeOf(await peer.next())).toEqual([0, 2, 2, 1, true]);
  expect(await served.warp.entity("alice").read(counter)).toEqual({ sum: 4, times: 2 });
  peer.close();
  await served.close();
});

test("what is refused of a frame is told by its id, and the others are appended", async () => {
  const served = await serveContext();
  const peer = await greetedWith(served.tcp.port, "alice", "bob");
  const texts = ['[{"by":1}]', "[{", "{}", '[{"by":2},{"by":3}]', '[{"__proto__":1}]', '[{"by":4}]', "[]"];
  peer.send(
    appendsFrame(
      30,
      texts.map((text, i) => [i % 2, text.length] as const),
      texts.join(""),
      null,
    ),
  );
  const answers = new Map<number, unknown>();
  while (answers.size < texts.length) {
    const frame = await peer.next();
    if (frame?.[0] === 5) for (const [id, seq] of outcomesOf(frame)) answers.set(id, seq);
    else answers.set(frame?.[1] as number, frame?.[0] === 2 ? frame[2] : outcomeOf(frame));
  }
  expect([...answers].sort(([a], [b]) => a - b)).toEqual([
    [30, 1],
    [31, "INVALID_ARGUMENT"],
    [32, "INVALID_ARGUMENT"],
    [33, [0, 2, 1, 2, false]],
    [34, "INVALID_EVENT"],
    [35, 3],
    [36, [0, 1, 2, 0, false]],
  ]);
  expect(await served.warp.entity("alice").read(counter)).toEqual({ sum: 1, times: 1 });
  expect(await served.warp.entity("bob").read(counter)).toEqual({ sum: 9, times: 3 });
  peer.close();
  await served.close();
});

test("a client packs the appends of a turn, and each caller gets its own result, refusals and errors included", async () => {
  const served = await serveContext();
  const client = await connect({ address: served.tcp.address });
  const entities = Array.from({ length: 100 }, (_, i) => client.entity(`e${i}`));
  for (let round = 0; round < 2; round++) await Promise.all(entities.map((one) => one.append(added(1))));
  const requestsBefore = served.tcp.counters.requests;
  const erased = entities[7] as (typeof entities)[0];
  await erased.delete();
  const results = await Promise.allSettled(
    entities.flatMap((one, i) => [
      one.append(added(i)),
      i % 10 === 0 ? one.append({ type: "", data: {} }) : one.append({ type: `Other${i % 3}`, data: [i] }),
      one.seq(),
      one.append(added(i)),
    ]),
  );
  for (let i = 0; i < 100; i++) {
    const [first, second, seq, third] = results.slice(i * 4, i * 4 + 4);
    if (i === 7) {
      for (const one of [first, second, third])
        expect(one).toMatchObject({ status: "rejected", reason: { code: "ERASED" } });
      continue;
    }
    const ofOther = i % 10 === 0 ? 0 : 1;
    expect(first).toMatchObject({ value: { ok: true, seq: 3, firstSeq: 3, count: 1, duplicate: false } });
    if (ofOther === 1) expect(second).toMatchObject({ value: { ok: true, seq: 4 } });
    else expect(second).toMatchObject({ status: "rejected", reason: { code: "INVALID_EVENT" } });
    expect(seq).toMatchObject({ status: "fulfilled" });
    expect(third).toMatchObject({ value: { ok: true, seq: 4 + ofOther } });
    expect(await served.warp.entity(`e${i}`).read(counter)).toEqual({ sum: 2 + 2 * i, times: 4 });
  }
  // Each counts for itself, however they came; a ping may be among them.
  expect(served.tcp.counters.requests - requestsBefore).toBeGreaterThanOrEqual(401);

  // What many appends of one type take on the wire is far less than as many frames.
  const at = served.tcp.counters.receivedBytes;
  const live = entities.filter((one) => one !== erased);
  await Promise.all(live.map((one) => one.append(added(5))));
  const bytes = (served.tcp.counters.receivedBytes - at) / live.length;
  expect(bytes).toBeLessThan('[{"by":5}]'.length + 8 + 4);
  await client.close();
  await served.close();
});
