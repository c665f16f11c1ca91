/**
 * Rotation: what was stored is still read, under a new period, and the old one opens nothing.
 */
import { afterEach, expect, test } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { keysStatus, rotateKeys } from "../../src/cli/verbs/privacy/rotation.ts";
import { openKeyring } from "../../src/core/keyring.ts";
import { checkDirectory } from "../../src/index.ts";
import { account, cleanUp, codeOf, credited, freshDirectory, openSmall } from "../engine/sample.ts";

afterEach(cleanUp);

async function filled(): Promise<string> {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  for (let i = 0; i < 50; i++) await warp.entity(`e-${i}`).append(credited(i), { key: `k-${i}` });
  await warp.entity("e-0").delete();
  await warp.close();
  return dataDir;
}

test("a rotation wraps every key anew and destroys the old period", async () => {
  const dataDir = await filled();
  const before = cpSync(dataDir, `${dataDir}-before`, { recursive: true });
  expect(before).toBeUndefined();
  expect(keysStatus({ dataDir })).toMatchObject([{ period: 1, keys: 49, isCurrent: true }]);
  expect(await rotateKeys({ dataDir })).toEqual({ period: 2, keys: 49 });
  expect(keysStatus({ dataDir })).toMatchObject([{ period: 2, keys: 49, isCurrent: true }]);
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  // What a copy from before holds is not opened by the keyring of today.
  const keyring = openKeyring({ dataDir, context: "banking", create: false });
  expect(keyring.keyOf(1)).toBeUndefined();
  cpSync(join(`${dataDir}-before`, "shards"), join(dataDir, "shards"), { recursive: true });
  const warp = await openSmall(dataDir);
  expect(await codeOf(warp.entity("e-1").read())).toBe("CORRUPT");
});

test("what was stored is read after it, and ids of erased entities are still known", async () => {
  const dataDir = await filled();
  await rotateKeys({ dataDir });
  const warp = await openSmall(dataDir);
  for (let i = 1; i < 50; i++)
    expect(await warp.entity(`e-${i}`).read(account)).toEqual({ cents: i, count: 1 });
  expect(await warp.entity("e-9").append(credited(9), { key: "k-9" })).toMatchObject({ duplicate: true });
  expect(await codeOf(warp.entity("e-0").append(credited(1)))).toBe("ERASED");
  await warp.entity("new").append(credited(1));
  await warp.close();
  expect(keysStatus({ dataDir })).toMatchObject([{ period: 2, keys: 50 }]);
});

test("one that was cut off between two shards leaves a directory that opens, and goes on", async () => {
  const dataDir = await filled();
  const halfway = `${dataDir}-halfway`;
  cpSync(dataDir, halfway, { recursive: true });
  await rotateKeys({ dataDir });
  // The keyring of a rotation that was cut off has both periods; here its first shard is done.
  const { addPeriod } = await import("../../src/core/keyring.ts");
  addPeriod({ dataDir: halfway, context: "banking", create: false });
  expect(JSON.parse(readFileSync(join(halfway, "keyring.json"), "utf8")).periods).toHaveLength(2);
  const warp = await openSmall(halfway);
  expect(await warp.entity("e-5").read(account)).toEqual({ cents: 5, count: 1 });
  await warp.entity("later").append(credited(1));
  await warp.close();
  expect(keysStatus({ dataDir: halfway })).toMatchObject([
    { period: 1, keys: 49, isCurrent: false },
    { period: 2, keys: 1, isCurrent: true },
  ]);
  expect(await rotateKeys({ dataDir: halfway })).toEqual({ period: 3, keys: 50 });
  expect([...checkDirectory({ dataDir: halfway })]).toEqual([]);
});
