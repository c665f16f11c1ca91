/**
 * Rotation: what was stored is still read, under a new period, and the old one opens nothing; beside callers, beside backups,
 * and when the process ends at any of its steps.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { cpSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openKeyring } from "../../src/core/keyring.ts";
import { decodeHeader } from "../../src/backup/format/container.ts";
import type { KeysHeader } from "../../src/backup/format/objects.ts";
import { rotationChannel, rotationSteps } from "../../src/core/rotation-steps.ts";
import { checkDirectory, restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import {
  account,
  cleanUp,
  codeOf,
  credited,
  freshDirectory,
  openSmall,
  settled,
  until,
} from "../engine/sample.ts";

afterEach(cleanUp);

async function filled(dataDir: string): Promise<Warp> {
  const warp = await openSmall(dataDir);
  for (let i = 0; i < 50; i++) await warp.entity(`e-${i}`).append(credited(i), { key: `k-${i}` });
  await warp.entity("e-0").delete();
  return warp;
}

test("a rotation wraps every key anew and destroys the old period, in an engine that goes on", async () => {
  const dataDir = freshDirectory();
  const warp = await filled(dataDir);
  await warp.close();
  cpSync(dataDir, `${dataDir}-before`, { recursive: true });
  const again = await openSmall(dataDir);
  expect(await again.keysStatus()).toMatchObject([{ period: 1, keys: 49, isCurrent: true }]);
  expect(await again.rotateKeys()).toMatchObject({ period: 2, keys: 49 });
  await again.entity("made-after").append(credited(1));
  for (let i = 1; i < 50; i++) expect(await again.entity(`e-${i}`).seq()).toBe(1);
  await settled(again);
  expect(await again.rotateKeys()).toMatchObject({ period: 3, keys: 50 });
  expect(await again.keysStatus()).toMatchObject([{ period: 3, keys: 50, isCurrent: true }]);
  await again.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  // What a copy from before holds is not opened by the keyring of today.
  const keyring = openKeyring({ dataDir, context: "banking", create: false });
  expect([1, 2].map((period) => keyring.keyOf(period))).toEqual([undefined, undefined]);
  cpSync(join(`${dataDir}-before`, "shards"), join(dataDir, "shards"), { recursive: true });
  const mixed = await openSmall(dataDir);
  expect(await codeOf(mixed.entity("e-1").read())).toBe("CORRUPT");
});

test("what was stored is read after it, and ids of erased entities are still known", async () => {
  const dataDir = freshDirectory();
  const before = await filled(dataDir);
  await before.rotateKeys();
  await before.close();
  const warp = await openSmall(dataDir);
  for (let i = 1; i < 50; i++)
    expect(await warp.entity(`e-${i}`).read(account)).toEqual({ cents: i, count: 1 });
  expect(await warp.entity("e-9").append(credited(9), { key: "k-9" })).toMatchObject({ duplicate: true });
  expect(await codeOf(warp.entity("e-0").append(credited(1)))).toBe("ERASED");
});

test("callers append, read, make and erase entities, and backups are made, while keys are rotated", async () => {
  const dataDir = freshDirectory();
  const target = `${dataDir}-target`;
  const warp = await filled(dataDir);
  const counts = new Map<string, number>();
  let isOver = false;
  const caller = async (name: string) => {
    for (let i = 0; !isOver; i++) {
      // Some are new, some are not in memory, and some go.
      const id = i % 3 === 0 ? `${name}-${i}` : `e-${1 + ((i * 7) % 49)}`;
      expect(await warp.entity(id).append(credited(1))).toMatchObject({ ok: true });
      counts.set(id, (counts.get(id) ?? 0) + 1);
      if (i % 30 !== 0) continue;
      expect(await warp.entity(id).delete()).toMatchObject({ status: "erased" });
      counts.delete(id);
    }
  };
  const callers = ["a", "b", "c"].map(caller);
  const backups = (async () => {
    while (!isOver) await warp.backup(target, { settle: false });
  })();
  for (let rotation = 2; rotation <= 5; rotation++) {
    const appended = counts.size;
    expect(await warp.rotateKeys()).toMatchObject({ period: rotation });
    await until(() => counts.size > appended);
  }
  isOver = true;
  await Promise.all([...callers, backups]);
  await warp.backup(target);
  expect(await warp.keysStatus()).toMatchObject([{ period: 5, isCurrent: true }]);
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  const rootKey = { file: join(dataDir, "root.key") };
  expect(await verifyBackup({ target, rootKey })).toMatchObject({ decrypted: true });
  const to = `${dataDir}-restored`;
  await restoreBackup({ target, to, rootKey });
  for (const where of [dataDir, to]) {
    const opened = await openSmall(where, { rootKey });
    for (const [id, count] of counts) {
      const stored = id.startsWith("e-") ? 1 : 0;
      expect([id, await opened.entity(id).seq()]).toEqual([id, count + stored]);
    }
    await opened.close();
  }
});

test("a backup between a rotation that failed and its repetition keeps no older period for longer than that", async () => {
  const dataDir = freshDirectory();
  const target = `${dataDir}-target`;
  const warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("alice").append(credited(1));
  // The keyring cannot be replaced when the older period is to be destroyed.
  const inTheWay = join(dataDir, "keyring.json.new");
  const onStep = (message: unknown) => {
    if ((message as { step: string }).step === "retired") mkdirSync(inTheWay);
  };
  subscribe(rotationChannel, onStep);
  expect(await codeOf(warp.rotateKeys())).toBe("IO_ERROR");
  unsubscribe(rotationChannel, onStep);
  await warp.backup(target);
  rmdirSync(inTheWay);
  expect(await warp.rotateKeys()).toMatchObject({ period: 2 });
  expect(await warp.backup(target)).toMatchObject({ keyObjects: 1 });
  expect(await warp.backup(target)).toMatchObject({ keyObjects: 0 });
  const object = "shard-000/keys/000001";
  const { header } = decodeHeader<KeysHeader>(readFileSync(join(target, object)), object);
  expect(header.keyring.periods.map(({ number }) => number)).toEqual([2]);
  await verifyBackup({ target, rootKey: { file: join(dataDir, "root.key") } });
});

test("a context closes while a rotation waits for a reader of another process, and the next rotation goes on", async () => {
  const dataDir = freshDirectory();
  const warp = await filled(dataDir);
  await settled(warp);
  const reader = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM runs").get();
  // Its WAL has more than the reader may see copied.
  await Promise.all(Array.from({ length: 20 }, (_, i) => warp.entity(`e-${i + 1}`).append(credited(1))));
  await settled(warp);
  const rewrapped = Promise.withResolvers<void>();
  let shards = 0;
  const onStep = (message: unknown) => {
    if ((message as { step: string }).step === "shard" && ++shards === 2) rewrapped.resolve();
  };
  subscribe(rotationChannel, onStep);
  const rotated = codeOf(warp.rotateKeys());
  await rewrapped.promise;
  unsubscribe(rotationChannel, onStep);
  await warp.close();
  expect(await rotated).toBe("CLOSED");
  reader.close();
  const again = await openSmall(dataDir);
  expect(await again.rotateKeys()).toMatchObject({ keys: 49 });
  expect((await again.keysStatus()).map(({ keys }) => keys)).toEqual([49]);
});

test("a root key that is another one, or gone, refuses a rotation, and nothing has changed", async () => {
  const dataDir = freshDirectory();
  const file = `${dataDir}-root.key`;
  writeFileSync(file, Buffer.alloc(32, 5).toString("base64"));
  const warp = await openSmall(dataDir, { rootKey: { command: `cat ${file}` } });
  await warp.entity("alice").append(credited(1));
  const keyring = readFileSync(join(dataDir, "keyring.json"), "utf8");
  writeFileSync(file, Buffer.alloc(32, 6).toString("base64"));
  expect(await codeOf(warp.rotateKeys())).toBe("ROOT_KEY_WRONG");
  writeFileSync(file, "");
  expect(await codeOf(warp.rotateKeys())).toBe("ROOT_KEY_WRONG");
  const gone = await openSmall(freshDirectory(), { rootKey: { command: `cat ${file}-gone || exit 7` } }).then(
    () => "opened",
    (thrown: { code?: string }) => thrown.code,
  );
  expect(gone).toBe("ROOT_KEY_MISSING");
  expect(readFileSync(join(dataDir, "keyring.json"), "utf8")).toBe(keyring);
  writeFileSync(file, Buffer.alloc(32, 5).toString("base64"));
  expect(await warp.rotateKeys()).toMatchObject({ period: 2 });
  await warp.close();
  expect(await codeOf(warp.rotateKeys())).toBe("CLOSED");
  expect(await warp.keysStatus()).toMatchObject([{ period: 2, keys: 1 }]);
});

/** Appends, and rotates again and again until it dies; tells of every append that was acknowledged. */
const program = `
  import { credited, openSmall } from ${JSON.stringify(join(import.meta.dir, "../engine/sample.ts"))};
  const warp = await openSmall(process.argv[2]);
  let n = 0;
  const caller = async () => {
    for (;;) {
      const id = "e-" + (n++ % 200);
      await warp.entity(id).append(credited(1));
      process.stdout.write(id + "\\n");
    }
  };
  for (let i = 0; i < 8; i++) void caller();
  for (;;) await warp.rotateKeys();
`;

