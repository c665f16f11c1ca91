/**
 * Backup after backup: while others append, and over many small ones.
 */
import { afterEach, expect, test } from "bun:test";
import { existsSync, cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BackupSchedule } from "../../src/backup/schedule.ts";
import { ShardSource } from "../../src/backup/writing/shard-source.ts";
import { checkDirectory, restoreBackup, verifyBackup, WarpError } from "../../src/index.ts";
import { cleanUp, credited, openSmall, settled, until } from "../engine/sample.ts";
import {
  copyOf,
  filesUnder,
  freshDirectory,
  modelOf,
  removeDirectories,
  restoredModel,
  rootKeyOf,
} from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

test("small segments are merged: their number grows with the logarithm of the backups", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  for (let backup = 0; backup < 80; backup++) {
    await warp.entity(`customer-${backup % 5}`).append(credited(backup), { key: `key-${backup}` });
    await warp.backup(target);
  }
  const segments = filesUnder(target).filter((object) => object.includes("/segments/"));
  // One of 64, two of 8.
  expect(segments.length).toBe(3);
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(await modelOf(warp));
});

test("a continuous backup follows the appends beside it, and what it holds is a beginning of them", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir);
  const schedule = new BackupSchedule({
    target,
    everyMs: 1,
    coveredAt: undefined,
    logger: quiet,
    backup: (to, options) => warp.backup(to, options),
  });
  let appends = 0;
  const caller = async (name: string) => {
    while (schedule.backups < 12) {
      await warp.entity(name).append(credited(appends++));
      if (appends % 50 === 0) await settled(warp);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, i) => caller(`customer-${i}`)));
  await settled(warp);
  // Of the next two that end, the second began when everything was settled.
  const before = schedule.backups;
  await until(() => schedule.backups >= before + 2);
  await Promise.all(Array.from({ length: 8 }, (_, i) => warp.entity(`customer-${i}`).append(credited(1))));
  await schedule.stop();
  expect(schedule.failures).toBe(0);
  const whole = await modelOf(warp);
  const restored = await restoredModel(target, rootKeyOf(dataDir).file);
  expect(restored.size).toBe(8);
  for (const [id, events] of restored) expect(events).toEqual((whole.get(id) ?? []).slice(0, events.length));
  await warp.backup(target);
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(whole);
});

test("a target that is backed up into is verified and restored meanwhile, beside appends and deletions", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("alice").append(credited(1));
  await warp.backup(target);
  const schedule = new BackupSchedule({
    target,
    everyMs: 1,
    coveredAt: undefined,
    logger: quiet,
    backup: (to, options) => warp.backup(to, options),
  });
  let isRead = false;
  const writing = (async () => {
    for (let i = 0; !isRead; i++) {
      await warp
        .entity(`customer-${i}`)
        .append({ type: "Credited", data: { cents: i, note: "x".repeat(i) } });
      if (i % 3 === 0)
        expect(await warp.entity(`customer-${i}`).delete()).toMatchObject({ status: "erased" });
    }
  })();
  try {
    for (let read = 0; read < 24; read++) {
      if (read % 8 < 7) {
        await verifyBackup({ target, rootKey });
        continue;
      }
      const to = join(directory, `restored-${read}`);
      const entity = read < 16 ? "alice" : undefined;
      expect((await restoreBackup({ target, to, rootKey, entity })).entities).toBeGreaterThan(0);
      expect([...checkDirectory({ dataDir: to, rootKey })]).toEqual([]);
    }
  } finally {
    isRead = true;
    await writing;
  }
  await schedule.stop();
  expect(schedule.failures).toBe(0);
});

test("a target that is emptied under a running engine is filled again from the beginning", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1));
  await warp.backup(target);
  rmSync(target, { recursive: true });
  await warp.entity("bob").append(credited(2));
  await warp.backup(target);
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(await modelOf(warp));
});

test("an older copy that is put back under a running engine is completed, without a hole", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const warp = await openSmall(dataDir);
  const append = async (name: string) => {
    for (let i = 0; i < 6; i++) await warp.entity(`${name}-${i}`).append(credited(i));
    await settled(warp);
  };
  await append("customer");
  await warp.backup(target);
  const older = copyOf(target);
  await append("guest");
  for (const name of ["customer-1", "customer-2", "customer-3"]) await warp.entity(name).delete();
  await warp.entity("guest-1").hold({ reason: "a lawsuit" });
  await warp.backup(target);
  rmSync(target, { recursive: true });
  cpSync(older, target, { recursive: true });
  await append("visitor");
  await warp.backup(target);
  const verified = await verifyBackup({ target, rootKey: rootKeyOf(dataDir) });
  expect(verified).toMatchObject({ entities: 15, erased: 3 });
  expect(await restoredModel(target, rootKeyOf(dataDir).file)).toEqual(await modelOf(warp));
});

