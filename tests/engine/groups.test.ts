/**
 * Groups: members that work, fail, die and come again, over restarts; each event is worked off, those of an entity in order.
 */
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type JoinOptions, type StoredEvent, type Warp, WarpError, type Work } from "../../src/index.ts";
import { GroupsFile } from "../../src/subscription/groups/groups-file.ts";
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

async function next(work: AsyncIterator<Work>): Promise<Work> {
  const { value, done } = await work.next();
  if (done === true) throw new Error("the membership ended");
  return value;
}

/** Works off what comes until the membership or the context ends. */
async function workOff(
  warp: Warp,
  group: string,
  options: JoinOptions,
  each: (work: Work) => unknown,
): Promise<void> {
  try {
    for await (const work of warp.join(group, options)) await each(work);
  } catch (thrown) {
    if (!(thrown instanceof WarpError) || thrown.code !== "CLOSED") throw thrown;
  }
}

const statusOf = (warp: Warp, group: string) => warp.groups.status().find(({ name }) => name === group);

test("every event is worked off by someone, those of an entity in order, whoever dies meanwhile", async () => {
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = (max: number) => Math.floor(random() * max);
  const dataDir = freshDirectory();
  const counts = new Map<string, number>();
  const done = new Map<string, number>();
  let again = 0;
  const finish = ({ event: { entity, seq } }: Work) => {
    const before = done.get(entity) ?? 0;
    // What was done may come again, after a death or a restart; what was not done never comes late.
    if (seq <= before) again++;
    else expect([entity, seq]).toEqual([entity, before + 1]);
    done.set(entity, Math.max(before, seq));
  };
  for (let round = 0; round < 3; round++) {
    const warp = await openSmall(dataDir, { settle: { delayMs: 1 + whole(20) } });
    let isOver = false;
    const members = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        // Each member lives for a while, and leaves with what it has not answered.
        let left = 20 + whole(60);
        const abort = new AbortController();
        await workOff(warp, "workers", { window: 1 + whole(20), signal: abort.signal }, async (work) => {
          if (random() < 0.3) await Bun.sleep(random() * 2);
          if (--left === 0 || isOver) {
            abort.abort();
            return;
          }
          if (random() < 0.05) {
            work.retry(whole(5));
            return;
          }
          finish(work);
          work.ack();
        });
      }
    });
    for (let burst = 0; burst < 20; burst++) {
      const writes = Array.from({ length: 10 }, () => {
        const id = `e${whole(12)}`;
        const count = 1 + whole(4);
        counts.set(id, (counts.get(id) ?? 0) + count);
        return warp.entity(id).appendBatch(Array.from({ length: count }, () => credited(1)));
      });
      await Promise.all(writes);
    }
    if (round === 2) await until(() => [...counts].every(([id, count]) => done.get(id) === count));
    isOver = true;
    await warp.close();
    await Promise.all(members);
  }
  expect(done).toEqual(counts);
  console.log(`${again} came again`);
});

