/**
 * The feed against a plain model: random appends of every kind, settling all the time, restarts, and followers that
 * read pages of several sizes while it goes on. Each must see every event exactly once: per shard in the order of
 * positions, per entity in the order of seqs.
 */
import { afterEach, expect, test } from "bun:test";
import { bytesOf } from "../../src/core/entry.ts";
import { eventsOfFeedPart, type FeedPage, readFeedPart } from "../../src/core/feed.ts";
import type { StoredEvent, Warp } from "../../src/index.ts";
import { cleanUp, codeOf, credited, freshDirectory, openSmall, seededRandom, settled } from "./sample.ts";

afterEach(cleanUp);

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

function eventsOf({ bytes, after, upTo }: FeedPage): StoredEvent[] {
  const page = bytesOf(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  const events: StoredEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const part = readFeedPart(page, at);
    expect(part.position).toBeGreaterThan(after);
    expect(part.position).toBeLessThanOrEqual(upTo);
    events.push(...eventsOfFeedPart(page, part));
    at += part.length;
  }
  return events;
}

/** Reads pages until it is stopped and has seen everything; goes on after a restart where it was. */
class Follower {
  readonly seen: StoredEvent[][];
  readonly #positions: number[];
  readonly #bytesMax: number;
  readonly #starts: readonly number[];

  constructor(starts: readonly number[], bytesMax: number) {
    this.#starts = starts;
    this.#positions = [...starts];
    this.#bytesMax = bytesMax;
    this.seen = starts.map(() => []);
  }

