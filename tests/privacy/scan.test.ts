/**
 * Recognisable bytes under an entity: each is found by the scan in every place where it is kept before the deletion, and
 * nowhere after it. kills.ts repeats the second half over random schedules.
 */
import { afterEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { checkDirectory, type Warp } from "../../src/index.ts";
import { cleanUp, collect, freshDirectory, openSmall, settled } from "../engine/sample.ts";
import { remainsOf } from "./remains.ts";
import { readableInTarget } from "./target-traces.ts";
import { type Readable, readable, tracesIn } from "./traces.ts";

afterEach(cleanUp);

const application = join(import.meta.dir, "application.ts");
const texts = {
  id: "zanzibar-id",
  event: "zanzibar-event",
  /** The aggregate writes it in capitals, so it is in states alone. */
  state: "ZANZIBAR-EVENT",
  key: "zanzibar-key",
  hold: "zanzibar-hold",
};

/** Where each of the texts stands, in words of the scan. */
const placesInDirectory: readonly (readonly [keyof typeof texts, readonly RegExp[]])[] = [
  ["id", [/names\.db/, /the journal, decrypted/, /projections\/notes/]],
  ["event", [/a run of shard/, /the journal, decrypted/, /projections\/notes/]],
  ["state", [/a snapshot of shard/]],
  ["key", [/the journal, decrypted/]],
  ["hold", [/a hold of shard/]],
];
const placesInTarget: typeof placesInDirectory = [
  ["id", [/an id of the backup/]],
  ["event", [/a run of the backup/]],
  ["state", [/a snapshot of the backup/]],
  ["hold", [/a hold of the backup/]],
];

function expectFound(all: readonly Readable[], places: typeof placesInDirectory): void {
  for (const [name, wheres] of places) {
    const traces = tracesIn(all, [texts[name]]);
    for (const where of wheres)
      expect([name, traces]).toEqual([name, expect.arrayContaining([expect.stringMatching(where)])]);
  }
}

const remembered = (text: string) => ({ type: "Remembered", data: { text } });

/** The projection has everything. */
async function caughtUp(warp: Warp): Promise<void> {
  const after = Array.from({ length: warp.shards }, (_, shard) => ({
    shard,
    position: warp.feed.committed(shard),
  }));
  await warp.query("SELECT count(*) FROM note", [], { after, timeoutMs: 240_000 });
}

test("what was written under an entity is found before its deletion wherever it is kept, and nowhere after it", async () => {
  const dataDir = freshDirectory();
  const target = join(dataDir, "../target");
  const warp = await openSmall(dataDir, { aggregates: undefined, application });
  const her = warp.entity(texts.id);
  const bob = warp.entity("bob");
  for (let i = 0; i < 8; i++) {
    await her.append(remembered(texts.event), { key: `${texts.key}-${i}` });
    await bob.append(remembered(`what bob remembers ${i}`), { key: `bob-${i}` });
  }
  await settled(warp);
  await her.hold({ reason: texts.hold });
  await caughtUp(warp);
  expectFound([...readable(dataDir)], placesInDirectory);
  await warp.backup(target);
  expectFound(await readableInTarget(target, dataDir), placesInTarget);
  // Nothing in a backup is plaintext; what was found there was found with its keys.
  const isRaw = ({ where }: Readable) => where.startsWith("the backup, ");
  const all = Object.values(texts);
  expect(tracesIn((await readableInTarget(target, dataDir)).filter(isRaw), all)).toEqual([]);
  const before = await collect(bob.storedEvents());

  await her.releaseHold();
  await her.append(remembered(texts.event), { key: `${texts.key}-last` });
  expect(await her.delete({ reason: "art-17" })).toMatchObject({ status: "erased", pending: [] });
  expect(tracesIn(readable(dataDir), all)).toEqual([]);
  // A backup has what it has until the next one, as the documents say.
  expectFound(await readableInTarget(target, dataDir), placesInTarget);
  await warp.backup(target);
  expect(tracesIn(await readableInTarget(target, dataDir), all)).toEqual([]);

  expect(await collect(bob.storedEvents())).toEqual(before);
  expect((await warp.query("SELECT owner, count(*) FROM note GROUP BY owner")).rows).toEqual([["bob", 8]]);
  await warp.close();
  expect([...checkDirectory({ dataDir }), ...remainsOf(dataDir)]).toEqual([]);
  rmSync(target, { recursive: true });
});
