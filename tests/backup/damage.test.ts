/**
 * Every kind of damage to a backup: the error names the object, and no directory is left behind.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  decodeBlocks,
  decodeHeader,
  encodeBlock,
  encodeEnd,
  encodeHeader,
} from "../../src/backup/format/container.ts";
import { shapeOf, tables } from "../../src/backup/format/tables.ts";
import { defineAggregate, restoreBackup, verifyBackup, WarpError } from "../../src/index.ts";
import { cleanUp, credited, openSmall, seededRandom, settled } from "../engine/sample.ts";
import { copyOf, filesUnder, freshDirectory, removeDirectories, rootKeyOf } from "./sample.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
let target: string;
let rootKey: { file: string };
const kept: string[] = [];

beforeAll(async () => {
  const directory = freshDirectory();
  kept.push(directory);
  const dataDir = join(directory, "data");
  target = join(directory, "target");
  rootKey = rootKeyOf(dataDir);
  const warp = await openSmall(dataDir);
  for (let backup = 0; backup < 3; backup++) {
    for (let i = 0; i < 30; i++) {
      await warp.entity(`customer-${i % 7}`).append(credited(i), { key: `${backup}-${i}` });
    }
    await warp.backup(target);
  }
  await cleanUp();
});

afterEach(cleanUp);
afterAll(removeDirectories);

interface Failure {
  readonly code: string;
  readonly message: string;
}

/** What verifying and restoring a target fail with; each has to fail, and a restore must leave nothing. */
async function failuresOf(damaged: string): Promise<Failure[]> {
  const to = join(freshDirectory(), "restored");
  const failures = [
    await failureOf(verifyBackup({ target: damaged, rootKey })),
    await failureOf(restoreBackup({ target: damaged, to, rootKey })),
  ];
  expect([failures, readdirSync(dirname(to))]).toEqual([failures, []]);
  return failures;
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  try {
    return { code: "none", message: JSON.stringify(await work) };
  } catch (thrown) {
    if (!(thrown instanceof WarpError)) throw thrown;
    const details = JSON.stringify(thrown.details);
    return { code: thrown.code, message: `${thrown.message} ${details}` };
  }
}

/** How an error may name an object that is missing: a segment's beginning is not known any more. */
function namePattern(object: string): RegExp {
  const segment = /^(.*)\/\d{16}-(\d{16}-[0-9a-f]+)$/.exec(object);
  if (segment === null) return new RegExp(object);
  return new RegExp(`${segment[1]}/(\\d{16}|…)-${segment[2]}`);
}

test("an object that is missing is named", async () => {
  for (const object of filesUnder(target)) {
    const damaged = copyOf(target);
    rmSync(join(damaged, object));
    for (const { code, message } of await failuresOf(damaged)) {
      expect(`${object}: ${code}`).toBe(`${object}: CORRUPT`);
      expect(message).toMatch(namePattern(object));
    }
  }
});

test("an object that is cut off is named", async () => {
  for (const object of filesUnder(target)) {
    const bytes = readFileSync(join(target, object));
    for (const length of [0, Math.floor(bytes.length / 2), bytes.length - 1]) {
      const damaged = copyOf(target);
      writeFileSync(join(damaged, object), bytes.subarray(0, length));
      for (const { code, message } of await failuresOf(damaged)) {
        expect(`${object}: ${code}`).toBe(`${object}: CORRUPT`);
        expect(message).toContain(object);
      }
    }
  }
});

