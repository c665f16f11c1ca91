import { expect, test } from "bun:test";
import { Folding } from "../../src/actor/folding.ts";
import { Reading } from "../../src/actor/storage/reading.ts";
import { Settling } from "../../src/actor/storage/settling.ts";
import { FoldPlan } from "../../src/aggregate/fold.ts";
import type { WarpError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { Tail } from "../../src/journal/tail.ts";

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
