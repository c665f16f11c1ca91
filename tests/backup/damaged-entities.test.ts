/**
 * What is damaged of one entity in the data directory is the damage of that entity in a backup as well: its key, or its hold.
 */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  decodeBlocks,
  decodeHeader,
  encodeBlock,
  encodeEnd,
  encodeHeader,
} from "../../src/backup/format/container.ts";
import { type KeysHeader, keysObject } from "../../src/backup/format/objects.ts";
import { BlockDraft, rowsOf, shapeOf, tables } from "../../src/backup/format/tables.ts";
import { BackupSchedule } from "../../src/backup/schedule.ts";
import { checkDirectory, defineAggregate, restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import { slotOffset } from "../../src/shard/files/vault.ts";
import { cleanUp, codeOf, collect, credited, openSmall, settled, until } from "../engine/sample.ts";
import { garble } from "../faults/journal-files.ts";
import { freshDirectory, removeDirectories, rootKeyOf } from "./sample.ts";

afterEach(async () => {
  await cleanUp();
  removeDirectories();
});

interface Place {
  readonly dataDir: string;
  readonly target: string;
  readonly rootKey: { readonly file: string };
  readonly open: () => Promise<Warp>;
}

function place(): Place {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const open = () => openSmall(dataDir, { shards: 1 });
  return { dataDir, target: join(directory, "target"), rootKey: rootKeyOf(dataDir), open };
}

/** Once damages the slot of a number, twice repairs it. */
const garbleSlot = ({ dataDir }: Place, number: number) =>
  garble(join(dataDir, "shards/000/vault"), slotOffset(number) + 20, 1);

/** Leaves zeros in the vault slot of a number, as a lost block does. */
function emptySlot({ dataDir }: Place, number: number): void {
  const path = join(dataDir, "shards/000/vault");
  const vault = readFileSync(path);
  vault.fill(0, slotOffset(number), slotOffset(number + 1));
  writeFileSync(path, vault);
}

/** Takes the key of a number out of the target. */
function loseKey({ target }: Place, number: number): void {
  const object = keysObject(0, number);
  const bytes = readFileSync(join(target, object));
  const { header, end } = decodeHeader<KeysHeader>(bytes, object);
  const draft = new BlockDraft(tables.keys);
  for (const block of decodeBlocks(bytes, end, object, shapeOf))
    for (const row of rowsOf(block)) if (row[0] !== number) draft.add([...row]);
  const blocks = encodeBlock(draft.take());
  writeFileSync(join(target, object), Buffer.concat([encodeHeader(header), ...blocks, encodeEnd(1)]));
}

/** Restores, and opens what came out. */
async function restored({ rootKey }: Place, target: string, time?: number) {
  const to = join(freshDirectory(), "restored");
  const report = await restoreBackup({ target, to, rootKey, at: time });
  const findings = [...checkDirectory({ dataDir: to, rootKey })].map(({ what }) => what);
  return { report, findings, warp: await openSmall(to, { shards: 1, rootKey }) };
}

test("a key that is damaged later stays in a target that has it, and a restore brings the entity back", async () => {
  const at = place();
  const warp = await at.open();
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  await warp.backup(at.target);
  await warp.close();
  garbleSlot(at, 1);
  const damaged = await at.open();
  expect(await codeOf(damaged.entity("alice").seq())).toBe("CORRUPT");
  // A new entity makes the object due.
  await damaged.entity("carol").append(credited(1));
  expect(await damaged.backup(at.target)).toMatchObject({ keyObjects: 1 });
  expect(await verifyBackup({ target: at.target, rootKey: at.rootKey })).toMatchObject({ entities: 3 });
  const { report, findings, warp: again } = await restored(at, at.target);
  expect([report.entities, report.withoutKey, findings]).toEqual([3, 0, []]);
  for (const id of ["alice", "bob", "carol"]) expect([id, await again.entity(id).seq()]).toEqual([id, 1]);
  // Who is erased goes from the target, damaged or not.
  await damaged.entity("alice").delete();
  await damaged.backup(at.target);
  const { report: after } = await restored(at, at.target);
  expect([after.entities, after.erased, after.withoutKey]).toEqual([2, 1, 0]);
});

test("a target that never had the key gets everything else, says so each time, and heals", async () => {
  const at = place();
  const warp = await at.open();
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1), { key: id });
  await warp.entity("alice").hold({ reason: "claim" });
  await warp.close();
  garbleSlot(at, 1);
  const damaged = await at.open();
  const refusal = { code: "CORRUPT", details: { number: 1, offset: slotOffset(1), entities: 1 } };
  for (let backup = 0; backup < 2; backup++) {
    await damaged.entity("bob").append(credited(1));
    expect(await damaged.backup(at.target).catch((error) => error)).toMatchObject(refusal);
    for (const rootKey of [at.rootKey, undefined]) {
      const failure = await verifyBackup({ target: at.target, rootKey }).catch((error) => error);
      expect(failure).toMatchObject({
        code: "CORRUPT",
        message: expect.stringContaining("number 1 was damaged"),
      });
    }
    const { report, findings, warp: again } = await restored(at, at.target);
    expect([report.entities, report.withoutKey, findings]).toEqual([1, 1, []]);
    expect(await again.entity("bob").seq()).toBe(2 + backup);
    expect(await collect(again.entities())).toMatchObject([{ id: "bob" }]);
  }
  await damaged.close();
  garbleSlot(at, 1);
  const repaired = await at.open();
  await repaired.backup(at.target);
  expect(await verifyBackup({ target: at.target, rootKey: at.rootKey })).toMatchObject({ entities: 2 });
  const { report, findings, warp: again } = await restored(at, at.target);
  expect([report.entities, report.withoutKey, findings]).toEqual([2, 0, []]);
  expect(await again.entity("alice").currentHold()).toMatchObject({ reason: "claim" });
});