describe("a group", () => {
  test("goes on where it was, and tells its lag", async () => {
    const dataDir = freshDirectory();
    let warp = await openSmall(dataDir);
    for (let i = 0; i < 5; i++) await warp.entity(`e${i}`).append(credited(i));
    const first = warp.join("mailer", { types: ["Credited"] });
    for (let i = 0; i < 3; i++) (await next(first)).ack();
    await until(() => statusOf(warp, "mailer")?.underWay === 2);
    expect(statusOf(warp, "mailer")).toMatchObject({ members: 1, parked: 0, types: ["Credited"] });
    await warp.close();
    warp = await openSmall(dataDir);
    const behind = statusOf(warp, "mailer");
    expect(behind?.lag).toBeGreaterThanOrEqual(2);
    const second = warp.join("mailer");
    const seen = new Set<string>();
    await workOff(warp, "other", { signal: AbortSignal.abort() }, () => {});
    const working = (async () => {
      for await (const work of second) {
        seen.add(work.event.entity);
        work.ack();
      }
    })();
    await until(() => statusOf(warp, "mailer")?.lag === 0);
    expect(seen.size).toBeGreaterThanOrEqual(2);
    expect(statusOf(warp, "mailer")?.lag).toBe(0);
    await second.return();
    await working;
    // A new group may begin at the end.
    const late = warp.join("late", { from: "end" });
    await warp.entity("e0").append(credited(9));
    expect((await next(late)).event).toMatchObject({ entity: "e0", seq: 2 });
  });

  test("gives an entity's next event only when the one before is answered", async () => {
    const warp = await openSmall(freshDirectory());
    await warp.entity("a").appendBatch([credited(1), credited(2), credited(3)]);
    const [one, two] = [warp.join("g"), warp.join("g")];
    const first = await next(one);
    expect(first.event.seq).toBe(1);
    const waiting = Promise.race([one.next(), two.next()]);
    first.retry(1);
    const again = (await waiting).value as Work;
    expect([again.event.seq, again.attempt]).toEqual([1, 2]);
    again.skip();
    const seqs: number[] = [];
    for (const _ of [2, 3]) {
      const work = (await Promise.race([one.next(), two.next()])).value as Work;
      seqs.push(work.event.seq);
      work.ack();
    }
    expect(seqs).toEqual([2, 3]);
  });

  test("parks, by hand and after too many tries, and replays what it parked", async () => {
    const dataDir = freshDirectory();
    let warp = await openSmall(dataDir);
    await warp.entity("a").appendBatch([credited(1), credited(2)]);
    await warp.entity("b").append(credited(3));
    const work = warp.join("g");
    const tries: number[] = [];
    // Ten of b and two of a, whichever of the two shards is first to be done.
    for (let delivery = 1; delivery <= 12; delivery++) {
      const one = await next(work);
      if (one.event.entity === "b") {
        tries.push(one.attempt);
        one.retry(0);
      } else if (one.event.seq === 1) {
        one.park("NO_ADDRESS");
      } else {
        one.ack();
      }
    }
    expect(tries).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await warp.close();
    warp = await openSmall(dataDir);
    expect(statusOf(warp, "g")).toMatchObject({ parked: 2, lag: 0 });
    // They are of different shards, so either may have been parked first.
    expect(warp.groups.parked("g").toSorted((a, b) => a.attempts - b.attempts)).toMatchObject([
      { seq: 1, reason: "NO_ADDRESS", attempts: 1 },
      { seq: 1, reason: "attempts", attempts: 10 },
    ]);
    expect(await codeOf(warp.groups.replay("g"))).toBe("INVALID_ARGUMENT");
    const later = warp.join("g");
    expect(await warp.groups.replay("g")).toBe(2);
    const events: StoredEvent[] = [];
    for (const _ of [1, 2]) {
      const one = await next(later);
      events.push(one.event);
      one.ack();
    }
    expect(events.map(({ entity, seq, data }) => [entity, seq, data]).sort()).toEqual([
      ["a", 1, { cents: 1 }],
      ["b", 1, { cents: 3 }],
    ]);
    expect(statusOf(warp, "g")?.parked).toBe(0);
    await later.return();
    warp.groups.remove("g");
    expect(warp.groups.status()).toEqual([]);
  });

  test("delivers again what could not be parked", async () => {
    const warp = await openSmall(freshDirectory());
    await warp.entity("a").append(credited(1));
    const members = warp.join("g", { from: "start" });
    const one = await next(members);
    const full = spyOn(GroupsFile.prototype, "park").mockImplementationOnce(() => {
      throw new WarpError("DISK_FULL", "no space");
    });
    one.park("X");
    expect(await codeOf(members.next())).toBe("DISK_FULL");
    full.mockRestore();
    const again = await next(warp.join("g", { from: "start" }));
    expect(again.event).toMatchObject({ entity: "a", seq: 1 });
    expect(statusOf(warp, "g")).toMatchObject({ parked: 0, underWay: 1 });
  });

  test("forgets an erased entity: what it parked, and what it was about to deliver", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    await warp.entity("alice").appendBatch([credited(1), credited(2), credited(3)]);
    await warp.entity("bob").append(credited(4));
    const work = warp.join("g");
    let under: Work | undefined;
    for (;;) {
      const one = await next(work);
      if (one.event.entity === "bob") one.park();
      else if (one.event.seq === 1) one.park("X");
      else under = one;
      if (under !== undefined && statusOf(warp, "g")?.parked === 2) break;
    }
    expect(under?.event).toMatchObject({ entity: "alice", seq: 2 });
    const receipt = await warp.entity("alice").delete();
    expect(receipt.status).toBe("erased");
    expect(statusOf(warp, "g")).toMatchObject({ parked: 1, underWay: 0, waiting: 0 });
    under?.retry(0);
    await until(() => statusOf(warp, "g")?.lag === 0);
    expect(await warp.groups.replay("g")).toBe(1);
    expect((await next(work)).event).toMatchObject({ entity: "bob" });
    await settled(warp);
    const bytes = Buffer.from(await Bun.file(`${dataDir}/groups.db`).arrayBuffer());
    expect(bytes.includes("alice")).toBe(false);
  });

  test("a damaged file is the failure of who asks for groups, and of nobody else", async () => {
    const dataDir = freshDirectory();
    const first = await openSmall(dataDir);
    await first.entity("alice").append(credited(1));
    const work = first.join("g");
    (await next(work)).ack();
    await first.close();
    writeFileSync(`${dataDir}/groups.db`, "no database".repeat(1000));
    const warp = await openSmall(dataDir);
    expect(await warp.entity("alice").append(credited(1))).toMatchObject({ ok: true, seq: 2 });
    expect(await codeOf(Promise.try(() => next(warp.join("g"))))).toBe("CORRUPT");
    const receipt = await warp.entity("alice").delete({ waitMs: 300 });
    expect(receipt).toMatchObject({ status: "pending", pending: expect.arrayContaining(["groups"]) });
  });

  test("an erasure waits until no other process reads what was parked of it", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
    const work = warp.join("g");
    for (let i = 0; i < 2; i++) {
      const one = await next(work);
      one.park(`card.of.${one.event.entity}`);
    }
    await until(() => statusOf(warp, "g")?.parked === 2);
    const file = `${dataDir}/groups.db`;
    const reader = new Database(file, { readonly: true });
    reader.run("BEGIN");
    reader.query("SELECT count(*) FROM parked").get();
    let receipt = await warp.entity("alice").delete({ waitMs: 100 });
    while (receipt.status === "pending" && !receipt.pending.includes("groups"))
      receipt = await warp.entity("alice").delete({ waitMs: 100 });
    expect(receipt).toMatchObject({ status: "pending" });
    reader.run("COMMIT");
    reader.close();
    expect((await warp.entity("alice").delete()).status).toBe("erased");
    for (const path of [file, `${file}-wal`])
      expect(existsSync(path) && readFileSync(path).includes("card.of.alice")).toBe(false);
    expect(statusOf(warp, "g")?.parked).toBe(1);
  });

  test("is read by one reader: nobody gets the work of another", async () => {
    const warp = await openSmall(freshDirectory());
    const membership = warp.join("g");
    const first = next(membership);
    const second = membership.next().catch((thrown: unknown) => thrown);
    await warp.entity("a").appendBatch([credited(1), credited(2)]);
    expect((await first).event.seq).toBe(1);
    expect(await second).toMatchObject({ code: "INVALID_ARGUMENT" });
    (await first).ack();
    expect((await next(membership)).event.seq).toBe(2);
    await warp.close();
  });

  test("is refused with a name, a window or a query that does not do", async () => {
    const warp = await openSmall(freshDirectory());
    expect(await codeOf(() => warp.join(""))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => warp.join("a b"))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => warp.join("g", { window: 0 }))).toBe("INVALID_ARGUMENT");
    const member = warp.join("g", { prefix: "a" });
    await until(() => warp.groups.status().length === 1);
    expect(await codeOf(() => warp.join("g", { prefix: "b" }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => warp.groups.remove("g"))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(warp.groups.replay("nobody"))).toBe("INVALID_ARGUMENT");
    const end = codeOf(member.next());
    await warp.close();
    expect(await end).toBe("CLOSED");
  });
});

