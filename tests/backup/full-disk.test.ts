/**
 * Disks without space: under the target of a backup, and under the directory that a restore makes. Needs to mount a tmpfs.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { restoreBackup, verifyBackup, type Warp, WarpError } from "../../src/index.ts";
import { cleanUp, openSmall } from "../engine/sample.ts";
import { freshDirectory, modelOf, removeDirectories, restoredModel, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

/** What does not compress, to ten entities. */
async function append(warp: Warp, bytes: number): Promise<void> {
  for (let i = 0; i < 10; i++) {
    const note = Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("base64");
    await warp.entity(`customer-${i}`).append({ type: "Credited", data: { cents: 1, note } });
  }
}

function mount(...options: string[]): string | undefined {
  const run = Bun.spawnSync(["mount", ...options]);
  return run.exitCode === 0 ? undefined : run.stderr.toString().trim() || "mount failed";
}

/** A target without space, then with more. */
async function fillTarget(disk: string): Promise<void> {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const rootKey = rootKeyOf(dataDir);
  const target = join(disk, "target");
  const warp = await openSmall(dataDir);
  await append(warp, 1000);
  await warp.backup(target);
  const before = await modelOf(warp);
  await append(warp, 60_000);
  const failure = await warp.backup(target).then(
    () => "it fitted",
    (thrown: unknown) => thrown,
  );
  expect(failure).toBeInstanceOf(WarpError);
  // Whichever of the two shards is first to find no space, with its segment or with the head that follows it.
  const object = expect.stringMatching(/shard-00\d\/(segments\/|head)/);
  expect(failure).toMatchObject({ code: "DISK_FULL", message: object, details: { object } });
  // The engine goes on, and the backup from before is whole.
  await append(warp, 10);
  const verified = await verifyBackup({ target, rootKey });
  expect(verified.entities).toBe(before.size);
  expect(mount("-o", "remount,size=64m", disk)).toBeUndefined();
  await warp.backup(target);
  expect(await restoredModel(target, rootKey.file)).toEqual(await modelOf(warp));
}

/** A new directory without space, then with more. */
async function fillDirectory(disk: string): Promise<void> {
  await restoreInto(disk, join(disk, "restored"));
}

/** The same where the disk itself is to be the directory, and has what some file systems put there. */
async function fillMountPoint(disk: string): Promise<void> {
  mkdirSync(join(disk, "lost+found"));
  await restoreInto(disk, disk);
}

async function restoreInto(disk: string, to: string): Promise<void> {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const rootKey = rootKeyOf(dataDir);
  const target = join(directory, "target");
  const warp = await openSmall(dataDir);
  await append(warp, 60_000);
  await warp.backup(target);
  const [inDisk, besideDisk] = [readdirSync(disk), readdirSync(dirname(disk))];
  const failure = await restoreBackup({ target, to, rootKey }).catch((thrown: unknown) => thrown);
  expect(failure).toBeInstanceOf(WarpError);
  const shard = expect.stringMatching(/disk\/.*restoring-\w+\/shards\/00\d/);
  expect(failure).toMatchObject({ code: "DISK_FULL", message: shard, details: { file: shard } });
  expect(readdirSync(disk)).toEqual(inDisk);
  expect(mount("-o", "remount,size=64m", disk)).toBeUndefined();
  await restoreBackup({ target, to, rootKey });
  expect(readdirSync(to).filter((name) => name.startsWith("."))).toEqual([]);
  expect(readdirSync(dirname(disk))).toEqual(besideDisk);
  const restored = await openSmall(to, { rootKey });
  expect(await modelOf(restored)).toEqual(await modelOf(warp));
  await restored.close();
}

for (const [name, use] of [
  ["a target without space fails the backup, not the engine; with more space it goes on", fillTarget],
  ["a restore without space names the shard and leaves nothing; with more space it succeeds", fillDirectory],
  [
    "a restore into the place where a disk is mounted stays on that disk, and leaves nothing there when it fails",
    fillMountPoint,
  ],
] as const) {
  const home = mkdtempSync(join(tmpdir(), "warp-backup-full-"));
  const disk = join(home, "disk");
  mkdirSync(disk);
  const reason = mount("-t", "tmpfs", "-o", "size=512k", "none", disk);
  test(reason === undefined ? name : `DID NOT RUN (${reason}): ${name}`, async () => {
    try {
      if (reason === undefined) await use(disk);
      else console.warn(`\nA DISK WITHOUT SPACE WAS NOT TESTED: ${reason}\n`);
    } finally {
      await cleanUp();
      if (reason === undefined) Bun.spawnSync(["umount", disk]);
      rmSync(home, { recursive: true });
    }
  });
}
