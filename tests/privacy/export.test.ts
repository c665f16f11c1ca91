/**
 * What an export holds, that it is whole, and that its size is not that of the memory it takes.
 */
import { afterEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { withManifest } from "../../src/core/export-digest.ts";
import { loadedWithin } from "../../src/privacy/export.ts";
import {
  account,
  cleanUp,
  codeOf,
  collect,
  credited,
  freshDirectory,
  openSmall,
  trace,
} from "../engine/sample.ts";

afterEach(cleanUp);

interface Line {
  readonly kind: string;
  readonly [name: string]: unknown;
}

const linesOf = (text: string): Line[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);

test("holds every event in its stored form, the states, and a manifest that proves it whole", async () => {
  const warp = await openSmall(freshDirectory(), { aggregates: [account, trace] });
  const alice = warp.entity("alice");
  await alice.append(credited(5));
  await alice.append({ type: "Credited", data: { cents: 7 }, occurredAt: 1000 });
  const odd = { big: 2n ** 40n, at: new Date(5), bytes: Uint8Array.of(1, 2), none: Number.NaN, minus: -0 };
  await alice.append({ type: "Noted", data: odd });
  const text = (await collect(alice.export())).join("");
  const lines = linesOf(text);
  expect(lines.map(({ kind }) => kind)).toEqual([
    ...["entity", "state", "state", "event", "event", "event", "manifest"],
  ]);
  expect(lines[0]).toMatchObject({ format: 1, context: "banking", entity: "alice", seq: 3 });
  expect(lines[1]).toMatchObject({
    aggregate: "account",
    version: 1,
    seq: 3,
    state: { cents: 12, count: 2 },
  });
  expect(lines[4]).toMatchObject({
    seq: 2,
    type: "Credited",
    version: 1,
    occurredAt: 1000,
    data: { cents: 7 },
  });
  expect(lines[5]?.data).toEqual({
    big: { $bigint: "1099511627776" },
    at: { $date: "1970-01-01T00:00:00.005Z" },
    bytes: { $bytes: "AQI=" },
    none: { $number: "NaN" },
    minus: { $number: "-0" },
  });
  const before = text.slice(0, text.lastIndexOf('{"kind":"manifest"'));
  const sha256 = new Bun.CryptoHasher("sha256").update(before).digest("hex");
  expect(lines[6]).toEqual({
    ...{ kind: "manifest", format: 1, lines: 6, bytes: Buffer.byteLength(before), sha256 },
    counts: { entity: 1, state: 2, event: 3 },
  });
});

test("shows one moment, whatever is written meanwhile", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  const note = { type: "Noted", data: { text: "x".repeat(500) } };
  for (let i = 0; i < 40; i++) await alice.appendBatch(Array.from({ length: 100 }, () => note));
  const pieces: string[] = [];
  for await (const piece of alice.export()) {
    pieces.push(piece);
    await alice.append(note);
  }
  expect(pieces.length).toBeGreaterThan(3);
  const lines = linesOf(pieces.join(""));
  const seqs = lines.flatMap(({ kind, seq }) => (kind === "event" ? [seq] : []));
  expect(seqs).toEqual(Array.from({ length: 4000 }, (_, i) => i + 1));
  expect(lines.at(-1)).toMatchObject({ counts: { event: 4000 } });
});

test("asks whoever keeps something of the entity", async () => {
  const warp = await openSmall(freshDirectory());
  await warp.entity("alice").append(credited(1));
  warp.erasureFollowers.register({
    name: "projection balances",
    passed: async () => {},
    async *holds(entity) {
      yield { table: "balances", row: { id: entity, cents: 1 } };
    },
  });
  const lines = linesOf((await collect(warp.entity("alice").export())).join(""));
  expect(lines[3]).toEqual({
    ...{ kind: "held", by: "projection balances" },
    ...{ table: "balances", row: { id: "alice", cents: 1 } },
  });
});

test("there is none of an entity that was never there, or is erased", async () => {
  const warp = await openSmall(freshDirectory());
  expect(await codeOf(collect(warp.entity("nobody").export()))).toBe("INVALID_ARGUMENT");
  await warp.entity("alice").append(credited(1));
  await warp.entity("alice").delete();
  expect(await codeOf(collect(warp.entity("alice").export()))).toBe("ERASED");
});

test("what an export keeps in memory does not grow with what it has handed out", async () => {
  const warp = await openSmall(freshDirectory(), { mode: "log" });
  const alice = warp.entity("alice");
  const batch = Array.from({ length: 1000 }, (_, i) => credited(i));
  for (let i = 0; i < 300; i++) await alice.appendBatch(batch);
  let bytes = 0;
  let pieces = 0;
  let last = "";
  const kept: number[] = [];
  for await (const piece of alice.export()) {
    bytes += piece.length;
    last = piece;
    if (++pieces % 8 !== 0) continue;
    Bun.gc(true);
    kept.push(process.memoryUsage().heapUsed);
  }
  expect(JSON.parse(last)).toMatchObject({ kind: "manifest", counts: { event: 300_000 } });
  expect(bytes).toBeGreaterThan(30_000_000);
  // How much it ever rose: what others left behind may go meanwhile. A page of history, decoded, is some 10 MB of it.
  const rises = kept.map((one, i) => one - Math.min(...kept.slice(0, i + 1)));
  expect(Math.max(...rises)).toBeLessThan(bytes / 2);
});

test("a page whose entity takes long to be loaded says only where to go on, and the next begins the export", async () => {
  const never = { ready: () => new Promise<never>(() => {}) };
  expect(await loadedWithin(never, "alice", 1)).toBeUndefined();
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  await alice.append(credited(5));
  const { text, next } = await alice.exportPage({ from: 0, to: 0 });
  expect(next).toBeUndefined();
  expect(linesOf(text).map(({ kind }) => kind)).toEqual(["entity", "state", "event"]);
  async function* pages() {
    yield "";
    yield text;
  }
  const whole = await collect(withManifest(pages()));
  expect(whole).toEqual([text, expect.stringContaining('"kind":"manifest"')]);
});

test.each(["with events of her own", "of whom others speak alone"])(
  "ends with ERASED when she is erased while what others say of her is read: somebody %s",
  async (what) => {
    const warp = await openSmall(freshDirectory());
    const alice = warp.entity("alice");
    if (what.startsWith("with")) await alice.append(credited(1));
    const say = async (life: string) => {
      for (let i = 0; i < 160; i++) {
        const personal = { subject: "alice", data: { life, note: randomBytes(20_000).toString("base64") } };
        await warp.entity(`order-${i % 4}`).append({ ...credited(1), personal });
      }
    };
    await say("first");
    const { next } = await alice.exportPage(undefined);
    const { text, next: behind } = await alice.exportPage(next);
    expect(text).toContain('"life":"first"');
    expect(behind).toBeDefined();
    await alice.delete();
    for (const cursor of [next, behind]) expect(await codeOf(alice.exportPage(cursor))).toBe("ERASED");
    // Who is spoken of under this id by now is somebody else.
    await alice.append(credited(1), { expect: "none" });
    await say("second");
    expect(await codeOf(alice.exportPage(behind))).toBe("ERASED");
  },
);
