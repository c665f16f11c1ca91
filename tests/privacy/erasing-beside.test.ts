/**
 * What an erasure costs those who write meanwhile.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { cleanUp, credited, freshDirectory, openSmall } from "../engine/sample.ts";

afterEach(cleanUp);

test("what is written while an erasure waits for a checkpoint is settled in rounds as large as ever", async () => {
  const dataDir = freshDirectory();
  const settings = {
    shards: 1,
    memory: { tailBytes: 64 << 20 },
    journal: { segmentBytes: 1 << 20, segmentsMax: 64 },
    settle: { delayMs: 60_000 },
  };
  const warp = await openSmall(dataDir, settings);
  const [alice, bob] = [warp.entity("alice"), warp.entity("bob")];
  await alice.append(credited(1));
  await bob.append(credited(1));
  // Somebody reads an older state, so that the checkpoint is tried again and again.
  const reader = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM runs").get();
  const erasing = alice.delete({ waitMs: 1000 });
  let isErased = false;
  const noted = erasing.then(() => {
    isErased = true;
  });
  while (!isErased) await bob.append(credited(1));
  await noted;
  expect((await erasing).pending).toContain("the journal's segments");
  expect(await bob.seq()).toBeGreaterThan(100);
  reader.close();
  expect(await alice.delete()).toMatchObject({ status: "erased" });
  await warp.close();
  const runs = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  const rows = runs.query<{ n: number }, []>("SELECT count(*) AS n FROM runs").get();
  runs.close();
  // One with what was there before the erasure, one with what came behind it.
  expect(rows?.n).toBeLessThanOrEqual(3);
});