test(`an object with a changed byte is named (SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  for (const object of filesUnder(target)) {
    const bytes = readFileSync(join(target, object));
    for (let flip = 0; flip < 2; flip++) {
      const damaged = copyOf(target);
      const at = Math.floor(random() * bytes.length);
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(join(damaged, object), changed);
      for (const { code, message } of await failuresOf(damaged)) {
        expect([`${object} at ${at}`, code]).toEqual([`${object} at ${at}`, "CORRUPT"]);
        expect(message).toContain(object);
      }
    }
  }
});

test("a segment under another segment's name is found", async () => {
  const segments = filesUnder(target).filter((object) => object.includes("/segments/"));
  const [one, other] = segments.filter((object) => object.startsWith("shard-000"));
  if (one === undefined || other === undefined) throw new Error("the sample has too few segments");
  const damaged = copyOf(target);
  writeFileSync(join(damaged, other), readFileSync(join(target, one)));
  for (const { code, message } of await failuresOf(damaged)) {
    expect(code).toBe("CORRUPT");
    expect(message).toContain(other);
  }
});

test("a backup with a key set that is older than its segments is found", async () => {
  const damaged = copyOf(target);
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const warp = await openSmall(dataDir, { shards: 1 });
  await warp.entity("first").append(credited(1));
  await warp.backup(join(directory, "target"));
  const keys = "shard-000/keys/000001";
  const old = readFileSync(join(directory, "target", keys));
  await warp.entity("second").append(credited(1));
  await warp.backup(join(directory, "target"));
  writeFileSync(join(directory, "target", keys), old);
  await warp.close();
  const failure = await failureOf(
    verifyBackup({ target: join(directory, "target"), rootKey: rootKeyOf(dataDir) }),
  );
  expect(failure.code).toBe("CORRUPT");
  expect(failure.message).toContain(keys);
  // Of another directory altogether.
  writeFileSync(join(damaged, keys), old);
  for (const { code, message } of await failuresOf(damaged)) {
    expect(code).toBe("CORRUPT");
    expect(message).toContain(keys);
  }
});

test("a history that begins with a gap needs what stands in its place", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const to = join(directory, "target");
  const kept = defineAggregate({
    name: "account",
    initialState: { count: 0 },
    evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
    retention: { keepLast: 2, beyond: "drop" },
  });
  const warp = await openSmall(dataDir, { shards: 1, aggregates: [kept] });
  for (let backup = 0; backup < 2; backup++) {
    for (let i = 0; i < 4; i++) {
      await warp.entity("alice").append(credited(i));
      await settled(warp);
    }
    if (backup > 0) expect(await warp.retain()).toMatchObject({ events: 6 });
    await warp.backup(to);
  }
  await warp.close();
  expect(await verifyBackup({ target: to, rootKey: rootKeyOf(dataDir) })).toMatchObject({ entities: 1 });
  const object = filesUnder(to).findLast((file) => file.includes("/segments/")) ?? "";
  const bytes = readFileSync(join(to, object));
  const { header, end } = decodeHeader(bytes, object);
  const blocks = [...decodeBlocks(bytes, end, object, shapeOf)];
  const others = blocks.filter(({ kind }) => kind !== tables.bases.kind);
  expect(others.length).toBe(blocks.length - 1);
  const without = [encodeHeader(header as object), ...others.flatMap(encodeBlock), encodeEnd(others.length)];
  writeFileSync(join(to, object), Buffer.concat(without));
  for (const work of [
    () => verifyBackup({ target: to, rootKey: rootKeyOf(dataDir) }),
    () => verifyBackup({ target: to }),
    () => restoreBackup({ target: to, to: join(directory, "restored"), rootKey: rootKeyOf(dataDir) }),
  ]) {
    const message = expect.stringContaining("the events before 7 were dropped");
    expect(await failureOf(work())).toMatchObject({ code: "EVENTS_DROPPED", message });
  }
});

test("the root key of another context does not open a backup, and the error says so", async () => {
  const file = join(freshDirectory(), "other.key");
  writeFileSync(file, Buffer.alloc(32, 7).toString("base64"));
  const to = join(freshDirectory(), "restored");
  const wrong = { rootKey: { file } };
  for (const work of [
    () => verifyBackup({ target, ...wrong }),
    () => restoreBackup({ target, to, ...wrong }),
  ]) {
    expect(await failureOf(work())).toMatchObject({
      code: "ROOT_KEY_WRONG",
      message: expect.stringContaining("warp-backup"),
    });
  }
  expect(existsSync(to)).toBe(false);
});

test("what is no backup, and a directory that exists, are refused", async () => {
  const to = join(freshDirectory(), "restored");
  expect(await failureOf(restoreBackup({ target: join(to, "none"), to, rootKey }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  await restoreBackup({ target, to, rootKey });
  expect(await failureOf(restoreBackup({ target, to, rootKey }))).toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("a target that holds the backup of something else is refused, and stays as it is", async () => {
  const to = join(freshDirectory(), "restored");
  await restoreBackup({ target, to, rootKey });
  const before = filesUnder(target);
  const restored = await openSmall(to, { rootKey });
  expect(await failureOf(restored.backup(target))).toMatchObject({ code: "CONFIG_MISMATCH" });
  const other = await openSmall(join(freshDirectory(), "data"), { context: "shipping" });
  expect(await failureOf(other.backup(target))).toMatchObject({ code: "CONFIG_MISMATCH" });
  expect(filesUnder(target)).toEqual(before);
});
