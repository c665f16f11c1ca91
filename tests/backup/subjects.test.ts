/**
 * Entities and those of whom they only speak are told apart, in a backup that nobody can open and in the ledgers.
 */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { restoreBackup, verifyBackup } from "../../src/index.ts";
import { cleanUp, collect, credited, openSmall } from "../engine/sample.ts";
import { freshDirectory, removeDirectories, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

test("subjects are no entities, with the root key and without it, and the ledgers say which is which", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 2 });
  for (const id of ["alice", "bob", "carol"]) await warp.entity(id).append(credited(1));
  // Of dave there is nothing but what others say of him; carol is an entity and spoken of.
  for (const subject of ["dave", "carol"])
    await warp.entity("bob").append({ ...credited(2), personal: { subject, data: { city: "Ulm" } } });
  // An entity without an event.
  const refused = await warp.entity("erin").send("debit", { cents: 10 }, { key: "erin-1" });
  expect(refused.ok).toBe(false);
  await warp.backup(target);
  const entities = 4;
  expect(await verifyBackup({ target, rootKey: rootKeyOf(dataDir) })).toMatchObject({ entities });
  expect(await verifyBackup({ target })).toMatchObject({ entities, decrypted: false });
  await warp.entity("dave").delete();
  await warp.entity("alice").delete();
  const erased = await collect(warp.erasures());
  expect(erased.map(({ kind, removed }) => `${kind} ${removed.events}`).sort()).toEqual([
    "entity 1",
    "subject 1",
  ]);
  await warp.backup(target);
  const counted = { entities: entities - 1, erased: 1, erasedSubjects: 1 };
  expect(await verifyBackup({ target })).toMatchObject(counted);
  const rootKey = rootKeyOf(dataDir);
  expect(await verifyBackup({ target, rootKey })).toMatchObject(counted);
  const to = join(directory, "restored");
  expect(await restoreBackup({ target, to, rootKey })).toMatchObject(counted);
});
