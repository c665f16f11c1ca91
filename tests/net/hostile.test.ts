/**
 * Peers that break the protocol, the limits or the silence: each is told why or closed, its memory is bounded, and a
 * well-behaved client beside it does not notice.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { type Client, connect } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { appendsFrame, framed, frameOf, jsonValue, RawPeer } from "./raw-peer.ts";
import { type ServedContext, serveContext, until } from "./served-context.ts";

let served: ServedContext;
let neighbour: Client;

beforeAll(async () => {
  served = await serveContext({
    limits: {
      idleMs: 60_000,
      outputBytes: 64 * 1024,
      networkBytes: 48 << 20,
    },
  });
  neighbour = await connect({ address: served.tcp.address });
});

afterAll(async () => {
  await neighbour.close();
  await served.close();
});

async function neighbourWorks(client = neighbour): Promise<void> {
  const result = await client.entity("neighbour").append({ type: "Added", data: { by: 1 } });
  expect(result.ok).toBe(true);
}

/** The error about the connection that the server ends it with. */
async function lastWords(peer: RawPeer): Promise<unknown> {
  let last: unknown[] | undefined;
  for (let frame = await peer.next(); frame !== undefined; frame = await peer.next()) last = frame;
  expect(peer.isClosed).toBe(true);
  return last?.[0] === 2 && last[1] === 0 ? last[2] : undefined;
}

const deep = Buffer.concat([Buffer.alloc(100_000, 0x91), Buffer.of(0xc0)]);
const manyNils = Buffer.concat([Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff), Buffer.alloc(1000, 0xc0)]);

const broken: Readonly<Record<string, Uint8Array>> = {
  "a length beyond the limit": Buffer.of(0xff, 0xff, 0xff, 0xff),
  "a length of zero": Buffer.alloc(4),
  HTTP: Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  "no array": frameOf({ hello: "there" }),
  "an array that is nested 100,000 deep": framed(deep),
  "an array of 4 billion elements": framed(manyNils),
  "a frame of the server": frameOf([1, 1, null]),
  "a second hello": frameOf([0, 2, 0, 1]),
  "a request with id 0": frameOf([0, 0, 6]),
  "an id beyond 32 bits": frameOf([0, 2 ** 32, 6]),
  "an entity that is a number": frameOf([0, 2, 7, 5]),
  "a number for an entity beyond those that it may have": frameOf([
    0,
    2,
    7,
    [limits.connectionEntitiesMax, "a"],
  ]),
  "a number that was told with what is no id": Buffer.concat([
    frameOf([0, 2, 7, [0, ""]]),
    frameOf([0, 3, 7, 0]),
  ]),
  "appends in one frame, and none of them": appendsFrame(2, [], "[1]"),
  "more appends in one frame than the server takes": appendsFrame(2, Array(33).fill([0, 1]), "1".repeat(33)),
  "appends whose lengths do not add up": appendsFrame(2, [[0, 2]], "[1]"),
  "appends whose lengths go beyond their frame": appendsFrame(2, [[0, 2 ** 32 - 1]], "[1]"),
  "half an append": frameOf([0, 2, 32, "Added", null, Buffer.from("[1]"), Buffer.alloc(12)]),
  "appends of which one has no entity": Buffer.concat([
    frameOf([0, 2, 7, [0, "a"]]),
    appendsFrame(
      3,
      [
        [0, 3],
        [1, 3],
      ],
      "[1][2]",
    ),
  ]),
  "appends whose ids go beyond 32 bits": Buffer.concat([
    frameOf([0, 2, 7, [0, "a"]]),
    appendsFrame(
      2 ** 32 - 1,
      [
        [0, 3],
        [0, 3],
      ],
      "[1][2]",
    ),
  ]),
  "appends of no UTF-8": Buffer.concat([
    frameOf([0, 2, 7, [0, "a"]]),
    appendsFrame(3, [[0, 5]], Buffer.from('["\xff"]', "latin1")),
  ]),
  "a field that is missing": frameOf([0, 2, 7]),
  "bytes behind the array": framed(Buffer.concat([encode([0, 2, 6]), Buffer.of(0)])),
  "an entity that is no UTF-8": framed(Buffer.of(0x94, 0, 2, 7, 0xa2, 0xc3, 0x28)),
  "nesting in a field that nobody knows": framed(Buffer.concat([Buffer.of(0x94, 0, 2, 6), deep])),
};

