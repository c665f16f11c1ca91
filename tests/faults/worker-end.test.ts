import { expect, test } from "bun:test";
import { join } from "node:path";
import { Folding } from "../../src/actor/folding.ts";
import { Reading } from "../../src/actor/storage/reading.ts";
import { Settling } from "../../src/actor/storage/settling.ts";
import { FoldPlan } from "../../src/aggregate/fold.ts";
import type { WarpError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { BackupWorkers } from "../../src/backup/work/workers.ts";
import { Tail } from "../../src/journal/tail.ts";
import { taskOf } from "../backup/one-shard.ts";
import { cleanUp, codeOf, credited, freshDirectory, openSmall } from "../engine/sample.ts";

function endingWorker(): Worker {
  return new Worker(new URL("./ending-worker.ts", import.meta.url));
}

const options = {
  dataDir: "",
  context: "",
  shards: [],
  periods: new SharedArrayBuffer(40),
  durability: "fsync",
  create: false,
  idHashKey: new Uint8Array(32),
  deliveryBytes: 0,
} as const;

test("a reader that ends by itself fails the engine and whoever waits for it", async () => {
  const failures: WarpError[] = [];
  const reading = await Reading.open(endingWorker(), options, (error) => failures.push(error));
  const asked = reading.load(0, "a", []).catch((error: WarpError) => error.code);
  expect(await asked).toBe("ENGINE_FAILED");
  expect(failures.map(({ code }) => code)).toEqual(["ENGINE_FAILED"]);
  await reading.close();
});

test("a shard writer that ends by itself fails the engine", async () => {
  const { promise, resolve } = Promise.withResolvers<WarpError>();
  const tail = new Tail(1 << 20);
  const settling = new Settling({
    worker: endingWorker(),
    writer: 0,
    tail,
    settings: { settleSmallBytes: 1, settleBytes: 1, settleDelayMs: 1 },
    folding: new Folding(new FoldPlan([]), silentLogger),
    onSettled: () => {},
    onCheckpointed: () => {},
    onFilter: () => {},
    onFailed: resolve,
  });
  const opening = settling.open({ type: "open", options, tail: tail.memory });
  const ended = await Promise.race([opening, promise]);
  expect((ended as WarpError).code).toBe("ENGINE_FAILED");
  await settling.close();
});

test("a backup whose Worker ends by itself fails, and the next one has a new Worker", async () => {
  const dataDir = freshDirectory();
  const target = join(dataDir, "..", "target");
  const warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("alice").append(credited(1));
  await warp.close();
  const begun: Worker[] = [];
  const workers = new BackupWorkers(1, () => {
    const real = new URL("../../src/backup/work/backup-worker.ts", import.meta.url);
    const worker = begun.length < 1 ? endingWorker() : new Worker(real);
    begun.push(worker);
    return worker;
  });
  const task = taskOf(dataDir, target);
  const run = (tasks: (typeof task)[]) => workers.run(tasks, "at once", { onBytes: () => {} });
  // What waits for the Worker fails, and what would be asked of it next.
  expect(await codeOf(run([task, { ...task, shard: 1 }]))).toBe("ENGINE_FAILED");
  expect(await run([task])).toMatchObject([{ type: "backup", shard: 0, segments: 1 }]);
  expect(begun.length).toBe(2);
  await workers.close();
  await cleanUp();
});