test("a shard is made durable up to a point while its WALs are there, and when they are gone", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("alice").append(credited(1));
  await settled(warp);
  const source = new ShardSource(join(dataDir, "shards", "000"), 0);
  try {
    const { point } = source.point(0);
    expect(point.position).toBeGreaterThan(0);
    const { directory: shard } = source;
    const [names, runs] = [join(shard, "names.db-wal"), join(shard, "runs.db-wal")];
    expect(source.sync({ hasNewNames: true })).toEqual([names, shard, runs, shard]);
    // The directory has the names of both, and no name of an entity is new.
    expect(source.sync({ hasNewNames: true })).toEqual([names, runs]);
    expect(source.sync({ hasNewNames: false })).toEqual([runs]);
    await warp.close();
    // The last connection removes the WALs of the writer: then there is nothing to be synced.
    const remaining = [names, runs].filter((wal) => existsSync(wal));
    expect(source.sync({ hasNewNames: true })).toEqual(remaining);
    expect(source.point(0).point).toEqual(point);
  } finally {
    source.close();
  }
});

test("delivery windows belong to a point: those that are used later are of a later one", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const warp = await openSmall(dataDir, { shards: 1 });
  const sessionStart = Date.now();
  const deliver = async (sessionNumber: number, counter: number) => {
    const delivery = { sessionStart, sessionNumber, counter };
    await warp.entity("alice").append(credited(1), { delivery });
    await settled(warp);
  };
  await deliver(1, 1);
  await deliver(2, 1);
  const source = new ShardSource(join(dataDir, "shards", "000"), 0);
  try {
    const { point, deliveries } = source.point(0);
    const used = deliveries.map((row) => row[2]);
    expect(used.length).toBe(2);
    expect(point.deliveriesAt).toBe(Math.max(...used.map(Number)));
    await Bun.sleep(2);
    await deliver(1, 2);
    const later = source.point(point.deliveriesAt + 1);
    expect(later.deliveries.map((row) => row[1])).toEqual([1]);
  } finally {
    source.close();
  }
});

test("before its first backup a process counts the age from the newest of an earlier one", async () => {
  let finish: (() => void) | undefined;
  const schedule = new BackupSchedule({
    target: "anywhere",
    everyMs: 1,
    coveredAt: Date.now() - 60_000,
    logger: quiet,
    backup: async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      throw new WarpError("DISK_FULL", "no space");
    },
  });
  expect(schedule.ageMs).toBeGreaterThanOrEqual(60_000);
  expect(schedule.ageMs).toBeLessThan(70_000);
  await until(() => finish !== undefined);
  const stopped = schedule.stop();
  finish?.();
  await stopped;
});

test("a server's backups that fail are told once, counted, and tried again", async () => {
  const errors: string[] = [];
  const infos: string[] = [];
  let isBroken = true;
  const schedule = new BackupSchedule({
    target: "anywhere",
    everyMs: 1,
    coveredAt: undefined,
    logger: { ...quiet, error: (message) => errors.push(message), info: (message) => infos.push(message) },
    backup: async (target) => {
      if (isBroken) throw new WarpError("DISK_FULL", "no space");
      return {
        ...{ target, startedAt: Date.now(), elapsedMs: 1, shards: 1, segments: 1, rows: 1, bytes: 10 },
        ...{ keyObjects: 0, positions: [1] },
      };
    },
  });
  await until(() => schedule.failures >= 3);
  expect(errors).toEqual(["the backup failed; it is tried again"]);
  isBroken = false;
  await until(() => schedule.backups >= 3);
  await schedule.stop();
  expect(infos).toEqual(["backed up"]);
  expect(schedule.bytes).toBe(schedule.backups * 10);
});

test("the targets of a directory are remembered, also by the next process", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const [one, other] = [join(directory, "one"), join(directory, "other")];
  let warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1));
  expect(warp.backupTargets).toEqual([]);
  const { startedAt } = await warp.backup(one);
  await warp.backup(other, { everyMs: 10_000 });
  for (let life = 0; life < 2; life++) {
    expect(warp.backupTargets).toMatchObject([
      { target: one, backedUpAt: startedAt },
      { target: other, everyMs: 10_000 },
    ]);
    await warp.close();
    warp = await openSmall(dataDir);
  }
});