for (const [name, bytes] of Object.entries(broken)) {
  test(`${name} ends the connection with PROTOCOL_ERROR`, async () => {
    const peer = await RawPeer.greeted(served.tcp.port);
    peer.send(bytes);
    expect(await lastWords(peer)).toBe("PROTOCOL_ERROR");
    await neighbourWorks();
  });
}

test("a first frame other than hello ends the connection", async () => {
  const peer = await RawPeer.open(served.tcp.port);
  peer.send(frameOf([0, 1, 6]));
  expect(await lastWords(peer)).toBe("PROTOCOL_ERROR");
});

test("another context, an unknown version and a wrong token are told apart", async () => {
  const guarded = await serveContext({ token: "secret" });
  const answerTo = async (hello: unknown[]) => {
    const peer = await RawPeer.open(guarded.tcp.port);
    peer.send(frameOf([0, 1, 0, ...hello]));
    return await lastWords(peer);
  };
  expect(await answerTo([1])).toBe("UNAUTHORIZED");
  expect(await answerTo([1, null, "Secret"])).toBe("UNAUTHORIZED");
  expect(await answerTo([1, "other", "secret"])).toBe("CONFIG_MISMATCH");
  expect(await answerTo([0, null, "secret"])).toBe("UNSUPPORTED");
  const peer = await RawPeer.open(guarded.tcp.port);
  peer.send(frameOf([0, 1, 0, 99, "default", "secret", "a later client", "a later field"]));
  expect((await peer.next())?.[2]).toMatchObject({ version: 1, context: "default" });
  peer.close();
  await guarded.close();
});

test("a request that is merely wrong is answered, and the connection goes on", async () => {
  const peer = await RawPeer.greeted(served.tcp.port);
  const manyTypes = Array(limits.subscriptionTypesMax + 1).fill("Added");
  const msgpackValue = (bytes: Uint8Array) => Buffer.concat([Buffer.of(0xc7, bytes.length, 1), bytes]);
  const wrong: [Uint8Array, string][] = [
    [frameOf([0, 2, 30]), "UNSUPPORTED"],
    [frameOf([0, 2, 1, "a", "Added", Buffer.from("[{")]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 1, "a", "Added", Buffer.from("{}")]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 1, "a", ["Added"], jsonValue([1, 2])]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 1, "", "Added", jsonValue([1])]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 1, "a", "", jsonValue([1])]), "INVALID_EVENT"],
    [frameOf([0, 2, 1, "a", "Added", Buffer.from('[{"__proto__":1}]')]), "INVALID_EVENT"],
    [frameOf([0, 2, 1, "a", "Added", jsonValue(["\ud800"])]), "INVALID_EVENT"],
    [frameOf([0, 2, 1, "a", "Added", jsonValue(["x".repeat(limits.eventBytesMax)])]), "EVENT_TOO_LARGE"],
    [frameOf([0, 2, 2, "a", "add", Buffer.from('{"__proto__":1}')]), "INVALID_EVENT"],
    [frameOf([0, 2, 2, "a", "nothing", jsonValue(1)]), "UNKNOWN_COMMAND"],
    [frameOf([0, 2, 3, "a", "nothing"]), "UNKNOWN_AGGREGATE"],
    [frameOf([0, 2, 9, 1, 1000, null, null, null, "c".repeat(4097)]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 12, 1, "g", 10, null, null, "c".repeat(4097)]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 9, 1, 1000, null, null, manyTypes]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 12, 1, "g", 10, null, manyTypes]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 11, 1, Array(limits.groupWindowMax + 1).fill(1)]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 21, "explode", "p"]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 17, "a", jsonValue(["reason"])]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 17, "a", Buffer.from("{")]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 18, "a", "set", jsonValue(null)]), "INVALID_ARGUMENT"],
    [frameOf([0, 2, 18, "a", "set", Buffer.from('{"__proto__":1}')]), "INVALID_EVENT"],
    [
      framed(
        Buffer.concat([
          Buffer.of(0x96, 0, 2, 1, 0xa1, 0x61, 0xa1, 0x62),
          msgpackValue(encode([{ ["__proto__"]: 1 }])),
        ]),
      ),
      "INVALID_ARGUMENT",
    ],
  ];
  for (const [frame, code] of wrong) {
    peer.send(frame);
    expect((await peer.next())?.slice(0, 3)).toEqual([2, 2, code]);
  }
  peer.send(frameOf([0, 3, 6]));
  expect(await peer.next()).toEqual([1, 3, null]);
  peer.close();
});

