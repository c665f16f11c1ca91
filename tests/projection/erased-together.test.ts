/**
 * Erasures that are done together, over the real engine: each of them reaches a projection that takes nothing at the time.
 */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../../src/core/logger.ts";
import { start } from "../../src/index.ts";
import { temporaryFolder } from "../e2e/command.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("entities that are erased at once all leave a projection that is paused", async () => {
  const warp = await start({
    dataDir: join(folder, "data"),
    context: "together",
    shards: 1,
    application: join(import.meta.dir, "application.ts"),
    logger: silentLogger,
  });
  const ids = ["alice", "bob", "carol", "dave"];
  let last: Parameters<typeof warp.query>[2] = {};
  for (const id of ids) {
    const after = await warp.entity(id).append({ type: "Paid", data: { cents: 5, day: "monday" } });
    if (!after.ok) throw new Error("a conflict");
    last = { after, timeoutMs: 240_000 };
  }
  const purses = async (options: typeof last = {}) =>
    (await warp.query("SELECT purse FROM total ORDER BY purse", [], options)).rows;
  expect(await purses(last)).toEqual(ids.map((id) => [id]));
  warp.projections.pause("totals");
  const receipts = await Promise.all(ids.slice(0, 3).map((id) => warp.entity(id).delete()));
  expect(receipts.map(({ status }) => status)).toEqual(["erased", "erased", "erased"]);
  expect(await purses()).toEqual([["dave"]]);
  warp.projections.resume("totals");
  await warp.whenTidy();
  expect(await purses()).toEqual([["dave"]]);
  await warp.close();
});
