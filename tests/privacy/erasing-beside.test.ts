/**
 * What an erasure costs those who write meanwhile, and those who erase others.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { cleanUp, codeOf, credited, freshDirectory, openSmall } from "../engine/sample.ts";

afterEach(cleanUp);

/** Somebody who reads an older state of the first shard, so that its checkpoint is tried again and again. */
function readerOf(dataDir: string): Database {
  const reader = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM runs").get();
  return reader;
}

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
  const reader = readerOf(dataDir);
  const erasing = alice.delete({ waitMs: 1000 });
  let isErased = false;
  const noted = erasing.then(() => {
    isErased = true;
  });
  // So few that they fit into one row, whatever the disk does in that time.
  for (let made = 0; !isErased || made < 200; ) {
    if (made === 2000) await Bun.sleep(1);
    else if ((await bob.append(credited(1))).ok) made++;
  }
  await noted;
  expect((await erasing).pending).toContain("the journal's segments");
  reader.close();
  expect(await alice.delete()).toMatchObject({ status: "erased" });
  await warp.close();
  const runs = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  const rows = runs.query<{ n: number }, []>("SELECT count(*) AS n FROM runs").get();
  runs.close();
  // One with what was there before the erasure, one with what came behind it.
  expect(rows?.n).toBeLessThanOrEqual(3);
});

test("an erasure is answered in its time, and the entity is gone, while an earlier one waits for the journal", async () => {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { shards: 1 });
  const [alice, bob, carol] = [warp.entity("alice"), warp.entity("bob"), warp.entity("carol")];
  for (const entity of [alice, bob, carol]) await entity.append(credited(1));
  const reader = readerOf(dataDir);
  for (const entity of [alice, bob, carol]) {
    const receipt = await entity.delete({ waitMs: 200 });
    expect(receipt).toMatchObject({ status: "pending", removed: { events: 1 } });
    expect(receipt.pending).toContain("the journal's segments");
    expect(await codeOf(entity.read())).toBe("ERASED");
  }
  reader.close();
  const receipts = await Promise.all([alice, bob, carol].map((entity) => entity.delete()));
  expect(receipts.map(({ status }) => status)).toEqual(["erased", "erased", "erased"]);
});

test("a wait that is none is refused", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  await alice.append(credited(1));
  for (const waitMs of [-1, Number.NaN, 3_000_001, Number.POSITIVE_INFINITY])
    expect(await codeOf(alice.delete({ waitMs }))).toBe("INVALID_ARGUMENT");
  expect(await alice.seq()).toBe(1);
});
