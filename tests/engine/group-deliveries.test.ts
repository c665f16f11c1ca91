/**
 * Deliveries of a group whose time passes, whose entity is erased, or whose group ends by an error or loses its records.
 */
import { afterEach, beforeEach, describe, expect, type Mock, spyOn, test } from "bun:test";
import { Feed } from "../../src/actor/storage/feed.ts";
import { limits } from "../../src/core/limits.ts";
import { type Warp, WarpError, type Work } from "../../src/index.ts";
import { GroupsFile } from "../../src/subscription/groups/groups-file.ts";
import { Member } from "../../src/subscription/groups/member.ts";
import { cleanUp, codeOf, credited, freshDirectory, openSmall, settled, until } from "./sample.ts";

/** How far the clock of the process has been put ahead. */
let aheadMs = 0;
let clock: Mock<typeof performance.now>;

beforeEach(() => {
  const now = performance.now.bind(performance);
  clock = spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
});

afterEach(async () => {
  await cleanUp();
  clock.mockRestore();
  aheadMs = 0;
});

/** Puts the clock ahead, and lets groups look at it. */
async function later(ms: number): Promise<void> {
  aheadMs += ms;
  const looked = spyOn(Member.prototype, "remove");
  await until(() => looked.mock.calls.length > 0);
  looked.mockRestore();
}

async function next(work: AsyncIterator<Work>): Promise<Work> {
  const { value, done } = await work.next();
  if (done === true) throw new Error("the membership ended");
  return value;
}

const statusOf = (warp: Warp, group = "g") => warp.groups.status().find(({ name }) => name === group);

async function openWith(entities: readonly string[]): Promise<Warp> {
  const warp = await openSmall(freshDirectory(), { shards: 1 });
  for (const [i, id] of entities.entries()) await warp.entity(id).append(credited(i + 1));
  return warp;
}

const entities = ["a", "b", "c", "d", "e", "f"];
/** Most of a delivery's time; with what a test takes beside it still less than all of it. */
const longMs = limits.groupAnswerMs * 0.6;

describe("what waits to be read for longer than the time of a delivery", () => {
  test("is read once and done once, at its first try, when nobody else has room", async () => {
    const warp = await openWith(entities);
    const work = warp.join("g", { window: 6 });
    await until(() => statusOf(warp)?.underWay === 6);
    const read: unknown[] = [];
    for (const _ of entities) {
      const one = await next(work);
      read.push([one.event.entity, one.attempt]);
      // Each takes nearly its whole time, so that the ones behind it are over theirs again and again.
      await later(longMs);
      one.ack();
    }
    expect(read).toEqual(entities.map((entity) => [entity, 1]));
    await until(() => statusOf(warp)?.lag === 0);
    expect(statusOf(warp)).toMatchObject({ underWay: 0, waiting: 0, parked: 0 });
  });

  test("goes to who has room, and is not read by who had it", async () => {
    const warp = await openWith(entities);
    const slow = warp.join("g", { window: 6 });
    await until(() => statusOf(warp)?.underWay === 6);
    const other = warp.join("g", { window: 6 });
    await later(limits.groupAnswerMs);
    const read: unknown[] = [];
    for (const work of [slow, other, slow, other, slow, other]) {
      const one = await next(work);
      read.push([one.event.entity, one.attempt]);
      one.ack();
    }
    expect(read.toSorted()).toEqual(entities.map((entity) => [entity, 1]));
    await until(() => statusOf(warp)?.lag === 0);
  });

  test("leaves the one that was read to who reads it, for its own time", async () => {
    const warp = await openWith(["a", "b"]);
    const slow = warp.join("g");
    await until(() => statusOf(warp)?.underWay === 2);
    await later(longMs);
    const one = await next(slow);
    warp.join("g");
    await later(longMs);
    one.ack();
    await until(() => statusOf(warp)?.lag === 1);
  });
});

describe("a delivery", () => {
  test("that was read and not answered counts as tried, and its event is parked in the end", async () => {
    const warp = await openWith(["a"]);
    const work = warp.join("g");
    for (let attempt = 1; attempt <= limits.groupAttemptsMax; attempt++) {
      expect((await next(work)).attempt).toBe(attempt);
      await later(limits.groupAnswerMs);
    }
    await until(() => statusOf(warp)?.parked === 1);
    expect(warp.groups.parked("g")).toMatchObject([{ seq: 1, reason: "attempts", attempts: 10 }]);
  }, 60_000);
});

test("what was delivered of an erased entity is not read behind its receipt", async () => {
  const warp = await openWith(["alice", "bob"]);
  const work = warp.join("g");
  await until(() => statusOf(warp)?.underWay === 2);
  expect((await warp.entity("alice").delete()).status).toBe("erased");
  expect(statusOf(warp)).toMatchObject({ underWay: 1, waiting: 0 });
  const one = await next(work);
  expect(one.event.entity).toBe("bob");
  one.ack();
  await until(() => statusOf(warp)?.lag === 0);
});

test("nothing that was done while a group was live comes again when its reading fails", async () => {
  const warp = await openWith([]);
  const work = warp.join("g");
  await until(() => warp.subscriptions.live === 1);
  for (const id of entities) {
    await warp.entity(id).append(credited(1));
    (await next(work)).ack();
  }
  const failing = spyOn(Feed.prototype, "readNow").mockImplementationOnce(() => {
    throw new WarpError("IO_ERROR", "the disk failed once");
  });
  const end = codeOf(work.next());
  await warp.entity("z").append(credited(1));
  expect(await end).toBe("IO_ERROR");
  failing.mockRestore();
  expect((await next(warp.join("g"))).event.entity).toBe("z");
});

test("who joins a group that is being made is told when it is about something else", async () => {
  const warp = await openWith([]);
  const first = warp.join("g", { prefix: "a" });
  expect(await codeOf(() => warp.join("g", { prefix: "b" }))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(() => warp.join("g", { prefix: "a", types: ["Credited"] }))).toBe("INVALID_ARGUMENT");
  const same = warp.join("g", { prefix: "a" });
  const silent = warp.join("g");
  await until(() => statusOf(warp)?.members === 3);
  for (const one of [first, same, silent]) await one.return();
});

test("a checkpoint ahead of what was recovered goes back, also when the group is not asked for in that life", async () => {
  const dataDir = freshDirectory();
  let warp = await openSmall(dataDir, { shards: 1 });
  for (const id of ["a", "b", "c"]) await warp.entity(id).append(credited(1));
  const { incarnation } = warp;
  await warp.close();
  // As a power failure leaves it with durability os: the file knows of records that the journal has lost.
  const file = new GroupsFile(dataDir, incarnation, [5]);
  file.create("g", {}, [5]);
  file.close();
  warp = await openSmall(dataDir, { shards: 1 });
  for (const id of ["d", "e", "f", "g"]) await warp.entity(id).append(credited(1));
  await settled(warp);
  await warp.close();
  warp = await openSmall(dataDir, { shards: 1 });
  const work = warp.join("g");
  const read: string[] = [];
  for (let i = 0; i < 4; i++) {
    const one = await next(work);
    read.push(one.event.entity);
    one.ack();
  }
  expect(read).toEqual(["d", "e", "f", "g"]);
});
