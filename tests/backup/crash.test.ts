/**
 * Processes killed in the middle of a backup and of a restore. SEED repeats a run, up to the moment of the kills.
 */
import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkDirectory, restoreBackup, verifyBackup, type Warp, WarpError } from "../../src/index.ts";
import { cleanUp, codeOf, credited, openSmall, seededRandom, until } from "../engine/sample.ts";
import type { CrashOrder } from "./crash-child.ts";
import {
  filesUnder,
  freshDirectory,
  type Model,
  modelOf,
  removeDirectories,
  restoredModel,
  rootKeyOf,
} from "./sample.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const kills = 6;

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

/** Starts a child, waits until it has begun, a restore with its first directory, and kills it some time later. */
async function killed(order: CrashOrder, afterMs: number): Promise<void> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "crash-child.ts"), JSON.stringify(order)],
    {
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  if (done) throw new Error(await new Response(child.stderr).text());
  const isBegun = () =>
    order.role === "backup" ||
    readdirSync(dirname(order.to)).some((name) => name.includes(basename(order.to)));
  while (child.exitCode === null && !isBegun()) await Bun.sleep(1);
  await Bun.sleep(afterMs);
  expect(child.exitCode).toBe(null);
  child.kill("SIGKILL");
  await child.exited;
}

function orderOf(directory: string): CrashOrder {
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  return {
    role: "backup",
    dataDir,
    target,
    to: join(directory, "to", "restored"),
    isMade: false,
    rootKeyFile: rootKeyOf(dataDir).file,
    seed,
  };
}

/** What was restored is a beginning of what there is, entity by entity. */
function expectBeginning(restored: Model, whole: Model): void {
  for (const [id, events] of restored) expect(events).toEqual((whole.get(id) ?? []).slice(0, events.length));
}

test(`a backup that was killed leaves the one before it, and the next goes on (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const order = orderOf(freshDirectory());
  for (let kill = 0; kill < kills; kill++) {
    await killed({ ...order, seed: seed + kill }, random() ** 2 * 400);
    const warp = await openSmall(order.dataDir);
    const whole = await modelOf(warp);
    const isUnfinished = await hasNoBackup(order.target, order.rootKeyFile);
    if (!isUnfinished) expectBeginning(await restoredModel(order.target, order.rootKeyFile), whole);
    if (random() < 0.5) {
      await warp.backup(order.target);
      expect(await restoredModel(order.target, order.rootKeyFile)).toEqual(whole);
    }
    await warp.close();
  }
});

/** True when the very first backup was interrupted, which is said and not restored. */
async function hasNoBackup(target: string, rootKeyFile: string): Promise<boolean> {
  try {
    await verifyBackup({ target, rootKey: { file: rootKeyFile } });
    return false;
  } catch (thrown) {
    if (!(thrown instanceof WarpError)) throw thrown;
    const isFirst = /first backup of this shard was never finished|there is no warp-backup|head is missing/;
    expect(thrown.message).toMatch(isFirst);
    return true;
  }
}

test(`a restore that was killed leaves no directory that opens but is not whole (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const order = orderOf(freshDirectory());
  await killed(order, 300);
  const warp = await openSmall(order.dataDir);
  await warp.backup(order.target);
  const whole = await modelOf(warp);
  await warp.close();
  for (const isMade of [false, true]) {
    const folder = join(freshDirectory(), "to");
    mkdirSync(folder);
    for (let kill = 0; kill < kills; kill++) {
      const to = join(folder, `kill-${kill}`);
      await killed({ ...order, role: "restore", to, isMade }, random() * 150);
    }
    const names = readdirSync(folder, { recursive: true }).map(String);
    expect(names.some((name) => name.includes(".restoring-"))).toBe(true);
    for (const name of readdirSync(folder)) {
      const dataDir = join(folder, name);
      const hasIdentity = existsSync(join(dataDir, "warp.json"));
      const rootKey = { file: order.rootKeyFile };
      if (!name.startsWith(".") && hasIdentity) expect([...checkDirectory({ dataDir, rootKey })]).toEqual([]);
      const isEmpty = readdirSync(dataDir).length === 0;
      const opened = await openSmall(dataDir, { rootKey, create: !isEmpty }).catch(
        (thrown: unknown) => thrown,
      );
      // Killed right before its last step, a directory is whole and lacks only its name.
      if ((name.startsWith(".") || !hasIdentity) && opened instanceof WarpError) {
        expect([name, opened.code]).toEqual([name, expect.stringMatching(/^(INVALID_ARGUMENT|CORRUPT)$/)]);
        continue;
      }
      if (opened instanceof Error) throw opened;
      const warp = opened as Warp;
      expect(await modelOf(warp)).toEqual(whole);
      await warp.close();
    }
  }
});

test("a directory in which a restore was interrupted is neither opened nor restored into, up to its last step", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1));
  await warp.backup(target);
  const to = join(directory, "restored");
  mkdirSync(to);
  await restoreBackup({ target, to, rootKey });
  const names = readdirSync(to).filter((name) => name !== "warp.json");
  expect(names).toContain("shards");
  // As it was before its files were moved up, one after the other.
  const staged = join(to, ".restoring-abcdef");
  mkdirSync(staged);
  for (const name of ["warp.json", ...names]) {
    renameSync(join(to, name), join(staged, name));
    for (const create of [true, false]) {
      expect(await codeOf(openSmall(to, { rootKey, create }))).toBe("INVALID_ARGUMENT");
    }
    expect(await codeOf(restoreBackup({ target, to, rootKey }))).toBe("INVALID_ARGUMENT");
  }
  for (const name of [...names, "warp.json"]) renameSync(join(staged, name), join(to, name));
  // Only the empty folder was not removed.
  const restored = await openSmall(to, { rootKey, create: false });
  expect(await modelOf(restored)).toEqual(await modelOf(warp));
});

test("a start that is refused while a directory is restored into does not stop the restore", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1));
  await warp.backup(target);
  const to = join(directory, "restored");
  mkdirSync(to);
  const restoring = restoreBackup({ target, to, rootKey });
  await until(() => readdirSync(to).some((name) => name.startsWith(".restoring-")));
  expect(await codeOf(openSmall(to, { rootKey }))).toBe("INVALID_ARGUMENT");
  await restoring;
  const restored = await openSmall(to, { rootKey, create: false });
  expect(await modelOf(restored)).toEqual(await modelOf(warp));
});

test("what a restore has left that was killed is in no later one's way, whatever its process is", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  await warp.entity("alice").append(credited(1));
  await warp.backup(target);
  const folder = join(directory, "to");
  mkdirSync(folder);
  const to = join(folder, "restored");
  await restoreBackup({ target, to, rootKey });
  // In a container each process has the same number.
  const left = `.restored.restoring-${process.pid}`;
  renameSync(to, join(folder, left));
  const before = filesUnder(join(folder, left));
  await restoreBackup({ target, to, rootKey });
  expect(readdirSync(folder).sort()).toEqual([left, "restored"]);
  expect(filesUnder(join(folder, left))).toEqual(before);
});