test("a slot that is empty, and of nobody who was erased, is damaged as well", async () => {
  const at = place();
  const never = { ...at, target: `${at.target}-never` };
  const warp = await at.open();
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  await warp.backup(at.target);
  await warp.close();
  emptySlot(at, 1);
  const damaged = await at.open();
  await damaged.entity("carol").append(credited(1));
  await damaged.backup(at.target);
  expect(await verifyBackup({ target: at.target, rootKey: at.rootKey })).toMatchObject({ entities: 3 });
  const { report, findings, warp: again } = await restored(at, at.target);
  expect([report.entities, report.withoutKey, findings]).toEqual([3, 0, []]);
  expect(await again.entity("alice").seq()).toBe(1);
  // A target that never had it.
  const refusal = { code: "CORRUPT", details: { number: 1, offset: slotOffset(1), entities: 1 } };
  expect(await damaged.backup(never.target).catch((error) => error)).toMatchObject(refusal);
  const without = await restored(at, never.target);
  expect([without.report.entities, without.report.withoutKey, without.findings]).toEqual([2, 1, []]);
  // Who is erased goes.
  await damaged.entity("alice").delete();
  for (const target of [at.target, never.target]) {
    await damaged.backup(target);
    const { report: after } = await restored(at, target);
    expect([after.entities, after.erased, after.withoutKey]).toEqual([2, 1, 0]);
  }
});

test("a rotation destroys the key that a target has, until the next backup: damage between them leaves the entity out", async () => {
  const at = place();
  const warp = await at.open();
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  await warp.backup(at.target);
  await warp.rotateKeys();
  await warp.close();
  garbleSlot(at, 1);
  const damaged = await at.open();
  expect(await codeOf(damaged.backup(at.target))).toBe("CORRUPT");
  const { report, findings } = await restored(at, at.target);
  expect([report.entities, report.withoutKey, findings]).toEqual([1, 1, []]);
});

const briefAccount = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
  retention: { keepLast: 2, beyond: "backup-only" },
});

test("a backup without a damaged key counts as any other: for retention, for receipts, and for its age", async () => {
  const at = place();
  const open = () => openSmall(at.dataDir, { shards: 1, aggregates: [briefAccount] });
  const warp = await open();
  for (let i = 0; i < 5; i++) {
    for (const id of ["alice", "carol", "bob"]) await warp.entity(id).append(credited(1));
    await settled(warp);
  }
  await warp.close();
  garbleSlot(at, 1);
  const damaged = await open();
  const begun = Date.now();
  const told: object[] = [];
  const schedule = new BackupSchedule({
    ...{ target: at.target, everyMs: 3_600_000, coveredAt: begun - 60_000 },
    logger: { info: () => {}, warn: () => {}, error: (_, details = {}) => told.push(details) },
    backup: (to, options) => damaged.backup(to, options),
  });
  await until(() => schedule.failures === 1);
  expect(schedule.ageMs).toBeLessThan(60_000);
  expect(schedule.bytes).toBeGreaterThan(0);
  const [{ backedUpAt } = { backedUpAt: 0 }] = damaged.backupTargets;
  expect(backedUpAt).toBeGreaterThanOrEqual(begun);
  expect(await damaged.retain()).toMatchObject({ entities: 2, events: 6 });
  // The same damage is told once.
  expect(await codeOf(schedule.now())).toBe("CORRUPT");
  expect(told).toMatchObject([{ code: "CORRUPT", details: { number: 1, entities: 1 } }]);
  await schedule.stop();
});