test("an error that would echo what was sent, however long, is short", async () => {
  const long = "é\u0001".repeat(900_000);
  const requests: [unknown[], string][] = [
    [[21, "pause", "p".repeat(limits.frameBytesMax - 40)], "UNKNOWN_PROJECTION"],
    [[14, "\u0001".repeat(1_800_000), 0], "INVALID_ARGUMENT"],
    [[3, "a", long, [0, 1]], "UNKNOWN_AGGREGATE"],
    [[2, "a", long], "UNKNOWN_COMMAND"],
  ];
  const peer = await RawPeer.greeted(served.tcp.port);
  for (const [request, code] of requests) {
    // Its record is not durable yet when the request behind it comes.
    peer.send(
      Buffer.concat([frameOf([0, 2, 1, "a", "Added", jsonValue([{ by: 1 }])]), frameOf([0, 3, ...request])]),
    );
    const answers = [await peer.next(), await peer.next()].toSorted(
      (a, b) => Number(a?.[1]) - Number(b?.[1]),
    );
    expect(answers[0]?.slice(0, 2)).toEqual([1, 2]);
    expect(answers[1]?.slice(0, 3)).toEqual([2, 3, code]);
    expect(String(answers[1]?.[3]).length).toBeLessThanOrEqual(4096);
  }
  peer.close();
  const stranger = await RawPeer.open(served.tcp.port);
  stranger.send(frameOf([0, 1, 0, 1, "c".repeat(limits.helloBytesMax - 40)]));
  expect(await lastWords(stranger)).toBe("CONFIG_MISMATCH");
  await neighbourWorks();
});

test("who has not said hello may send no more than one takes", async () => {
  for (const length of [limits.helloBytesMax + 1, limits.frameBytesMax]) {
    const peer = await RawPeer.open(served.tcp.port);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    peer.send(head);
    expect(await lastWords(peer)).toBe("PROTOCOL_ERROR");
  }
  const peer = await RawPeer.open(served.tcp.port);
  const note = jsonValue(["x".repeat(limits.helloBytesMax)]);
  peer.send(Buffer.concat([frameOf([0, 1, 0, 1]), frameOf([0, 2, 1, "large", "Note", note])]));
  expect((await peer.next())?.slice(0, 2)).toEqual([1, 1]);
  expect((await peer.next())?.slice(0, 2)).toEqual([1, 2]);
  peer.close();
});

test("a rejection whose details cannot be sent is an error, and the frames behind it are whole", async () => {
  const peer = await RawPeer.greeted(served.tcp.port);
  // A number below zero, for the application, in front of which there is much space.
  const by = `${"\u3000".repeat(400_000)}-1`;
  peer.send(
    Buffer.concat([
      frameOf([0, 2, 2, "a", "add", jsonValue({ by })]),
      frameOf([0, 3, 2, "a", "add", jsonValue({ by: -1 })]),
    ]),
  );
  expect((await peer.next())?.slice(0, 3)).toEqual([2, 2, "EVENT_TOO_LARGE"]);
  expect((await peer.next())?.slice(0, 3)).toMatchObject([1, 3, { 0: 2, 1: "NEGATIVE" }]);
  peer.close();
});

test("random frames from many peers do not disturb the server", async () => {
  const element = fc.oneof(
    fc.nat({ max: 8 }),
    fc.nat({ max: 8 }),
    fc.string(),
    fc.constant(null),
    fc.json().map((text) => Buffer.from(text)),
    fc.array(fc.nat({ max: 5 }), { maxLength: 4 }),
  );
  const body = fc.oneof(
    fc.array(element, { maxLength: 8 }).map((rest) => encode([0, 7, ...rest])),
    fc.uint8Array({ minLength: 1, maxLength: 100 }),
    fc
      .tuple(fc.string(), fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 40 }))
      .map(([type, texts, heads]) => encode([0, 7, 32, type, null, texts, heads])),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(body, { minLength: 1, maxLength: 5 }), async (bodies) => {
      const peer = await RawPeer.greeted(served.tcp.port);
      for (const one of bodies) peer.send(framed(one));
      peer.send(frameOf([0, 9, 6]));
      for (let frame = await peer.next(); frame !== undefined && frame[1] !== 9; frame = await peer.next()) {
        expect(frame[0] === 1 || frame[0] === 2).toBe(true);
      }
      peer.close();
    }),
    { numRuns: 200 },
  );
  await neighbourWorks();
});

