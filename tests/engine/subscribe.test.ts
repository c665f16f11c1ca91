/**
 * Subscriptions of the library: random filters, starts and speeds against a plain model, over restarts and settling.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { Feed } from "../../src/actor/storage/feed.ts";
import {
  defineAggregate,
  type StoredEvent,
  type SubscribeQuery,
  type SubscriptionMessage,
  type Warp,
} from "../../src/index.ts";
import {
  cleanUp,
  codeOf,
  credited,
  freshDirectory,
  openSmall,
  seededRandom,
  settled,
  until,
} from "./sample.ts";

afterEach(cleanUp);

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** Reads messages until one passes `isLast`. */
async function read(
  warp: Warp,
  query: SubscribeQuery,
  isLast: (message: SubscriptionMessage) => boolean,
): Promise<SubscriptionMessage[]> {
  const messages: SubscriptionMessage[] = [];
  for await (const message of warp.subscribe(query)) {
    messages.push(message);
    if (isLast(message)) break;
  }
  return messages;
}

const untilCaughtUp = (warp: Warp, query: SubscribeQuery) =>
  read(warp, query, ({ kind }) => kind === "caughtUp");

const eventsOf = (messages: readonly SubscriptionMessage[]): StoredEvent[] =>
  messages.flatMap((message) => (message.kind === "events" ? message.events : []));

/** One subscription that is read at its own speed and goes on from its cursor after every interruption. */
class Reader {
  readonly query: SubscribeQuery;
  readonly seen: StoredEvent[] = [];
  #cursor: string | undefined;
  readonly #random: () => number;
  readonly #slowness: number;

  constructor(query: SubscribeQuery, random: () => number, slowness: number) {
    this.query = query;
    this.#random = random;
    this.#slowness = slowness;
  }

