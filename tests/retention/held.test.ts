/**
 * What is held keeps all of its events.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { checkDirectory, defineAggregate, type Warp } from "../../src/index.ts";
import { freshDirectory, removeDirectories } from "../backup/sample.ts";
import { cleanUp, collect, credited, openSmall, settled } from "../engine/sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

const account = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
  retention: { keepLast: 2, beyond: "drop" },
});

const open = (dataDir: string) => openSmall(dataDir, { aggregates: [account] });

async function seqsOf(warp: Warp, id: string): Promise<number[]> {
  return (await collect(warp.entity(id).events())).map(({ seq }) => seq);
}

test("retention drops nothing of an entity that is held, until the hold has ended", async () => {
  const dataDir = join(freshDirectory(), "data");
  let warp = await open(dataDir);
  for (const id of ["alice", "bob", "carol"]) {
    for (let i = 0; i < 5; i++) {
      await warp.entity(id).append(credited(1));
      await settled(warp);
    }
  }
  await warp.entity("alice").hold({ reason: "claim 17" });
  await warp.entity("carol").hold({ reason: "claim 18", until: Date.now() + 3_600_000 });
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3, failed: 0 });
  expect(await seqsOf(warp, "alice")).toEqual([1, 2, 3, 4, 5]);
  const until = Date.now() + 500;
  await warp.entity("carol").hold({ reason: "claim 18", until });
  await warp.close();

  warp = await open(dataDir);
  await Bun.sleep(Math.max(0, until + 1 - Date.now()));
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3, failed: 0 });
  expect(await seqsOf(warp, "alice")).toEqual([1, 2, 3, 4, 5]);
  await warp.entity("alice").releaseHold();
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3, failed: 0 });
  // The mark of what was dropped stands at its newest seq.
  expect(await seqsOf(warp, "alice")).toEqual([3, 4, 5]);
  expect(await warp.entity("alice").read(account)).toEqual({ count: 5 });
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});

test("a hold that nobody can read is one, and the writer goes on", async () => {
  const dataDir = join(freshDirectory(), "data");
  let warp = await openSmall(dataDir, { aggregates: [account], shards: 1 });
  for (const id of ["alice", "bob"]) {
    for (let i = 0; i < 5; i++) {
      await warp.entity(id).append(credited(1));
      await settled(warp);
    }
  }
  // It ends soon: that it does is what nobody can read.
  const until = Date.now() + 1000;
  await warp.entity("alice").hold({ reason: "claim 17", until });
  await warp.close();
  await Bun.sleep(Math.max(0, until + 1 - Date.now()));
  const runs = new Database(join(dataDir, "shards/000/runs.db"));
  runs.run("UPDATE holds SET data = zeroblob(length(data))");
  runs.close();

  warp = await openSmall(dataDir, { aggregates: [account], shards: 1 });
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3, failed: 0 });
  expect(await seqsOf(warp, "alice")).toEqual([1, 2, 3, 4, 5]);
  await warp.entity("alice").append(credited(1));
  await settled(warp);
  await warp.entity("alice").releaseHold();
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 4, failed: 0 });
});

test("retention drops nothing of an entity that was held when others only spoke of it", async () => {
  const warp = await open(join(freshDirectory(), "data"));
  await warp
    .entity("order-1")
    .append({ ...credited(1), personal: { subject: "alice", data: { at: "home" } } });
  await warp.entity("alice").hold({ reason: "claim 19" });
  for (let i = 0; i < 5; i++) {
    await warp.entity("alice").append(credited(1));
    await settled(warp);
  }
  expect(await warp.retain()).toMatchObject({ entities: 0, events: 0 });
  expect(await seqsOf(warp, "alice")).toEqual([1, 2, 3, 4, 5]);
  await warp.entity("alice").releaseHold();
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3 });
});
