/**
 * Restoring to a point in time: what was answered later is not there either, whatever kind of answer it was.
 */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { restoreBackup } from "../../src/index.ts";
import { cleanUp, credited, openSmall } from "../engine/sample.ts";
import { freshDirectory, removeDirectories, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

/** The time now, once it has passed: times of recording are whole ms. */
async function passedMs(): Promise<number> {
  const now = Date.now();
  while (Date.now() === now) await Bun.sleep(1);
  return now;
}

test("rejections under caller keys come back up to the time, and none that was later", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir, { shards: 1 });
  const debit = (key: string) => warp.entity("alice").send("debit", { cents: 10 }, { key });
  const rejected = { ok: false, reason: "rejected" };
  expect(await debit("early")).toMatchObject(rejected);
  await warp.entity("alice").append(credited(5));
  const at = await passedMs();
  expect(await debit("late")).toMatchObject(rejected);
  expect(await warp.entity("bob").send("debit", { cents: 10 }, { key: "late" })).toMatchObject(rejected);
  await warp.backup(target);
  // A segment that holds nothing but later ones.
  expect(await debit("later")).toMatchObject(rejected);
  await warp.backup(target);
  await warp.close();

  for (const until of [at, undefined]) {
    const to = join(freshDirectory(), "restored");
    await restoreBackup({ target, to, rootKey, at: until });
    const restored = await openSmall(to, { shards: 1, rootKey });
    expect(await restored.entity("alice").seq()).toBe(1);
    // With more money a key that is not remembered is decided anew, and one that is gives its first answer.
    for (const id of ["alice", "bob"]) await restored.entity(id).append(credited(100));
    const answers: Record<string, boolean> = {};
    for (const [id, key] of [
      ["alice", "early"],
      ["alice", "late"],
      ["alice", "later"],
      ["bob", "late"],
    ] as const) {
      answers[`${id} ${key}`] = (await restored.entity(id).send("debit", { cents: 10 }, { key })).ok;
    }
    const isLaterGone = until !== undefined;
    expect(answers).toEqual({
      "alice early": false,
      "alice late": isLaterGone,
      "alice later": isLaterGone,
      "bob late": isLaterGone,
    });
    await restored.close();
  }
});

test("deliveries are remembered up to the time, and those that were later count again", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir, { shards: 1 });
  const session = { sessionStart: Date.now(), sessionNumber: 9 };
  const [first, late] = [1, 2].map((counter) => ({ delivery: { ...session, counter } }));
  await warp.entity("alice").append(credited(5), first);
  const at = await passedMs();
  await warp.entity("alice").append(credited(6), late);
  await warp.backup(target);
  await warp.close();
  for (const until of [at, undefined]) {
    const to = join(freshDirectory(), "restored");
    await restoreBackup({ target, to, rootKey, at: until });
    const restored = await openSmall(to, { shards: 1, rootKey });
    const alice = restored.entity("alice");
    expect(await alice.append(credited(5), first)).toMatchObject({ ok: true, duplicate: true, seq: 1 });
    const isLaterGone = until !== undefined;
    expect(await alice.append(credited(6), late)).toMatchObject({ duplicate: !isLaterGone, seq: 2 });
    await restored.close();
  }
});