test("a peer that says nothing, and one that never ends its frame, are closed in time", async () => {
  const hasty = await serveContext({ limits: { handshakeMs: 300 } });
  const impatient = await serveContext({ limits: { stallMs: 300 } });
  const silent = await RawPeer.open(hasty.tcp.port);
  const slow = await RawPeer.greeted(impatient.tcp.port);
  const dripping = setInterval(() => slow.send(Buffer.of(0)), 20);
  slow.send(Buffer.of(0, 0, 4, 0));
  expect(await lastWords(silent)).toBe("TIMEOUT");
  expect(await lastWords(slow)).toBe("TIMEOUT");
  clearInterval(dripping);
  await neighbourWorks();
  for (const server of [hasty, impatient]) await server.close();
});

test("a large frame that does not come costs nothing but the bytes that came", async () => {
  const before = served.tcp.bufferBytes;
  const head = Buffer.alloc(104);
  head.writeUInt32BE(limits.frameBytesMax);
  const peers = await Promise.all(Array.from({ length: 50 }, () => RawPeer.greeted(served.tcp.port)));
  for (const peer of peers) peer.send(head);
  await until(() => served.tcp.bufferBytes > before);
  expect(served.tcp.bufferBytes - before).toBeLessThan(50 * 1024);
  for (const peer of peers) peer.close();
  await until(() => served.tcp.bufferBytes <= before);
});

test("a reader that never reads is not served beyond its share, and closed", async () => {
  const impatient = await serveContext({ limits: { stallMs: 300, outputBytes: 64 * 1024 } });
  const { warp, tcp } = impatient;
  const beside = await connect({ address: tcp.address });
  const large = warp.entity("large");
  for (let i = 0; i < 10; i++) await large.append({ type: "Note", data: "x".repeat(50_000) });
  const peer = await RawPeer.greeted(tcp.port);
  peer.socket.pause();
  const frames = Array.from({ length: 500 }, (_, i) => frameOf([0, i + 1, 4, "large", 1]));
  for (const frame of frames) peer.send(frame);
  await until(() => tcp.bufferBytes > 64 * 1024);
  let most = 0;
  while (tcp.bufferBytes > 64 * 1024) {
    most = Math.max(most, tcp.bufferBytes);
    await neighbourWorks(beside);
  }
  // Eight pages may be under way when its output is full.
  expect(most).toBeLessThan(16 << 20);
  peer.socket.resume();
  await peer.untilClosed();
  await beside.close();
  await impatient.close();
});

test("frames that all connections together cannot hold close the one that needs more", async () => {
  const peers = await Promise.all(Array.from({ length: 8 }, () => RawPeer.greeted(served.tcp.port)));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(limits.frameBytesMax);
  for (const peer of peers) {
    peer.send(head);
    peer.send(Buffer.alloc(limits.frameBytesMax - 1));
  }
  await until(() => peers.some((peer) => peer.isClosed));
  expect(served.tcp.bufferBytes).toBeLessThanOrEqual(48 << 20);
  await neighbourWorks();
  for (const peer of peers) peer.close();
});

test("connections beyond the limit are refused, and the others go on", async () => {
  const small = await serveContext({ limits: { connections: 2 } });
  const first = await RawPeer.greeted(small.tcp.port);
  const second = await RawPeer.greeted(small.tcp.port);
  const third = await RawPeer.open(small.tcp.port);
  expect(await lastWords(third)).toBe("OVERLOADED");
  first.send(frameOf([0, 2, 6]));
  expect(await first.next()).toEqual([1, 2, null]);
  second.close();
  await until(() => small.tcp.connections === 1);
  (await RawPeer.greeted(small.tcp.port)).close();
  await small.close();
});

test("a peer that disappears in the middle of a frame or of its requests leaves nothing behind", async () => {
  const peer = await RawPeer.greeted(served.tcp.port);
  for (let i = 1; i <= 100; i++) peer.send(frameOf([0, i, 1, "gone", "Added", jsonValue([{ by: 1 }])]));
  peer.send(Buffer.of(0, 0, 1, 0, 0x93));
  for (let i = 1; i <= 100; i++) await peer.next();
  peer.close();
  // The neighbour alone is left; those of earlier tests may still be going.
  await until(() => served.tcp.connections === 1);
  expect(await served.warp.entity("gone").seq()).toBe(100);
});

test("an idle connection holds no buffer", async () => {
  const peers = await Promise.all(Array.from({ length: 200 }, () => RawPeer.greeted(served.tcp.port)));
  await until(() => served.tcp.bufferBytes === 0);
  for (const peer of peers) peer.close();
});
