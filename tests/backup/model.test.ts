/**
 * Backups against a model: random appends, backups in between, and after each of them a restore that must hold exactly
 * what the context held. SEED repeats a run.
 */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import { cleanUp, openSmall, seededRandom } from "../engine/sample.ts";
import {
  freshDirectory,
  type Model,
  modelOf,
  removeDirectories,
  restoredModel,
  rootKeyOf,
} from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

test(`what is restored is what was backed up, backup after backup (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const target = join(directory, "target");
  const rootKey = rootKeyOf(dataDir);
  let warp = await openSmall(dataDir);
  const moments: { at: number; model: Model }[] = [];
  for (let round = 0; round < 6; round++) {
    await appendAtRandom(warp, random, 1 + Math.floor(random() * 120));
    if (random() < 0.3) {
      await warp.close();
      warp = await openSmall(dataDir);
    }
    const report = await warp.backup(target);
    expect(report.positions.reduce((sum, position) => sum + position, 0)).toBeGreaterThan(0);
    const model = await modelOf(warp);
    expect(await restoredModel(target, rootKey.file)).toEqual(model);
    moments.push({ at: newestIn(model), model });
    await Bun.sleep(2);
  }
  const verified = await verifyBackup({ target, rootKey });
  expect(verified).toMatchObject({ decrypted: true, shards: 2, entities: (await modelOf(warp)).size });
  for (const { at, model } of moments)
    expect(await restoredModel(target, rootKey.file, { at })).toEqual(model);
  const [id, events] = [...(moments.at(-1)?.model ?? [])][0] ?? ["", []];
  expect(await restoredModel(target, rootKey.file, { entity: id })).toEqual(new Map([[id, events]]));
});

test("verifying and restoring tell how far they are, from nothing to all of it", async () => {
  const directory = freshDirectory();
  const target = join(directory, "target");
  const rootKey = rootKeyOf(join(directory, "data"));
  const warp = await openSmall(join(directory, "data"));
  await appendAtRandom(warp, seededRandom(seed), 300);
  const { bytes } = await warp.backup(target);
  const told: { done: number; total: number }[] = [];
  const onProgress = (progress: { done: number; total: number }) => told.push(progress);
  for (const work of [
    () => verifyBackup({ target, rootKey, onProgress }),
    () => restoreBackup({ target, to: join(directory, "restored"), rootKey, onProgress }),
  ]) {
    told.length = 0;
    await work();
    expect([told.at(0), told.at(-1)]).toEqual([
      { done: 0, total: bytes },
      { done: bytes, total: bytes },
    ]);
    expect(told.length).toBeGreaterThan(2);
    expect(told.map(({ done }) => done)).toEqual(told.map(({ done }) => done).sort((a, b) => a - b));
  }
});

/** The newest `recordedAt` of a model. */
function newestIn(model: Model): number {
  return Math.max(...[...model.values()].flat().map(({ recordedAt }) => recordedAt));
}

async function appendAtRandom(warp: Warp, random: () => number, appends: number): Promise<void> {
  const pending: Promise<unknown>[] = [];
  for (let i = 0; i < appends; i++) {
    const id = `customer-${Math.floor(random() * 40)}`;
    const count = 1 + Math.floor(random() * 5);
    const events = Array.from({ length: count }, () => ({
      type: "Credited",
      data: { cents: Math.floor(random() * 1e6) },
    }));
    const key = random() < 0.2 ? { key: `key-${random()}` } : {};
    pending.push(warp.entity(id).appendBatch(events, key));
    if (random() < 0.1) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
}