  /** Reads until the context is closed. */
  async run(warp: Warp): Promise<void> {
    for (;;) {
      const from = this.#cursor === undefined ? {} : { from: this.#cursor };
      try {
        for await (const message of warp.subscribe({ ...this.query, ...from })) {
          if (message.kind === "events") this.seen.push(...message.events);
          this.#cursor = message.cursor;
          if (this.#random() < this.#slowness) await Bun.sleep(this.#random() * 5);
          // Whoever stops anywhere goes on from the cursor.
          if (this.#random() < 0.02) break;
        }
      } catch (thrown) {
        if ((thrown as { code?: string }).code === "CLOSED") return;
        throw thrown;
      }
    }
  }
}

test("readers of every kind see what they asked for, once and in order", async () => {
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = (max: number) => Math.floor(random() * max);
  const dataDir = freshDirectory();
  const appended = new Map<string, { type: string; cents: number }[]>();
  const queries: SubscribeQuery[] = [
    {},
    { entity: "e-1" },
    { entity: "e-2", types: ["Debited"] },
    { entity: "nobody" },
    { prefix: "e-1" },
    { prefix: "{t}" },
    { types: ["Credited"] },
    { types: ["Debited", "Other"], prefix: "e" },
  ];
  const readers = queries.flatMap((query) => [0, 0.3].map((slowness) => new Reader(query, random, slowness)));
  const append = async (warp: Warp): Promise<void> => {
    const id = random() < 0.1 ? `{t}${whole(3)}` : `e-${whole(20)}`;
    const events = Array.from({ length: 1 + whole(random() < 0.05 ? 400 : 3) }, () => ({
      type: random() < 0.7 ? "Credited" : "Debited",
      data: { cents: whole(100) },
    }));
    const result = await warp.entity(id).appendBatch(events);
    if (!result.ok) throw new Error("nothing is expected here");
    const known = appended.get(id) ?? [];
    for (const [i, { type, data }] of events.entries()) {
      known[result.firstSeq - 1 + i] = { type, cents: data.cents };
    }
    appended.set(id, known);
  };
  const wantedOf = ({ entity, prefix = "", types }: SubscribeQuery) =>
    [...appended]
      .filter(([id]) => (entity === undefined ? id.startsWith(prefix) : id === entity))
      .flatMap(([, events]) => events.filter(({ type }) => types === undefined || types.includes(type)));
  for (let round = 0; round < 4; round++) {
    const warp = await openSmall(dataDir, { settle: { delayMs: 1 + whole(30) }, writers: 1 + (round % 2) });
    const running = readers.map((reader) => reader.run(warp));
    for (let burst = 0; burst < 12; burst++) {
      await Promise.all(Array.from({ length: 30 }, () => append(warp)));
      if (random() < 0.2) await settled(warp);
    }
    // The last round is waited for, the others end in the middle.
    if (round === 3) {
      await until(() => readers.every(({ query, seen }) => seen.length >= wantedOf(query).length));
    }
    await warp.close();
    await Promise.all(running);
  }
  for (const { query, seen } of readers) {
    const seqs = new Map<string, number>();
    const positions = new Map<string, number>();
    for (const event of seen) {
      expect(event.seq).toBeGreaterThan(seqs.get(event.entity) ?? 0);
      seqs.set(event.entity, event.seq);
      expect(event.position).toBeGreaterThanOrEqual(positions.get(event.entity) ?? 0);
      positions.set(event.entity, event.position);
      const { cents } = event.data as { cents: number };
      expect(appended.get(event.entity)?.[event.seq - 1]).toEqual({ type: event.type, cents });
    }
    expect([query, seen.length]).toEqual([query, wantedOf(query).length]);
  }
});

describe("a subscription", () => {
  test("begins at the start, the end, a time or a cursor", async () => {
    const warp = await openSmall(freshDirectory());
    await warp.entity("a").append(credited(1));
    await Bun.sleep(3);
    const time = Date.now();
    const second = await warp.entity("a").append(credited(2));
    const seqs = async (query: SubscribeQuery) =>
      eventsOf(await untilCaughtUp(warp, query)).map(({ seq }) => seq);
    for (const filter of [{}, { entity: "a" }, { prefix: "a" }]) {
      expect(await seqs(filter)).toEqual([1, 2]);
      expect(await seqs({ ...filter, from: "start" })).toEqual([1, 2]);
      expect(await seqs({ ...filter, from: "end" })).toEqual([]);
      expect(await seqs({ ...filter, from: { time } })).toEqual([2]);
      expect(await seqs({ ...filter, from: { time: new Date(0) } })).toEqual([1, 2]);
      const all = await untilCaughtUp(warp, filter);
      expect(await seqs({ ...filter, from: all.at(-1)?.cursor ?? "" })).toEqual([]);
    }
    expect(second.ok).toBe(true);
  });

  test("says that it has caught up, and goes on live", async () => {
    const warp = await openSmall(freshDirectory());
    await warp.entity("a").append(credited(1));
    const subscription = warp.subscribe({ entity: "a" });
    expect((await subscription.next()).value).toMatchObject({ kind: "events" });
    expect((await subscription.next()).value).toMatchObject({ kind: "caughtUp" });
    const next = subscription.next();
    await warp.entity("b").append(credited(1));
    await warp.entity("a").append(credited(2));
    expect((await next).value).toMatchObject({ kind: "events", events: [{ seq: 2, data: { cents: 2 } }] });
    await subscription.return();
    expect(await subscription.next()).toEqual({ done: true, value: undefined });
  });

  test("never shows what is not durable, and shows a batch whole", async () => {
    const warp = await openSmall(freshDirectory());
    const subscription = warp.subscribe({ from: "end" });
    await subscription.next();
    const next = subscription.next();
    await warp.atomically(["{t}a", "{t}b"], ([a, b]) => {
      a?.append(credited(1), credited(2));
      b?.append(credited(3));
    });
    const { value } = await next;
    expect(value?.kind === "events" && value.events.map(({ entity, seq }) => [entity, seq])).toEqual([
      ["{t}a", 1],
      ["{t}a", 2],
      ["{t}b", 1],
    ]);
  });

  test("of one entity that is far behind reads its history and not its shard", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 1, memory: { tailBytes: 4 << 20 } });
    const cursors: string[] = [];
    for (let i = 1; i <= 30; i++) {
      await warp.entity("few").append(credited(i));
      await warp.entity("few").append(credited(i));
      cursors.push((await untilCaughtUp(warp, { entity: "few", from: "end" }))[0]?.cursor ?? "");
      const others = Array.from({ length: 300 }, (_, k) => warp.entity(`o${k}`).append(credited(1)));
      await Promise.all(others);
    }
    await settled(warp);
    const read = spyOnFeed(warp);
    for (const [i, from] of ["start", ...cursors].entries()) {
      const messages = await untilCaughtUp(warp, { entity: "few", from });
      expect(eventsOf(messages).map(({ seq }) => seq)).toEqual(
        Array.from({ length: 60 - i * 2 }, (_, k) => i * 2 + k + 1),
      );
    }
    // The last cursors are near enough for the feed.
    expect(read.count).toBeLessThan(20);
  });