test("other damage is told again, and what else fails hides behind no damaged key", async () => {
  const at = place();
  const open = () => openSmall(at.dataDir, { shards: 2 });
  const warp = await open();
  for (let i = 0; i < 20; i++) await warp.entity(`customer-${i}`).append(credited(1));
  await warp.close();
  for (const number of [1, 2]) garbleSlot(at, number);
  const damaged = await open();
  const told: object[] = [];
  const schedule = new BackupSchedule({
    ...{ target: at.target, everyMs: 3_600_000, coveredAt: undefined },
    logger: { info: () => {}, warn: () => {}, error: (_, details = {}) => told.push(details) },
    backup: (to, options) => damaged.backup(to, options),
  });
  await until(() => schedule.failures === 1);
  // That of number 1 is repaired.
  garbleSlot(at, 1);
  expect(await codeOf(schedule.now())).toBe("CORRUPT");
  const head = join(at.target, "shard-001/head");
  writeFileSync(head, "");
  expect(await codeOf(schedule.now())).toBe("CORRUPT");
  expect(told).toMatchObject([
    { details: { number: 1, entities: 2 } },
    { details: { number: 2, entities: 1 } },
    { details: { object: "shard-001/head" } },
  ]);
  await schedule.stop();
});

test("a target that never had the key of somebody of whom others speak has the others", async () => {
  const at = place();
  const warp = await at.open();
  const personal = { subject: "customer", data: { city: "Ulm" } };
  await warp.entity("order").append({ ...credited(1), personal });
  await warp.close();
  // She was named before the order was.
  garbleSlot(at, 1);
  const damaged = await at.open();
  expect(await codeOf(damaged.backup(at.target))).toBe("CORRUPT");
  const { report, findings, warp: again } = await restored(at, at.target);
  expect([report.entities, report.withoutKey]).toEqual([1, 1]);
  expect(findings).toEqual([]);
  const saysNothing = [{ seq: 1, personal: null, data: { cents: 1 } }];
  expect(await collect(again.entity("order").events())).toMatchObject(saysNothing);
  // The new directory has backups of its own, and there she is named anew.
  const own = join(freshDirectory(), "own");
  await again.entity("order").append({ ...credited(2), personal });
  await again.backup(own);
  expect(await verifyBackup({ target: own, rootKey: at.rootKey })).toMatchObject({ entities: 1 });
  const second = await restored(at, own);
  expect([second.report.entities, second.report.withoutKey, second.findings]).toEqual([1, 0, []]);
  expect(await collect(second.warp.entity("order").events())).toMatchObject([
    ...saysNothing,
    { seq: 2, personal: { city: "Ulm" } },
  ]);
});

test("a key of somebody of whom others speak that is missing without a reason is found by a verification as by a restore", async () => {
  const at = place();
  const warp = await at.open();
  await warp.entity("order").append({ ...credited(1), personal: { subject: "customer", data: {} } });
  await warp.backup(at.target);
  // She was named before the order was.
  loseKey(at, 1);
  const { target, rootKey } = at;
  expect(await codeOf(verifyBackup({ target, rootKey }))).toBe("CORRUPT");
  const to = join(freshDirectory(), "restored");
  expect(await codeOf(restoreBackup({ target, to, rootKey }))).toBe("CORRUPT");
});

test("who is left out is left out of runs that are cut at a time too, and others of the same run are not", async () => {
  const at = place();
  const warp = await at.open();
  const speaking = (subject: string) => ({ ...credited(1), personal: { subject, data: { city: subject } } });
  await warp.entity("order").appendBatch(["ann", "ben", "ann"].map(speaking));
  const time = Date.now();
  await until(() => Date.now() > time);
  await warp.entity("order").append(speaking("ann"));
  await warp.close();
  garbleSlot(at, 1);
  const damaged = await at.open();
  expect(await codeOf(damaged.backup(at.target))).toBe("CORRUPT");
  const { findings, warp: again } = await restored(at, at.target, time);
  expect(findings).toEqual([]);
  expect((await collect(again.entity("order").events())).map((event) => event.personal)).toEqual([
    null,
    { city: "ben" },
    null,
  ]);
});

test("a hold that nobody can read is found by check, and holds in a restored directory too, until it is released", async () => {
  const at = place();
  const warp = await at.open();
  for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1));
  await warp.entity("alice").hold({ reason: "claim" });
  await warp.close();
  const runs = new Database(join(at.dataDir, "shards/000/runs.db"));
  runs.run("UPDATE holds SET data = zeroblob(length(data))");
  runs.close();
  const unreadable = "the hold of number 1: its tag does not match";
  expect([...checkDirectory({ dataDir: at.dataDir })]).toMatchObject([
    { severity: "damage", what: unreadable },
  ]);
  const damaged = await at.open();
  await damaged.backup(at.target);
  expect(await codeOf(verifyBackup({ target: at.target, rootKey: at.rootKey }))).toBe("CORRUPT");
  const { report, findings, warp: again } = await restored(at, at.target);
  expect([report.entities, report.unreadableHolds, findings]).toEqual([2, 1, [unreadable]]);
  for (const one of [damaged, again]) {
    expect(await one.entity("alice").seq()).toBe(1);
    expect(await codeOf(one.entity("alice").delete())).toBe("CORRUPT");
    await one.entity("alice").releaseHold();
    expect(await one.entity("alice").delete()).toMatchObject({ status: "erased" });
  }
});
