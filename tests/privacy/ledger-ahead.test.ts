/**
 * A ledger that knows more than everything else: older files beside the newest ledger, or a journal that a power failure
 * took under durability "os". What it has is erased, followers are told, and no position is given out twice.
 */
import { afterEach, expect, test } from "bun:test";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { checkDirectory, type Settings, type Warp } from "../../src/index.ts";
import { cleanUp, codeOf, collect, freshDirectory, openSmall } from "../engine/sample.ts";
import { remainsOf } from "./remains.ts";
import { tracesOf } from "./traces.ts";

afterEach(cleanUp);

const settings: Partial<Settings> = {
  aggregates: undefined,
  application: join(import.meta.dir, "application.ts"),
  shards: 1,
};

const earned = (op: string) => ({ type: "Earned", data: { op, part: 0, i: 0, of: 1, cents: 5, pad: "" } });

async function owners(warp: Warp): Promise<unknown[]> {
  const after = [{ shard: 0, position: warp.feed.committed(0) }];
  const options = { after, timeoutMs: 240_000 };
  return (await warp.query("SELECT DISTINCT owner FROM mark ORDER BY owner", [], options)).rows.flat();
}

test.each([
  ["older files, with everything that follows them", true],
  ["older files without their projections", false],
])("beside %s", async (_, hasProjections) => {
  const dataDir = freshDirectory();
  const older = freshDirectory();
  const warp = await openSmall(dataDir, settings);
  for (const id of ["alice", "bob", "carol"]) await warp.entity(id).append(earned(`by-${id}`));
  expect(await owners(warp)).toEqual(["alice", "bob", "carol"]);
  await warp.close();
  cpSync(dataDir, older, { recursive: true });
  if (!hasProjections) rmSync(join(older, "projections"), { recursive: true });

  const newer = await openSmall(dataDir, settings);
  for (let i = 0; i < 20; i++) await newer.entity("bob").append(earned(`lost-${i}`));
  for (const id of ["alice", "carol"])
    expect(await newer.entity(id).delete()).toMatchObject({ status: "erased" });
  const positions = (await collect(newer.erasures())).map(({ position }) => position);
  await newer.close();
  cpSync(join(dataDir, "shards/000/ledger"), join(older, "shards/000/ledger"));

  const rolledBack = await openSmall(older, settings);
  await rolledBack.whenTidy();
  expect(await owners(rolledBack)).toEqual(["bob"]);
  for (const id of ["alice", "carol"]) expect(await codeOf(rolledBack.entity(id).read())).toBe("ERASED");
  expect((await collect(rolledBack.erasures())).map(({ isComplete }) => isComplete)).toEqual([true, true]);
  const { position } = (await rolledBack.entity("bob").append(earned("next"))) as { position: number };
  expect(position).toBeGreaterThan(Math.max(...positions));
  expect(await rolledBack.entity("bob").seq()).toBe(2);
  expect(tracesOf(older, ["alice", "carol"])).toEqual([]);
  await rolledBack.close();
  expect([...checkDirectory({ dataDir: older }), ...remainsOf(older)]).toEqual([]);

  const again = await openSmall(older, settings);
  expect(await again.entity("bob").seq()).toBe(2);
  expect(await again.entity("alice").append(earned("anew"), { expect: "none" })).toMatchObject({
    ok: true,
    seq: 1,
    position: position + 1,
  });
  await again.close();
  expect([...checkDirectory({ dataDir: older })]).toEqual([]);
});

test("beside older files whose process was killed: what the journal still has counts too", async () => {
  const dataDir = freshDirectory();
  const older = freshDirectory();
  const unsettled: Partial<Settings> = { ...settings, settle: { delayMs: 3_600_000 } };
  const warp = await openSmall(dataDir, unsettled);
  for (const id of ["alice", "bob"]) await warp.entity(id).append(earned(`by-${id}`));
  // As a killed process leaves them: nothing is settled.
  cpSync(dataDir, older, { recursive: true, filter: (path) => !path.includes("lock.db") });
  await warp.entity("bob").append(earned("lost"));
  expect(await warp.entity("alice").delete()).toMatchObject({ status: "erased" });
  await warp.close();
  expect(readdirSync(join(older, "journal")).length).toBeGreaterThan(1);
  cpSync(join(dataDir, "shards/000/ledger"), join(older, "shards/000/ledger"));

  const rolledBack = await openSmall(older, settings);
  await rolledBack.whenTidy();
  expect(await codeOf(rolledBack.entity("alice").read())).toBe("ERASED");
  expect(await rolledBack.entity("bob").seq()).toBe(1);
  expect(await owners(rolledBack)).toEqual(["bob"]);
  await rolledBack.close();
  expect([...checkDirectory({ dataDir: older }), ...remainsOf(older)]).toEqual([]);
});