  /** True when it read something. */
  async step({ feed }: Warp): Promise<boolean> {
    let hasRead = false;
    for (const [shard, after] of this.#positions.entries()) {
      const page = await feed.read(shard, after, this.#bytesMax);
      expect(page).toMatchObject({ shard, after });
      this.seen[shard]?.push(...eventsOf(page));
      this.#positions[shard] = page.upTo;
      if (page.upTo > after) hasRead = true;
    }
    return hasRead;
  }

  async run(warp: Warp, isOver: () => boolean): Promise<void> {
    let wake = () => {};
    const stop = warp.feed.watch(() => wake());
    for (;;) {
      const wasOver = isOver();
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (await this.step(warp)) continue;
      if (wasOver) break;
      await Promise.race([changed, new Promise((resolve) => setTimeout(resolve, 5))]);
    }
    stop();
    for (const [shard, position] of this.#positions.entries())
      expect(warp.feed.committed(shard)).toBe(position);
  }

  /** Compares with all events that were ever appended. */
  check(model: ReadonlyMap<string, readonly number[]>): void {
    const seqs = new Map<string, number>();
    for (const [shard, events] of this.seen.entries()) {
      let position = this.#starts[shard] ?? 0;
      for (const event of events) {
        expect(event.position).toBeGreaterThanOrEqual(position);
        position = event.position;
        const due = (seqs.get(event.entity) ?? event.seq - 1) + 1;
        expect([event.entity, event.seq]).toEqual([event.entity, due]);
        expect(event.data).toEqual({ cents: model.get(event.entity)?.[event.seq - 1] });
        seqs.set(event.entity, event.seq);
      }
    }
    if (this.#starts.some((start) => start > 0)) return;
    expect(seqs).toEqual(new Map([...model].map(([id, cents]) => [id, cents.length])));
  }
}

test("followers see every event once and in order, whatever is settled, restarted or read at once", async () => {
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = (max: number) => Math.floor(random() * max);
  const dataDir = freshDirectory();
  const model = new Map<string, number[]>();
  const note = (id: string, firstSeq: number, cents: readonly number[]) => {
    const known = model.get(id) ?? [];
    for (const [i, one] of cents.entries()) known[firstSeq - 1 + i] = one;
    model.set(id, known);
  };
  const call = async (warp: Warp): Promise<void> => {
    const cents = Array.from({ length: 1 + whole(random() < 0.1 ? 300 : 4) }, () => 1 + whole(99));
    if (random() < 0.15) {
      const ids = [0, 1, 2, 3].slice(whole(4)).map((i) => `{t${whole(3)}}${i}`);
      const together = await warp.atomically(ids, (all) => {
        for (const one of all) one.append(...cents.map(credited));
      });
      if (!together.ok) throw new Error("nothing refuses here");
      for (const [i, { firstSeq }] of together.results.entries()) note(ids[i] ?? "", firstSeq, cents);
    } else if (random() < 0.1) {
      // A rejection under a key is a record without events.
      await warp.entity(`poor${whole(9)}`).send("debit", { cents: 1 }, { key: `k${whole(1e6)}` });
    } else {
      const id = `entity-${whole(40)}`;
      const appended = await warp.entity(id).appendBatch(cents.map(credited));
      if (appended.ok) note(id, appended.firstSeq, cents);
    }
  };
  const followers = [1, 700, 20_000, 1 << 20].map((bytesMax) => new Follower([0, 0], bytesMax));
  for (let round = 0; round < 5; round++) {
    const warp = await openSmall(dataDir, { writers: 1 + (round % 2), settle: { delayMs: 1 + whole(40) } });
    const starts = [0, 1].map((shard) => whole(warp.feed.committed(shard) + 1));
    const late = new Follower(starts, 1 + whole(3000));
    followers.push(late);
    let isOver = false;
    const running = followers.map((follower) => follower.run(warp, () => isOver));
    for (let burst = 0; burst < 10; burst++) {
      await Promise.all(Array.from({ length: 40 }, () => call(warp)));
      if (random() < 0.3) await settled(warp);
    }
    isOver = true;
    await Promise.all(running);
    await warp.close();
  }
  for (const follower of followers) follower.check(model);
});

test("a follower that comes when much is unsettled knows the ids of entities made before its start", async () => {
  const warp = await openSmall(freshDirectory(), { settle: { delayMs: 60_000 } });
  await warp.entity("a").append(credited(1));
  const shard = ((await warp.entity("a").append(credited(2))) as { shard: number }).shard;
  const after = warp.feed.committed(shard);
  await warp.entity("a").append(credited(3));
  expect(eventsOf(await warp.feed.read(shard, after, 1000))).toMatchObject([{ entity: "a", seq: 3 }]);
});

test("the ids of entities of an earlier life are found while all of them are appended to", async () => {
  const dataDir = freshDirectory();
  const ids = Array.from({ length: 2000 }, (_, i) => `old-${i}`);
  const first = await openSmall(dataDir);
  await Promise.all(ids.map((id) => first.entity(id).append(credited(1))));
  await first.close();
  const warp = await openSmall(dataDir, { settle: { delayMs: 60_000 } });
  const follower = new Follower([warp.feed.committed(0), warp.feed.committed(1)], 1 << 20);
  let isOver = false;
  const running = follower.run(warp, () => isOver);
  // A few at a time, so that there is something new whenever the follower looks again.
  for (let from = 0; from < ids.length; from += 4) {
    await Promise.all(ids.slice(from, from + 4).map((id) => warp.entity(id).append(credited(2))));
  }
  isOver = true;
  await running;
  expect(new Set(follower.seen.flat().map(({ entity }) => entity))).toEqual(new Set(ids));
});

test("a position of the future, or of no shard, is refused", async () => {
  const warp = await openSmall(freshDirectory());
  await warp.entity("a").append(credited(1));
  for (const [shard, after] of [
    [0, 2],
    [1, 2],
    [0, -1],
    [0, 0.5],
    [2, 0],
  ] as const) {
    expect(await codeOf(warp.feed.read(shard, after, 1))).toBe("INVALID_ARGUMENT");
  }
});

test("a time is found in the file and in the tail", async () => {
  const dataDir = freshDirectory();
  let warp = await openSmall(dataDir, { shards: 1, settle: { delayMs: 3 } });
  const random = seededRandom(seed);
  for (let i = 0; i < 300; i++) {
    const ids = Array.from({ length: 1 + Math.floor(random() * 3) }, () => `e${Math.floor(random() * 9)}`);
    await Promise.all(ids.map((id) => warp.entity(id).append(credited(1))));
    if (i === 150) {
      await warp.close();
      warp = await openSmall(dataDir, { shards: 1, settle: { delayMs: 3 } });
    }
    if (i === 280) {
      await warp.close();
      warp = await openSmall(dataDir, { shards: 1, settle: { delayMs: 60_000 } });
    }
  }
  const all: StoredEvent[] = [];
  for (let after = 0; after < warp.feed.committed(0); ) {
    const page = await warp.feed.read(0, after, 1 << 20);
    all.push(...eventsOf(page));
    after = page.upTo;
  }
  const times = [...new Set(all.map(({ recordedAt }) => recordedAt))];
  for (const time of [0, ...times, ...times.map((one) => one + 1)]) {
    const first = all.find(({ recordedAt }) => recordedAt >= time);
    const expected = first === undefined ? warp.feed.committed(0) : first.position - 1;
    expect([time, await warp.feed.positionAt(0, time)]).toEqual([time, expected]);
  }
});