test("checkpoints ahead of what was recovered go back: other records get those positions", () => {
  const dataDir = freshDirectory();
  mkdirSync(dataDir, { recursive: true });
  const before = new GroupsFile(dataDir, "one", [0, 0]);
  const parked = { number: 1, seq: 1, attempts: 1, reason: "no", parkedAt: 1 };
  before.create("workers", {}, [5, 9]);
  before.park("workers", { ...parked, shard: 0, position: 4 }, [5, 9], undefined);
  before.park("workers", { ...parked, shard: 1, position: 8 }, [5, 9], undefined);
  before.close();
  const after = new GroupsFile(dataDir, "one", [7, 6]);
  expect(after.checkpoint("workers")).toEqual([5, 6]);
  expect(after.parked("workers", 10)).toMatchObject([{ shard: 0, position: 4 }]);
  after.close();
});

test("an event that is parked again is parked once, also where its mark has another seq by then", () => {
  const dataDir = freshDirectory();
  mkdirSync(dataDir, { recursive: true });
  const file = new GroupsFile(dataDir, "one", [9]);
  const row = { shard: 0, number: 1, seq: 1, position: 4, attempts: 1, reason: "no", parkedAt: 1 };
  file.create("workers", {}, [5]);
  file.park("workers", row, [5], undefined);
  const [parked] = file.parked("workers", 10);
  // Retention has dropped it and what follows.
  file.park("workers", { ...row, seq: 3, position: 6, attempts: 10, reason: "attempts" }, [7], parked?.id);
  expect(file.parked("workers", 10)).toMatchObject([
    { id: parked?.id, seq: 1, attempts: 10, reason: "attempts" },
  ]);
  expect(file.checkpoint("workers")).toEqual([7]);
  // Whoever has acknowledged it meanwhile: it is parked anew.
  file.unpark(parked?.id ?? 0);
  file.park("workers", { ...row, seq: 3 }, [7], parked?.id);
  expect(file.parked("workers", 10)).toMatchObject([{ seq: 3 }]);
  file.close();
});