  test("of one entity that is far behind is told when that is erased, and does not fail", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 1, memory: { tailBytes: 4 << 20 } });
    const long = warp.entity("long");
    const noted = () => ({
      type: "Credited",
      data: { cents: 1, note: randomBytes(3000).toString("base64") },
    });
    for (let i = 0; i < 3000; i++) await long.append(noted());
    await settled(warp);
    const subscription = warp.subscribe({ entity: "long", from: "start" });
    expect((await subscription.next()).value).toMatchObject({ kind: "events" });
    const deleted = long.delete();
    const kinds: (string | undefined)[] = [];
    for await (const message of subscription) {
      kinds.push(message.kind);
      if (message.kind === "erased") break;
    }
    expect(kinds.at(-1)).toBe("erased");
    expect(await deleted).toMatchObject({ status: "erased" });
  });

  test("is refused with a cursor of something else, of another context, or of no one", async () => {
    const warp = await openSmall(freshDirectory());
    const other = await openSmall(freshDirectory());
    await warp.entity("a").append(credited(1));
    const [mark] = await untilCaughtUp(warp, { from: "end" });
    const [foreign] = await untilCaughtUp(other, { from: "end" });
    const [single] = await untilCaughtUp(warp, { entity: "a", from: "end" });
    const first = (query: SubscribeQuery) => warp.subscribe(query).next();
    expect(await codeOf(first({ from: foreign?.cursor ?? "" }))).toBe("CURSOR_FOREIGN");
    expect(await codeOf(first({ from: single?.cursor ?? "" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(first({ from: "nowhere" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(first({ from: { time: Number.NaN } }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => warp.subscribe({ entity: "a", prefix: "a" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => warp.subscribe({ types: [] }))).toBe("INVALID_ARGUMENT");
    const all = await untilCaughtUp(warp, { entity: "a", from: mark?.cursor ?? "" });
    expect(all.map(({ kind }) => kind)).toEqual(["caughtUp"]);
  });

  test("that is ended by what it is handed while it closes its gap does not become live", async () => {
    const warp = await openSmall(freshDirectory());
    let isInGap = false;
    const { readNow } = Feed.prototype;
    // Closing the gap it reads without a bound.
    const reading = spyOn(Feed.prototype, "readNow").mockImplementation(function (this: Feed, ...args) {
      isInGap = args.length === 3;
      return readNow.apply(this, args);
    });
    let isOver = false;
    const appends = [0, 1, 2, 3].map(async (n) => {
      for (let i = 0; !isOver; i++) await warp.entity(`e${n}`).append(credited(i));
    });
    const told: string[] = [];
    while (!isOver) {
      let hasEnded = false;
      const say = (what: string) => void (isOver && told.push(what));
      const follower = warp.follow(
        { from: "start" },
        {
          hasRoom: true,
          chunk: ({ shard, upTo }) => {
            say("chunk");
            // With the last that is missing of the last shard.
            if (!isInGap || hasEnded || shard !== 1 || upTo < warp.feed.committed(1)) return;
            isOver = true;
            follower.end();
          },
          caughtUp: () => say("caughtUp"),
          moved: () => say("moved"),
          ended: () => {
            hasEnded = true;
          },
        },
      );
      await until(() => hasEnded || follower.isLive);
      follower.end();
    }
    reading.mockRestore();
    await Promise.all(appends);
    await warp.entity("e0").append(credited(0));
    expect(told).toEqual([]);
    expect(warp.subscriptions).toEqual({ followers: 0, live: 0 });
  });

  test("ends with the context, with its signal, and with the loop that reads it", async () => {
    const warp = await openSmall(freshDirectory());
    const abort = new AbortController();
    const byHand = warp.subscribe({ from: "end", signal: abort.signal });
    await byHand.next();
    const waiting = byHand.next();
    abort.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const left = warp.subscribe({ from: "end" });
    await left.next();
    const end = codeOf(left.next());
    await warp.close();
    expect(await end).toBe("CLOSED");
    expect(await codeOf(() => warp.subscribe())).toBe("CLOSED");
  });

  test("that is not read holds nothing back and keeps nothing", async () => {
    const warp = await openSmall(freshDirectory(), { settle: { delayMs: 1 } });
    const subscription = warp.subscribe({ from: "start" });
    await warp.entity("a").append(credited(0));
    expect((await subscription.next()).value?.kind).toBe("events");
    for (let i = 0; i < 40; i++) {
      await warp.entity("a").appendBatch(Array.from({ length: 500 }, () => credited(i)));
    }
    await until(() => warp.pressure.unsettledBytes === 0);
    const seqs: number[] = [];
    for await (const message of subscription) {
      if (message.kind === "caughtUp") break;
      seqs.push(...eventsOf([message]).map(({ seq }) => seq));
    }
    expect(seqs).toEqual(Array.from({ length: 20_000 }, (_, i) => i + 2));
  });

  test("upcasts, or not", async () => {
    const dataDir = freshDirectory();
    const before = await openSmall(dataDir);
    await before.entity("a").append({ type: "Renamed", data: "x" });
    await before.close();
    const profile = defineAggregate({
      name: "profile",
      version: 1,
      initialState: { name: "" },
      evolve: { Renamed: (_, { data }) => ({ name: data.name }) },
      upcast: { Renamed: { 1: (data: string) => ({ name: data }) } },
    });
    const warp = await openSmall(dataDir, { aggregates: [profile] });
    const datas = async (query: SubscribeQuery) =>
      eventsOf(await untilCaughtUp(warp, query)).map(({ data, version }) => [version, data]);
    expect(await datas({})).toEqual([[2, { name: "x" }]]);
    expect(await datas({ stored: true })).toEqual([[1, "x"]]);
  });
});

function spyOnFeed(warp: Warp): { count: number } {
  const spied = { count: 0 };
  const feed = warp.feed;
  const read = feed.read.bind(feed);
  feed.read = (...args) => {
    spied.count++;
    return read(...args);
  };
  return spied;
}

describe("an erasure", () => {
  const kinds = (messages: readonly SubscriptionMessage[]) =>
    messages.map((message) => (message.kind === "erased" ? `erased ${message.entity}` : message.kind));

  test("reaches who follows live, in its place, and nothing of before comes back behind it", async () => {
    const warp = await openSmall(freshDirectory());
    const seen = ["a", "b"].map((entity) => ({
      entity,
      subscription: warp.subscribe({ entity, from: "end" }),
    }));
    const all = warp.subscribe({ from: "end" });
    for (const { subscription } of seen) await subscription.next();
    await all.next();
    const [a, b] = seen.map(({ subscription }) => subscription);
    const firstOfA = a?.next();
    const firstOfAll = all.next();
    await warp.entity("a").append(credited(1));
    expect((await firstOfA)?.value?.kind).toBe("events");
    expect((await firstOfAll).value?.kind).toBe("events");
    const next = [a?.next(), all.next()];
    // The id stays in the feed until every registered follower has passed.
    const passed = Promise.withResolvers<void>();
    warp.erasureFollowers.register({ name: "sample", passed: () => passed.promise });
    const deleting = warp.entity("a").delete();
    for (const one of await Promise.all(next))
      expect(one?.value).toMatchObject({ kind: "erased", entity: "a" });
    passed.resolve();
    await deleting;
    const again = [a?.next(), b?.next()];
    await warp.entity("b").append(credited(2));
    await warp.entity("a").append(credited(3), { expect: "none" });
    expect((await again[0])?.value).toMatchObject({ kind: "events", events: [{ entity: "a", seq: 1 }] });
    expect((await again[1])?.value).toMatchObject({ kind: "events", events: [{ entity: "b", seq: 1 }] });
  });

  test("is told to a reader that did not ask while it was carried out", async () => {
    const warp = await openSmall(freshDirectory());
    const reader = warp.subscribe({ entity: "a" });
    await warp.entity("a").append(credited(1));
    while ((await reader.next()).value?.kind !== "events");
    expect((await warp.entity("a").delete()).status).toBe("erased");
    const messages: (SubscriptionMessage | undefined)[] = [];
    while (messages.at(-1)?.kind !== "erased") messages.push((await reader.next()).value);
    expect(messages.at(-1)).toMatchObject({ kind: "erased", entity: "a" });
  });

  test("is all that is left of an entity for who comes later, and an old cursor meets it", async () => {
    const dataDir = freshDirectory();
    let warp = await openSmall(dataDir, { shards: 1 });
    await warp.entity("a").append(credited(1));
    await warp.entity("b").append(credited(2));
    const [, before] = await read(warp, {}, ({ kind }) => kind === "caughtUp");
    await warp.entity("a").append(credited(3));
    const receipt = await warp.entity("a").delete();
    expect(receipt.status).toBe("erased");
    for (let life = 0; life < 2; life++) {
      const whole = await untilCaughtUp(warp, {});
      expect(eventsOf(whole).map(({ entity }) => entity)).toEqual(["b"]);
      // Everybody has passed it, so its id is gone too.
      expect(kinds(whole)).toEqual(["events", "erased ", "caughtUp"]);
      expect(kinds(await untilCaughtUp(warp, { from: before?.cursor ?? "" }))).toEqual([
        "erased ",
        "caughtUp",
      ]);
      expect(kinds(await untilCaughtUp(warp, { prefix: "b" }))).toEqual(["events", "caughtUp"]);
      await warp.close();
      warp = await openSmall(dataDir, { shards: 1 });
    }
  });

  test("that was complete before a subscription to the entity came back is told to it", async () => {
    const dataDir = freshDirectory();
    let warp = await openSmall(dataDir, { shards: 1 });
    await warp.entity("b").append(credited(1));
    await warp.entity("a").append(credited(1));
    const cursorOf = (messages: readonly SubscriptionMessage[]) => messages.at(-1)?.cursor ?? "";
    const before = cursorOf(await untilCaughtUp(warp, { entity: "a" }));
    const other = cursorOf(await untilCaughtUp(warp, { entity: "b" }));
    expect((await warp.entity("a").delete()).status).toBe("erased");
    for (let life = 0; life < 2; life++) {
      expect(kinds(await untilCaughtUp(warp, { entity: "a", from: before }))).toEqual([
        "erased a",
        "caughtUp",
      ]);
      // Who has nothing of it is told nothing, nor is who follows another one.
      expect(kinds(await untilCaughtUp(warp, { entity: "a" }))).toEqual(["caughtUp"]);
      expect(kinds(await untilCaughtUp(warp, { entity: "b", from: other }))).toEqual(["caughtUp"]);
      await warp.close();
      warp = await openSmall(dataDir, { shards: 1 });
    }
    // It began anew, and was erased again.
    await warp.entity("a").append(credited(2), { expect: "none" });
    const again = await untilCaughtUp(warp, { entity: "a", from: before });
    expect(kinds(again)).toEqual(["erased a", "events", "caughtUp"]);
    expect((await warp.entity("a").delete()).status).toBe("erased");
    const from = cursorOf(again);
    expect(kinds(await untilCaughtUp(warp, { entity: "a", from }))).toEqual(["erased a", "caughtUp"]);
  });

  test("that was complete before those who are live came by is told to who follows the entity", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 1 });
    await warp.entity("a").append(credited(1));
    const reader = warp.subscribe({ entity: "a" });
    while ((await reader.next()).value?.kind !== "caughtUp");
    const told = reader.next();
    // What is live reads nothing until the erasure has lost its id.
    const gate = Promise.withResolvers<void>();
    const { read } = Feed.prototype;
    const now = spyOn(Feed.prototype, "readNow").mockImplementation(() => undefined);
    const held = spyOn(Feed.prototype, "read").mockImplementationOnce(async function (
      this: Feed,
      ...request
    ) {
      await gate.promise;
      return await read.apply(this, request);
    });
    await warp.entity("b").append(credited(2));
    await until(() => held.mock.calls.length === 1);
    expect((await warp.entity("a").delete()).status).toBe("erased");
    now.mockRestore();
    held.mockRestore();
    gate.resolve();
    expect((await told).value).toMatchObject({ kind: "erased", entity: "a" });
  });

  test("that is pending keeps its id in the feed until the followers have passed", async () => {
    const warp = await openSmall(freshDirectory(), { shards: 1 });
    let pass = () => {};
    const passed = new Promise<void>((resolve) => {
      pass = resolve;
    });
    warp.erasureFollowers.register({ name: "sample", passed: () => passed });
    await warp.entity("a").append(credited(1));
    await settled(warp);
    const [, before] = await read(warp, {}, ({ kind }) => kind === "caughtUp");
    const receipt = warp.entity("a").delete();
    await until(() => warp.feed.committed(0) === 2);
    await settled(warp);
    expect(kinds(await untilCaughtUp(warp, { from: before?.cursor ?? "" }))).toEqual([
      "erased a",
      "caughtUp",
    ]);
    expect(kinds(await untilCaughtUp(warp, { entity: "a", from: "start" }))).toEqual([
      "erased a",
      "caughtUp",
    ]);
    pass();
    await receipt;
    expect(kinds(await untilCaughtUp(warp, { from: before?.cursor ?? "" }))).toEqual(["erased ", "caughtUp"]);
  });
});

test("a subscription to all shards goes live while every shard is appended to without a pause", async () => {
  const warp = await openSmall(freshDirectory(), { shards: 64 });
  let asked = 0;
  let appended = 0;
  // All shards at every tick: before a follower, which leaves most of the thread to those who append, has read all of them once,
  // each has more again. Not as fast as can be, which is faster than such a follower.
  const writers: Promise<unknown>[] = [];
  let events = 0;
  const writing = setInterval(() => {
    // Nor faster than it is on a slow machine: each shard has some records that it has not read, at every moment.
    if (asked - events > 2048) return;
    for (let i = 0; i < 32; i++) {
      const append = warp.entity(`e${asked++ % 200}`).append(credited(1));
      writers.push(append.then(() => appended++));
    }
  }, 2);
  await until(() => appended > 1000);
  const seqs = new Map<string, number>();
  const wrong: string[] = [];
  for await (const message of warp.subscribe({})) {
    if (message.kind === "events") {
      for (const { entity, seq } of message.events) {
        if (seq !== (seqs.get(entity) ?? 0) + 1) wrong.push(`${entity} ${seq}`);
        seqs.set(entity, seq);
        events++;
      }
    }
    if (message.kind === "caughtUp") break;
  }
  clearInterval(writing);
  await Promise.all(writers);
  expect(wrong).toEqual([]);
  expect(events).toBeGreaterThanOrEqual(1000);
});
