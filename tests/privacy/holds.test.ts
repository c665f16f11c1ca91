/**
 * Legal holds, what a deletion would remove, and the ledger as an operator sees it.
 */
import { afterEach, expect, test } from "bun:test";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { erasureChannel } from "../../src/core/erasure-steps.ts";
import { checkDirectory } from "../../src/index.ts";
import { cleanUp, codeOf, collect, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";

afterEach(cleanUp);

test("a hold refuses an erasure with its reason and time, also after a restart, until it is released", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  const alice = warp.entity("alice");
  await alice.append(credited(1));
  const hold = await alice.hold({ reason: "claim of a creditor", by: "legal" });
  expect(await alice.currentHold()).toEqual(hold);
  const refusal = await alice.delete().catch((error) => error);
  expect(refusal).toMatchObject({
    code: "HELD",
    details: { reason: "claim of a creditor", since: hold.since },
  });
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);

  const next = await openSmall(dataDir);
  expect(await codeOf(next.entity("alice").delete())).toBe("HELD");
  expect(await next.entity("alice").seq()).toBe(1);
  await next.entity("alice").releaseHold();
  expect(await next.entity("alice").currentHold()).toBeUndefined();
  expect(await next.entity("alice").delete()).toMatchObject({ status: "erased" });
});

test("a hold ends by itself at its time", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  await alice.append(credited(1));
  const until = Date.now() + 1000;
  await alice.hold({ reason: "audit", until });
  await Bun.sleep(Math.max(0, until - Date.now()) + 1);
  expect(await alice.currentHold()).toBeUndefined();
  await alice.hold({ reason: "audit", until: new Date(Date.now() + 3_600_000) });
  expect(await codeOf(alice.delete())).toBe("HELD");
});

test("a hold that would be over at once, or at no time, is refused, and the one in force stays", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  await alice.append(credited(1));
  const hold = await alice.hold({ reason: "claim" });
  // 2030 in seconds, and beyond what a date can be.
  for (const until of [1_893_456_000, Date.now() - 1, 9e15, Number.NaN])
    expect(await codeOf(alice.hold({ reason: "claim extended", until }))).toBe("INVALID_ARGUMENT");
  expect(await alice.currentHold()).toEqual(hold);
  expect(await codeOf(alice.delete())).toBe("HELD");
});

test("a hold and an erasure that meet: either is refused, never both done", async () => {
  const warp = await openSmall(freshDirectory());
  for (let i = 0; i < 20; i++) {
    const entity = warp.entity(`e-${i}`);
    await entity.append(credited(1));
    const [hold, receipt] = await Promise.all([
      codeOf(entity.hold({ reason: "claim" })),
      codeOf(i % 2 === 0 ? entity.delete() : Promise.resolve().then(() => entity.delete())),
    ]);
    const isHeld = hold.startsWith("no error");
    expect(receipt).toBe(isHeld ? "HELD" : receipt);
    expect(isHeld ? await entity.seq() : await codeOf(entity.seq())).toBe(isHeld ? 1 : "ERASED");
  }
});

test("a hold that is answered while an erasure waits for its turn is met by it", async () => {
  const warp = await openSmall(freshDirectory());
  let met = 0;
  for (let i = 0; i < 6; i++) {
    const alice = warp.entity(`alice-${i}`);
    const others = Array.from({ length: 200 }, (_, j) => warp.entity(`other-${i}-${j}`));
    await Promise.all([alice, ...others].map((entity) => entity.append(credited(1))));
    await settled(warp);
    const begun = Promise.withResolvers<void>();
    const onStep = () => begun.resolve();
    subscribe(erasureChannel, onStep);
    const gone = others.map((other) => other.delete());
    await begun.promise;
    unsubscribe(erasureChannel, onStep);
    // The others are under way. Hers finds no hold and waits until they are out of the journal.
    const deleted = codeOf(alice.delete());
    expect(await alice.currentHold()).toBeUndefined();
    const isHeld = (await codeOf(alice.hold({ reason: "claim" }))).startsWith("no error");
    expect(await deleted).toMatch(isHeld ? /^HELD$/ : /^no error/);
    expect(isHeld ? await alice.seq() : await codeOf(alice.seq())).toBe(isHeld ? 1 : "ERASED");
    if (isHeld) met++;
    await Promise.all(gone);
  }
  expect(met).toBeGreaterThan(0);
});

test("a hold that is answered while an erasure waits for space is met by it", async () => {
  const warp = await openSmall(freshDirectory());
  let isOver = false;
  const press = async (_: unknown, i: number) => {
    const filler = "x".repeat(60_000);
    while (!isOver) await warp.entity(`other-${i}`).append({ type: "Noted", data: { filler } });
  };
  const pressing = Array.from({ length: 40 }, press);
  let met = 0;
  for (let i = 0; i < 12; i++) {
    const entity = warp.entity(`e-${i}`);
    await entity.append(credited(1));
    const deleted = codeOf(entity.delete());
    // Behind the look for holds, and before there is space for the record.
    await Bun.sleep(i % 8);
    const isHeld = (await codeOf(entity.hold({ reason: "claim" }))).startsWith("no error");
    expect(await deleted).toMatch(isHeld ? /^HELD$/ : /^no error/);
    expect(isHeld ? await entity.seq() : await codeOf(entity.seq())).toBe(isHeld ? 1 : "ERASED");
    if (isHeld) met++;
  }
  isOver = true;
  await Promise.all(pressing);
  expect(met).toBeGreaterThan(0);
});

test("nothing can be held that was never there, or is erased", async () => {
  const warp = await openSmall(freshDirectory());
  expect(await codeOf(warp.entity("nobody").hold({ reason: "x" }))).toBe("INVALID_ARGUMENT");
  await warp.entity("alice").append(credited(1));
  expect(await codeOf(warp.entity("alice").hold({ reason: "" }))).toBe("INVALID_ARGUMENT");
  await warp.entity("alice").delete();
  expect(await codeOf(warp.entity("alice").hold({ reason: "x" }))).toBe("ERASED");
});

test("a plan counts what would go and changes nothing", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  for (let i = 0; i < 30; i++) await alice.append(credited(1), { key: `key-${i}` });
  await settled(warp);
  const plan = await alice.deletePlan();
  expect(plan).toMatchObject({ entity: "alice", events: 30, callerKeys: 30, followers: [] });
  expect(plan.bytes).toBeGreaterThan(0);
  expect(await alice.seq()).toBe(30);
  expect((await alice.delete()).removed).toMatchObject({ events: 30, callerKeys: 30 });
});

test("the ledger lists what was erased and says nothing of whom", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  for (const id of ["alice", "bob", "carol"]) await warp.entity(id).append(credited(1));
  const receipt = await warp.entity("alice").delete({ reason: "art-17", by: "ticket-1" });
  await warp.entity("bob").delete();
  const listed = await collect(warp.erasures());
  expect(listed).toHaveLength(2);
  const entry = listed.find(({ reason }) => reason === "art-17");
  expect(entry).toMatchObject({
    ...{ shard: receipt.shard, entry: receipt.entry, erasedAt: receipt.erasedAt, by: "ticket-1" },
    ...{ isComplete: true, removed: { events: 1 } },
  });
  expect(JSON.stringify(listed)).not.toMatch(/alice|bob/);
  await warp.close();
  const next = await openSmall(dataDir);
  expect(await collect(next.erasures())).toEqual(listed);
});
