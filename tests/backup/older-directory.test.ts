/**
 * A data directory that was put back to an older state goes on differently: it is refused by targets that are ahead of that state,
 * however far it has come since. What the directory itself drops, erases and rotates changes no history.
 */
import { afterEach, expect, test } from "bun:test";
import { readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { encodeObject } from "../../src/backup/format/container.ts";
import { headObject } from "../../src/backup/format/objects.ts";
import { readHead } from "../../src/backup/reading/chain.ts";
import { DirectoryTarget } from "../../src/backup/target/directory-target.ts";
import { defineAggregate, type Warp } from "../../src/index.ts";
import { cleanUp, codeOf, credited, openSmall, settled } from "../engine/sample.ts";
import { copyOf, freshDirectory, modelOf, removeDirectories, restoredModel, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

function paths() {
  const directory = freshDirectory();
  return { dataDir: join(directory, "data"), target: join(directory, "target") };
}

/** Appends events, each in a run of its own. */
async function fill(warp: Warp, id: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await warp.entity(id).append(credited(1));
    await settled(warp);
  }
}

function putBack(older: string, dataDir: string): void {
  rmSync(dataDir, { recursive: true });
  renameSync(older, dataDir);
}

test("a directory that was put back to an older state is refused, also when it has grown past the target", async () => {
  const { dataDir, target } = paths();
  let warp = await openSmall(dataDir, { shards: 1 });
  await fill(warp, "alice", 3);
  await warp.close();
  const older = copyOf(dataDir);
  warp = await openSmall(dataDir, { shards: 1 });
  await fill(warp, "alice", 2);
  await warp.backup(target);
  const model = await modelOf(warp);
  await warp.close();
  putBack(older, dataDir);
  warp = await openSmall(dataDir, { shards: 1 });
  await fill(warp, "bob", 1);
  // The target is ahead, …
  expect(await codeOf(warp.backup(target))).toBe("CONFIG_MISMATCH");
  await fill(warp, "bob", 3);
  // … and then behind, once with no such run in the directory and once with another one.
  expect(await codeOf(warp.backup(target))).toBe("CONFIG_MISMATCH");
  await fill(warp, "alice", 2);
  expect(await codeOf(warp.backup(target))).toBe("CONFIG_MISMATCH");
  await warp.backup(join(freshDirectory(), "other"));
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(model);
});

test("an older state that lacks erasures is refused, and the target keeps its ledger", async () => {
  const { dataDir, target } = paths();
  let warp = await openSmall(dataDir, { shards: 1 });
  await fill(warp, "alice", 1);
  await fill(warp, "bob", 1);
  await warp.close();
  const older = copyOf(dataDir);
  warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("bob").delete();
  await warp.backup(target);
  await warp.close();
  const ledger = () => readFileSync(join(target, "shard-000/ledger"));
  const known = ledger();
  putBack(older, dataDir);
  warp = await openSmall(dataDir, { shards: 1 });
  await fill(warp, "carol", 4);
  expect(await codeOf(warp.backup(target))).toBe("CONFIG_MISMATCH");
  expect(ledger()).toEqual(known);
});

test("what is dropped, erased, rotated and read by earlier versions goes on in the same target", async () => {
  const { dataDir, target } = paths();
  const account = defineAggregate({
    name: "account",
    initialState: { count: 0 },
    evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
    retention: { keepLast: 1, beyond: "drop" },
  });
  let warp = await openSmall(dataDir, { aggregates: [account], shards: 1 });
  await fill(warp, "bob", 1);
  await fill(warp, "alice", 2);
  const files = new DirectoryTarget(target);
  const newest = async () => (await readHead(files, 0))?.newest?.slice(0, 2);
  await warp.backup(target);
  expect(await newest()).toEqual([2, 2]);
  await warp.rotateKeys();
  await fill(warp, "alice", 1);
  expect(await warp.retain()).toMatchObject({ events: 2 });
  await warp.backup(target);
  expect(await newest()).toEqual([2, 3]);
  await warp.entity("alice").delete();
  await warp.backup(target);
  expect(await newest()).toEqual([1, 1]);
  await warp.entity("bob").delete();
  await warp.backup(target);
  expect(await newest()).toBeUndefined();
  await fill(warp, "carol", 2);
  await warp.backup(target);
  await warp.close();
  // As earlier versions wrote it.
  const head = await readHead(files, 0);
  if (head === undefined) throw new Error("there is no head");
  await files.replace(headObject(0), [encodeObject({ ...head, newest: undefined })]);
  warp = await openSmall(dataDir, { aggregates: [account], shards: 1 });
  await warp.backup(target);
  expect(await newest()).toEqual([3, 2]);
  expect(await restoredModel(target, rootKeyOf(dataDir).file, {}, { aggregates: [account] })).toEqual(
    await modelOf(warp),
  );
});