test("what a group has read and is not done with is bounded in bytes", async () => {
  const warp = await openSmall(freshDirectory(), {
    journal: { segmentBytes: 4 << 20, segmentsMax: 64 },
    memory: { tailBytes: 8 << 20 },
  });
  const note = "n".repeat(512 * 1024);
  for (let i = 0; i < 60; i++) await warp.entity(`e${i}`).append({ type: "Noted", data: { note } });
  const membership = warp.join("slow", { window: 1 });
  const first = await next(membership);
  const waiting = () => statusOf(warp, "slow")?.waiting ?? 0;
  // 16 MiB of them, and what one page has more.
  await until(() => waiting() >= 30);
  expect(waiting()).toBeLessThan(36);
  let seen = 1;
  first.ack();
  for (; seen < 60; seen++) (await next(membership)).ack();
  await until(() => statusOf(warp, "slow")?.lag === 0);
  await membership.return();
});

describe("behind an event that is not done", () => {
  /** Events of a kilobyte, so that a page has few. */
  const note = "n".repeat(1000);
  const noted = { type: "Noted", data: { note } };
  const total = 8000;
  /** 4096, and what one page has more. */
  const readMax = 4096 + 256;

  /** One event of "stuck", and all others behind it in the same shard. */
  async function openFilled(dataDir: string): Promise<Warp> {
    const warp = await openSmall(dataDir, {
      shards: 1,
      journal: { segmentBytes: 4 << 20, segmentsMax: 64 },
      memory: { tailBytes: 8 << 20 },
    });
    await warp.entity("stuck").append(noted);
    for (let i = 0; i < total / 100; i++)
      await warp.entity(`e${i % 20}`).appendBatch(Array.from({ length: 100 }, () => noted));
    return warp;
  }

  /** Acknowledges all but "stuck", until there is no room for more; counts them, and those that left memory. */
  function workBehind(warp: Warp) {
    const behind = { done: 0, collected: 0, stuck: undefined as Work | undefined };
    const registry = new FinalizationRegistry(() => behind.collected++);
    const working = workOff(warp, "g", { window: 256 }, (work) => {
      if (work.event.entity === "stuck") {
        behind.stuck = work;
        return;
      }
      registry.register(work.event, undefined);
      behind.done++;
      work.ack();
    });
    const isStill = async () => {
      for (let before = -1; before !== behind.done || behind.done < 4095; await Bun.sleep(300))
        before = behind.done;
    };
    return { behind, working, isStill };
  }

  const answers = {
    ack: (work: Work) => work.ack(),
    park: (work: Work) => work.park("LATER"),
    retry: (work: Work) => work.retry(1),
  };
  for (const [name, answer] of Object.entries(answers)) {
    test(`a bounded number is done, and the rest after its ${name}`, async () => {
      const warp = await openFilled(freshDirectory());
      const { behind, isStill } = workBehind(warp);
      await isStill();
      // Others go on while there is room.
      expect(behind.done).toBeGreaterThanOrEqual(4095);
      expect(behind.done).toBeLessThan(readMax);
      expect(statusOf(warp, "g")).toMatchObject({ underWay: 1, waiting: 0, parked: 0 });
      const { stuck } = behind;
      if (stuck === undefined) throw new Error("it was not delivered");
      const { lag = 0 } = statusOf(warp, "g") ?? {};
      answer(stuck);
      if (name === "retry") {
        await until(() => behind.stuck !== stuck);
        expect(behind.stuck?.attempt).toBe(2);
        expect(statusOf(warp, "g")?.lag).toBe(lag);
        behind.stuck?.ack();
      }
      await until(() => statusOf(warp, "g")?.lag === 0);
      expect(behind.done).toBe(total);
      const parked = name === "park" ? 1 : 0;
      expect(statusOf(warp, "g")).toMatchObject({ underWay: 0, waiting: 0, parked });
    }, 300_000);
  }

  test("the events of others leave memory when they are done", async () => {
    const warp = await openFilled(freshDirectory());
    await warp.entity("gone").append(noted);
    const { behind, isStill } = workBehind(warp);
    await isStill();
    // With an erasure the pages that were read last are forgotten.
    await warp.entity("gone").delete();
    while (behind.collected <= 3000) {
      Bun.gc(true);
      await Bun.sleep(50);
    }
  }, 300_000);

  test("the rest goes on when its entity is erased", async () => {
    const warp = await openFilled(freshDirectory());
    const { behind, isStill } = workBehind(warp);
    await isStill();
    expect(behind.done).toBeLessThan(readMax);
    expect((await warp.entity("stuck").delete()).status).toBe("erased");
    await until(() => statusOf(warp, "g")?.lag === 0);
    expect(behind.done).toBe(total);
  }, 300_000);

  test("no more than was done comes again, when another goes on with the group", async () => {
    const dataDir = freshDirectory();
    let warp = await openFilled(dataDir);
    const first = workBehind(warp);
    await first.isStill();
    await warp.close();
    await first.working;
    warp = await openSmall(dataDir, { shards: 1 });
    const second = workBehind(warp);
    await second.isStill();
    second.behind.stuck?.ack();
    await until(() => statusOf(warp, "g")?.lag === 0);
    // Nothing is left out, and what was done twice was read before.
    expect(second.behind.done).toBe(total);
    expect(first.behind.done).toBeLessThan(readMax);
  }, 300_000);
});