test("a process that ends at any step of a rotation leaves a directory that opens, and the next one goes on", async () => {
  const dataDir = freshDirectory();
  const script = `${dataDir}-rotating.ts`;
  writeFileSync(script, program);
  await (await openSmall(dataDir)).close();
  const acknowledged = new Map<string, number>();
  const dieAtStep = join(import.meta.dir, "die-at-step.ts");
  // The step "shard" is done once a shard; the first "added" comes before anything is stored.
  for (const [step, times] of [
    ...rotationSteps.map((step) => [step, 1] as const),
    ["shard", 2],
    ["added", 2],
  ] as const) {
    const child = Bun.spawn([process.execPath, "--preload", dieAtStep, script, dataDir], {
      env: { ...process.env, WARP_DIE_AT: `${step}:${times}` },
      stdout: "pipe",
      stderr: "inherit",
    });
    const told = await new Response(child.stdout).text();
    await child.exited;
    expect([step, child.signalCode]).toEqual([step, "SIGKILL"]);
    for (const id of told.split("\n").slice(0, -1)) acknowledged.set(id, (acknowledged.get(id) ?? 0) + 1);
    expect([step, ...checkDirectory({ dataDir })]).toEqual([step]);
    const warp = await openSmall(dataDir);
    for (const [id, count] of acknowledged) {
      const seq = await warp.entity(id).seq();
      expect([step, id, seq >= count]).toEqual([step, id, true]);
      acknowledged.set(id, seq);
    }
    const { length } = await warp.keysStatus();
    if (step === "added" || step === "shard" || step === "retired")
      expect([step, length > 1]).toEqual([step, true]);
    await warp.close();
  }
  const warp = await openSmall(dataDir);
  const { period } = await warp.rotateKeys();
  expect(await warp.keysStatus()).toMatchObject([{ period, isCurrent: true }]);
  for (const [id, count] of acknowledged) expect([id, await warp.entity(id).seq()]).toEqual([id, count]);
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});
