/**
 * Restoring to a time events of which retention has dropped: what the backups have is there, and where it is not known which
 * events there were, no earlier ones stand for them.
 */
import { afterEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DirectoryTarget } from "../../src/backup/target/directory-target.ts";
import { defineAggregate, restoreBackup, type Warp } from "../../src/index.ts";
import { backUpShard } from "../backup/one-shard.ts";
import { freshDirectory, removeDirectories, restoredModel, rootKeyOf } from "../backup/sample.ts";
import { cleanUp, codeOf, openSmall, settled } from "../engine/sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

function accountKeeping(beyond: "drop" | "backup-only") {
  return defineAggregate({
    name: "account",
    initialState: { count: 0 },
    evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
    retention: { keepLast: 1, beyond },
  });
}

/** Appends events, each in a run and a millisecond of its own; when each was recorded. */
async function fill(warp: Warp, id: string, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    await warp.entity(id).append({ type: "Credited", data: {} });
    await settled(warp);
    const now = Date.now();
    times.push(now);
    while (Date.now() === now) await Bun.sleep(1);
  }
  return times;
}

test("events that were dropped before they were backed up are refused where they may be missing, and nowhere else", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const aggregates = [accountKeeping("drop")];
  const warp = await openSmall(dataDir, { aggregates, shards: 1 });
  const alice = await fill(warp, "alice", 10);
  const carol = await fill(warp, "carol", 1);
  await warp.backup(target);
  alice.push(...(await fill(warp, "alice", 10)));
  const bob = await fill(warp, "bob", 10);
  await fill(warp, "carol", 1);
  expect(await warp.retain()).toMatchObject({ entities: 3 });
  await warp.backup(target);
  await fill(warp, "alice", 5);
  await warp.retain();
  await warp.backup(target);
  await warp.close();

  const rootKey = rootKeyOf(dataDir);
  const failureAt = (at: number | undefined, entity?: string) =>
    restoreBackup({ target, to: join(freshDirectory(), "restored"), rootKey, at, entity }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  const dropped = (droppedTo: number) => ({
    code: "EVENTS_DROPPED",
    message: expect.stringContaining("not known"),
    details: { shard: 0, droppedTo },
  });
  expect(await failureAt(alice[14], "alice")).toMatchObject(dropped(19));
  expect(await failureAt(bob[4], "bob")).toMatchObject(dropped(9));
  expect(await failureAt(alice[14])).toMatchObject(dropped(19));
  const seqsAt = async (at: number | undefined, entity?: string) => {
    const model = await restoredModel(target, rootKey.file, { at, entity }, { aggregates });
    return [...model].map(([id, events]) => [id, events.map(({ seq, type }) => [seq, type])]);
  };
  const credits = (count: number) => Array.from({ length: count }, (_, i) => [i + 1, "Credited"]);
  // Everything up to then is in the first backup.
  expect(await seqsAt(alice[8])).toEqual([["alice", credits(9)]]);
  // Of her nothing was dropped before it was backed up.
  expect(await seqsAt(carol[0], "carol")).toEqual([["carol", credits(1)]]);
  expect(await seqsAt(alice[14], "carol")).toEqual([["carol", credits(1)]]);
  // Behind what was dropped.
  expect(await seqsAt(bob[9])).toEqual([
    [
      "alice",
      [
        [19, "$dropped"],
        [20, "Credited"],
      ],
    ],
    [
      "bob",
      [
        [9, "$dropped"],
        [10, "Credited"],
      ],
    ],
    ["carol", credits(1)],
  ]);
});

test("they are refused too when the runs behind them are in a later segment of the same backup", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { aggregates: [accountKeeping("drop")], shards: 1 });
  await warp.backup(target);
  const bob = await fill(warp, "bob", 3);
  await fill(warp, "carol", 1);
  await fill(warp, "bob", 1);
  expect(await warp.retain()).toMatchObject({ entities: 1, events: 3 });
  await warp.close();
  expect(await backUpShard(dataDir, new DirectoryTarget(target), 1)).toMatchObject({ segments: 5 });
  const to = join(directory, "restored");
  const restoring = restoreBackup({ target, to, rootKey: rootKeyOf(dataDir), at: bob[1] });
  expect(await codeOf(restoring)).toBe("EVENTS_DROPPED");
});

test("events that were dropped after they were backed up are there at every time, also in merged segments", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const aggregates = [accountKeeping("backup-only")];
  const warp = await openSmall(dataDir, { aggregates, shards: 1 });
  const times: number[] = [];
  for (let i = 0; i < 9; i++) {
    times.push(...(await fill(warp, "alice", 2)));
    await warp.backup(target);
    expect(await warp.retain()).toMatchObject({ entities: 1 });
  }
  await warp.close();
  expect(readdirSync(join(target, "shard-000/segments"))).toHaveLength(2);
  const { file } = rootKeyOf(dataDir);
  for (const [i, at] of times.entries()) {
    const restored = await restoredModel(target, file, { at }, { aggregates });
    expect(restored.get("alice")?.map(({ seq }) => seq)).toEqual(
      Array.from({ length: i + 1 }, (_, seq) => seq + 1),
    );
  }
});
