/**
 * What was erased is in no backup any more, and no restored backup brings it back.
 */
import { afterEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keysPerObject } from "../../src/backup/format/objects.ts";
import { DirectoryTarget } from "../../src/backup/target/directory-target.ts";
import { checkDirectory, restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import { slotBytes, slotOffset } from "../../src/shard/files/vault.ts";
import { cleanUp, codeOf, credited, openSmall, seededRandom, settled } from "../engine/sample.ts";
import {
  copyOf,
  filesUnder,
  filesWith,
  freshDirectory,
  modelOf,
  removeDirectories,
  restoredModel,
  rootKeyOf,
} from "./sample.ts";
import { backUpShard, eraseKey, openShard, WatchedTarget } from "./one-shard.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

async function erase(warp: Warp, id: string): Promise<void> {
  const receipt = await warp.entity(id).delete();
  expect(receipt).toMatchObject({ entity: id, status: "erased" });
}

async function reopened(warp: Warp, dataDir: string): Promise<Warp> {
  await warp.close();
  return await openSmall(dataDir, { shards: 1 });
}

test("a backup holds nothing of an entity in plaintext, and after its deletion not even its wrapped key", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  const secret = "recognisable-zanzibar";
  await warp.entity("bob").append(credited(1));
  await warp.entity(secret).append({ type: "Credited", data: { cents: 1, secret } }, { key: secret });
  await warp.backup(target);
  await warp.close();
  // The scan finds what it should: a name is plaintext in the data directory.
  expect(filesWith(dataDir, secret).length).toBeGreaterThan(0);
  expect(filesWith(target, secret)).toEqual([]);
  // Its slot of the vault is in the key set; that of the erased one is not any more.
  const vault = readFileSync(join(dataDir, "shards/000/vault"));
  const slotOf = (number: number) =>
    vault.subarray(slotOffset(number), slotOffset(number) + slotBytes).toString("latin1");
  const filesWithSlot = (number: number) =>
    filesUnder(target).filter((file) => readFileSync(join(target, file), "latin1").includes(slotOf(number)));
  expect([filesWithSlot(1), filesWithSlot(2)]).toEqual([
    ["shard-000/keys/000001"],
    ["shard-000/keys/000001"],
  ]);
  const again = await openSmall(dataDir, { shards: 1 });
  await erase(again, secret);
  expect(filesWithSlot(2)).toEqual(["shard-000/keys/000001"]);
  await again.backup(target);
  expect([filesWithSlot(1), filesWithSlot(2)]).toEqual([["shard-000/keys/000001"], []]);
});

test("restoring to a moment before a deletion brings the others back, and not her", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1), { key: "salary" });
  await warp.entity("bob").append(credited(2));
  await warp.backup(target);
  const before = Date.now();
  await Bun.sleep(5);
  await erase(warp, "alice");
  await warp.backup(target);
  await warp.close();

  for (const at of [undefined, before]) {
    const to = join(freshDirectory(), "restored");
    const report = await restoreBackup({ target, to, rootKey, at });
    expect(report).toMatchObject({ entities: 1, erased: 1 });
    const restored = await openSmall(to, { rootKey });
    expect([...(await modelOf(restored)).keys()]).toEqual(["bob"]);
    expect(restored.incarnation).not.toBe(warp.incarnation);
    // A late retry does not bring her back; a new beginning is one.
    expect(await codeOf(restored.entity("alice").append(credited(1), { key: "salary" }))).toBe("ERASED");
    expect(await restored.entity("alice").append(credited(3), { expect: "none" })).toMatchObject({
      ok: true,
      seq: 1,
    });
    await restored.close();
  }
});

test("a ledger that is older than the key set is refused; one that is newer counts", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  let warp = await openSmall(dataDir, { shards: 1 });
  for (const id of ["alice", "bob", "carol"]) await warp.entity(id).append(credited(1));
  await warp.backup(target);
  const old = copyOf(target);
  await erase(warp, "alice");
  await warp.backup(target);
  const newest = readFileSync(join(target, "shard-000/ledger"));

  const rolledBack = copyOf(target);
  cpSync(join(old, "shard-000/ledger"), join(rolledBack, "shard-000/ledger"));
  const to = join(freshDirectory(), "restored");
  for (const work of [
    () => verifyBackup({ target: rolledBack, rootKey }),
    () => restoreBackup({ target: rolledBack, to, rootKey }),
  ]) {
    const failure = await work().then(String, (thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: "CORRUPT", details: { object: "shard-000/ledger" } });
  }
  // Nor is it backed up into, by the process that wrote it or by the next: it would stay damaged, and look like a success.
  for (const isRestarted of [false, true]) {
    cpSync(join(rolledBack, "shard-000/ledger"), join(target, "shard-000/ledger"));
    if (isRestarted) warp = await reopened(warp, dataDir);
    await warp.entity("bob").append(credited(1));
    const failure = await warp.backup(target).then(String, (thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: "CORRUPT", details: { object: "shard-000/ledger" } });
    writeFileSync(join(target, "shard-000/ledger"), newest);
    await warp.backup(target);
  }
  await warp.close();
  // An old backup with the newest ledger: her events and even her key are there, and she does not come back.
  writeFileSync(join(old, "shard-000/ledger"), readFileSync(join(target, "shard-000/ledger")));
  expect([...(await restoredModel(old, rootKey.file)).keys()].sort()).toEqual(["bob", "carol"]);
});

