/**
 * Processes killed in the middle of a backup and of a restore. SEED repeats a run, up to the moment of the kills.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkDirectory, verifyBackup, type Warp, WarpError } from "../../src/index.ts";
import { cleanUp, openSmall, seededRandom } from "../engine/sample.ts";
import type { CrashOrder } from "./crash-child.ts";
import {
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
  const folder = join(freshDirectory(), "to");
  mkdirSync(folder);
  for (let kill = 0; kill < kills; kill++) {
    await killed({ ...order, role: "restore", to: join(folder, `kill-${kill}`) }, random() * 150);
  }
  const names = readdirSync(folder);
  expect(names.some((name) => name.includes(".restoring-"))).toBe(true);
  for (const name of names) {
    const dataDir = join(folder, name);
    const settings = { rootKey: { file: order.rootKeyFile }, create: false };
    if (!name.startsWith("."))
      expect([...checkDirectory({ dataDir, rootKey: settings.rootKey })]).toEqual([]);
    const opened = await openSmall(dataDir, settings).catch((thrown: unknown) => thrown);
    // Killed right before its last step, a directory is whole and lacks only its name.
    if (name.startsWith(".") && opened instanceof WarpError) {
      expect([name, opened.code]).toEqual([name, expect.stringMatching(/^(INVALID_ARGUMENT|CORRUPT)$/)]);
      continue;
    }
    if (opened instanceof Error) throw opened;
    const warp = opened as Warp;
    expect(await modelOf(warp)).toEqual(whole);
    await warp.close();
  }
});