test(`backups beside appends and deletions: what is restored is what there was (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const { file } = rootKeyOf(dataDir);
  let warp = await openSmall(dataDir);
  for (let round = 0; round < 6; round++) {
    const backup = random() < 0.5 ? warp.backup(target, { settle: false }) : undefined;
    for (let step = 0; step < 25; step++) {
      const entity = warp.entity(`customer-${Math.floor(random() * 12)}`);
      if (random() < 0.15 && (await entity.seq().catch(() => 0)) > 0) await erase(warp, entity.id);
      else {
        const seq = await entity.seq().catch(() => 0);
        await entity.append(credited(step), { expect: seq === 0 ? "none" : "any" });
      }
    }
    await backup;
    await warp.backup(target);
    expect(await restoredModel(target, file)).toEqual(await modelOf(warp));
    if (random() < 0.3) {
      await warp.close();
      warp = await openSmall(dataDir);
    }
  }
});

test("who is erased while her rows are backed up does not come back, however much of them the backup has", async () => {
  for (const sweptRows of [4, 100]) {
    const directory = freshDirectory();
    const dataDir = join(directory, "data");
    const target = join(directory, "target");
    const { file } = rootKeyOf(dataDir);
    const warp = await openSmall(dataDir, { shards: 1 });
    await warp.backup(target);
    for (let run = 0; run < 9; run++) {
      await warp.entity("alice").append(credited(run));
      await warp.entity("bob").append(credited(run));
      await settled(warp);
    }
    const bob = (await modelOf(warp)).get("bob");
    await warp.close();
    const shard = openShard(dataDir);
    // The holds are read when keys and ledger are in the target and the first run is not read yet.
    const watched = new WatchedTarget(target, (call, object) => {
      if (call !== "get" || !object.endsWith("/holds")) return;
      eraseKey(shard, 1, "alice");
      shard.runs.erasures.sweep({ rows: sweptRows, bytes: 1 << 20 });
    });
    await backUpShard(dataDir, watched);
    shard.close();
    expect(await restoredModel(target, file)).toEqual(new Map([["bob", bob ?? []]]));
    const again = await openSmall(dataDir, { shards: 1 });
    await again.backup(target);
    expect(await restoredModel(target, file)).toEqual(await modelOf(again));
    await again.close();
  }
});

test("a run that takes the place of one that was erased while its shard is backed up goes with a later segment", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1, memory: { tailBytes: 4 << 20 } });
  await warp.entity("first").append(credited(1));
  await warp.backup(target);
  // More than is read at once, and more than a segment: one is written while rows are still to be read.
  for (let round = 0; round < 3; round++) {
    const event = () => ({
      type: "Credited",
      data: { cents: 1, note: randomBytes(25_000).toString("base64") },
    });
    await Promise.all(Array.from({ length: 60 }, (_, i) => warp.entity(`e-${round}-${i}`).append(event())));
    await settled(warp);
  }
  await warp.entity("eve").append(credited(1));
  await settled(warp);
  let isOver = false;
  class Meanwhile extends DirectoryTarget {
    override async put(object: string, parts: readonly Uint8Array[]): Promise<void> {
      if (object.includes("/segments/") && !isOver) {
        isOver = true;
        await erase(warp, "eve");
        await warp.entity("late").append(credited(1));
        await settled(warp);
      }
      await super.put(object, parts);
    }
  }
  await backUpShard(dataDir, new Meanwhile(target), 1 << 20);
  expect(isOver).toBe(true);
  expect((await verifyBackup({ target })).entities).toBe(181);
  await warp.backup(target);
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(await modelOf(warp));
});

test("who is erased between two objects of the key set, and still has a name, has lost no key", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  const append = (id: number) => warp.entity(`customer-${id}`).append(credited(id));
  await append(1);
  await warp.backup(target);
  const last = keysPerObject + 1;
  await Promise.all(Array.from({ length: keysPerObject }, (_, i) => append(i + 2)));
  await warp.close();
  const shard = openShard(dataDir);
  let isErased = false;
  const watched = new WatchedTarget(target, (call, object) => {
    if (call !== "replace" || !object.endsWith("/keys/000001")) return;
    eraseKey(shard, last, `customer-${last}`);
    isErased = true;
  });
  expect((await backUpShard(dataDir, watched)).damaged).toBeUndefined();
  expect(isErased).toBe(true);
  shard.close();
  const { file } = rootKeyOf(dataDir);
  expect((await restoredModel(target, file)).size).toBe(keysPerObject);
});

test("a legal hold comes back with its entity, also when it is older than the newest backup", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  for (const id of ["alice", "bob", "carol"]) await warp.entity(id).append(credited(1));
  await warp.entity("bob").hold({ reason: "dispute 7", by: "legal" });
  await warp.entity("carol").hold({ reason: "dispute 8" });
  await warp.backup(target);
  await warp.entity("carol").releaseHold();
  await warp.backup(target);
  await warp.entity("alice").hold({ reason: "dispute 9" });
  await warp.backup(target);
  await warp.close();
  const to = join(freshDirectory(), "restored");
  const rootKey = rootKeyOf(dataDir);
  expect(await verifyBackup({ target, rootKey })).toMatchObject({ entities: 3 });
  await restoreBackup({ target, to, rootKey });
  const restored = await openSmall(to, { shards: 1, rootKey });
  expect(await codeOf(restored.entity("bob").delete())).toBe("HELD");
  expect(await codeOf(restored.entity("alice").delete())).toBe("HELD");
  await erase(restored, "carol");
});

test("a legal hold comes back with somebody of whom nobody speaks any more, and with nobody who was not asked for", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  for (const subject of ["alice", "bob"]) {
    await warp
      .entity(`order of ${subject}`)
      .append({ ...credited(1), personal: { subject, data: { at: "home" } } });
    await warp.entity(subject).hold({ reason: "dispute 7" });
    await warp.entity(subject).append(credited(1));
    await erase(warp, `order of ${subject}`);
  }
  await warp.backup(target);
  await warp.close();
  const rootKey = rootKeyOf(dataDir);
  for (const entity of [undefined, "alice"]) {
    const to = join(freshDirectory(), "restored");
    await restoreBackup({ target, to, rootKey, entity });
    expect([...checkDirectory({ dataDir: to, rootKey })]).toEqual([]);
    const restored = await openSmall(to, { shards: 1, rootKey });
    expect(await codeOf(restored.entity("alice").delete())).toBe("HELD");
    expect(await codeOf(restored.entity("bob").delete())).toMatch(
      entity === undefined ? /^HELD$/ : /nothing/,
    );
    await restored.close();
    expect(filesWith(to, "bob").length > 0).toBe(entity === undefined);
  }
});

test("a receipt names the backups in which the key lives until their next turn", async () => {
  const directory = freshDirectory();
  const target = join(directory, "target");
  const warp = await openSmall(join(directory, "data"));
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  expect(await warp.entity("alice").delete()).toMatchObject({ status: "erased", backups: [] });
  const { startedAt } = await warp.backup(target);
  expect(await warp.entity("bob").delete()).toMatchObject({
    status: "erased",
    backups: [{ target, backedUpAt: startedAt }],
  });
  expect(await warp.entity("nobody").delete()).toMatchObject({ status: "nothing", backups: [] });
});

test("a receipt of a restored directory names the target that it was restored from, for ever", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const [target, next] = [join(directory, "target"), join(directory, "next")];
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  const { startedAt } = await warp.backup(target);
  await warp.close();
  const to = join(directory, "restored");
  await restoreBackup({ target, to, rootKey });
  let restored = await openSmall(to, { rootKey });
  const backedUpAt = restored.backupTargets[0]?.backedUpAt ?? 0;
  expect(backedUpAt).toBeGreaterThanOrEqual(startedAt);
  const from = { target, backedUpAt, restoredFrom: true };
  expect(restored.backupTargets).toMatchObject([from]);
  expect(await restored.entity("alice").delete()).toMatchObject({ status: "erased", backups: [from] });
  // No backup reaches it any more.
  expect(await codeOf(restored.backup(target))).toBe("CONFIG_MISMATCH");
  await restored.backup(next);
  await restored.close();
  restored = await openSmall(to, { rootKey });
  const { backups } = await restored.entity("bob").delete();
  expect(backups).toMatchObject([from, { target: next }]);
  // Emptied it is a target like any other.
  rmSync(target, { recursive: true });
  const again = await restored.backup(target);
  expect(restored.backupTargets).toEqual([
    { target, backedUpAt: again.startedAt, everyMs: undefined },
    expect.objectContaining({ target: next }),
  ]);
});
