/**
 * Who may open a directory, with what, and what is refused of a caller.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Reading } from "../../src/actor/storage/reading.ts";
import { Settling } from "../../src/actor/storage/settling.ts";
import { limits } from "../../src/core/limits.ts";
import type { Appended, Entity, NewEvent, WriteOptions } from "../../src/index.ts";
import { cleanUp, codeOf, credited, freshDirectory, openSmall, smallSettings, until } from "./sample.ts";

afterEach(cleanUp);

async function made(): Promise<string> {
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir);
  await warp.entity("e").append(credited(1));
  await warp.close();
  return dataDir;
}

/** Opens the directory in another process and says how that ended. */
function openElsewhere(dataDir: string, application?: string): string {
  const sample = join(import.meta.dir, "sample.ts");
  const settings =
    application === undefined
      ? "{}"
      : `{ application: ${JSON.stringify(application)}, aggregates: undefined }`;
  const program = `
    import { openSmall, codeOf } from ${JSON.stringify(sample)};
    console.log(await codeOf(openSmall(${JSON.stringify(dataDir)}, ${settings}).then(async (warp) => {
      const seq = await warp.entity("e").seq();
      await warp.close();
      return seq;
    })));`;
  const run = Bun.spawnSync([process.execPath, "-e", program], { stdin: "ignore", timeout: 240_000 });
  const end = run.exitCode === 0 ? "" : ` and status ${run.exitCode}: ${run.stderr.toString()}`;
  return `${run.stdout.toString().trim()}${end}`;
}

describe("a directory", () => {
  test("is open once, in one process", async () => {
    const dataDir = await made();
    const warp = await openSmall(dataDir);
    expect(await codeOf(openSmall(dataDir))).toBe("DIRECTORY_LOCKED");
    expect(openElsewhere(dataDir)).toBe("DIRECTORY_LOCKED");
    expect(await warp.entity("e").append(credited(1))).toMatchObject({ seq: 2 });
    await warp.close();
    expect(openElsewhere(dataDir)).toBe("no error: 2");
    expect(await (await openSmall(dataDir)).entity("e").seq()).toBe(2);
  });

  test("keeps its shards and its context", async () => {
    const dataDir = await made();
    expect(await codeOf(openSmall(dataDir, { shards: 3 }))).toBe("CONFIG_MISMATCH");
    expect(await codeOf(openSmall(dataDir, { context: "other" }))).toBe("CONFIG_MISMATCH");
    const warp = await openSmall(dataDir, { shards: undefined, context: undefined });
    expect([warp.shards, warp.context]).toEqual([2, "banking"]);
  });

  test("opens with its root key only, and a refusal leaves it as it was", async () => {
    const dataDir = await made();
    const path = join(dataDir, "root.key");
    const key = readFileSync(path, "utf8");
    writeFileSync(path, `${Buffer.alloc(32, 9).toString("base64")}\n`);
    expect(await codeOf(openSmall(dataDir))).toBe("ROOT_KEY_WRONG");
    expect(await codeOf(openSmall(dataDir, { rootKey: { file: "none" } }))).toBe("ROOT_KEY_MISSING");
    writeFileSync(path, key);
    expect(await (await openSmall(dataDir)).entity("e").seq()).toBe(1);
  });

  test("of which the first start had no root key is made by the next, as that one says", async () => {
    const dataDir = freshDirectory();
    const without = { rootKey: { file: "none" }, shards: 5, context: "first" };
    expect(await codeOf(openSmall(dataDir, without))).toBe("ROOT_KEY_MISSING");
    // Who does not make directories does not make this one anew either.
    expect(await codeOf(openSmall(dataDir, { shards: 3, create: false }))).toBe("CONFIG_MISMATCH");
    const warp = await openSmall(dataDir, { shards: 3, context: "second" });
    expect([warp.shards, warp.context]).toEqual([3, "second"]);
    await warp.entity("e").append(credited(1));
    await warp.close();
    expect(await codeOf(openSmall(dataDir, without))).toBe("CONFIG_MISMATCH");
  });

  test("is let go, with all threads, by a start that fails when much of it is running", async () => {
    const dataDir = await made();
    const application = join(freshDirectory(), "..", "elsewhere.ts");
    const lines = [
      `import { defineProjection } from ${JSON.stringify(join(import.meta.dir, "../../src/index.ts"))};`,
      'const tables = { note: { columns: { id: "text" }, key: ["id"], subjects: ["id"] } };',
      'export const notes = defineProjection()({ name: "notes", sink: "pg", tables, on: { Noted: () => {} } });',
    ];
    writeFileSync(application, lines.join("\n"));
    expect(await codeOf(openSmall(dataDir, { application, aggregates: undefined }))).toBe("CONFIG_MISMATCH");
    // It ends by itself only when nothing runs any more.
    expect(openElsewhere(dataDir, application)).toBe("CONFIG_MISMATCH");
    expect(openElsewhere(dataDir)).toBe("no error: 1");
    expect(await (await openSmall(dataDir)).entity("e").append(credited(1))).toMatchObject({ seq: 2 });
  });

  test("that must exist is not made", async () => {
    expect(await codeOf(openSmall(freshDirectory(), { create: false }))).toBe("INVALID_ARGUMENT");
  });

  test('kept with durability "os" comes back after a clean stop', async () => {
    const dataDir = freshDirectory();
    for (let i = 1; i <= 3; i++) {
      const warp = await openSmall(dataDir, { durability: "os" });
      await Promise.all(Array.from({ length: 50 }, () => warp.entity("e").append(credited(1))));
      await warp.close();
      expect(openElsewhere(dataDir)).toBe(`no error: ${i * 50}`);
    }
  });
});

describe("a call is refused, and changes nothing, with", () => {
  type Call = [code: string, what: string, call: (entity: Entity) => Promise<unknown>];
  const loop: { self?: unknown } = {};
  loop.self = loop;
  let deep: unknown = 1;
  for (let i = 0; i <= limits.dataDepthMax; i++) deep = [deep];
  const typed = (type: unknown) => ({ type, data: {} }) as NewEvent;
  const holding = (data: unknown) => ({ type: "Noted", data }) as NewEvent;
  const keyed = (options: unknown) => options as WriteOptions;
  const many = Array.from({ length: limits.appendEventsMax + 1 }, () => holding(1));
  const types = Array.from({ length: limits.appendTypesMax + 1 }, (_, i) => typed(`T${i}`));
  const calls: Call[] = [
    ["INVALID_EVENT", "no event", (entity) => entity.append(undefined as unknown as NewEvent)],
    ["INVALID_EVENT", "an empty type", (entity) => entity.append(typed(""))],
    ["INVALID_EVENT", "a type that is no text", (entity) => entity.append(typed(7))],
    ["INVALID_EVENT", "a reserved type", (entity) => entity.append(typed("__proto__"))],
    ["INVALID_EVENT", "a long type", (entity) => entity.append(typed("t".repeat(256)))],
    ["INVALID_EVENT", "a lone surrogate", (entity) => entity.append(holding("\ud800"))],
    ["INVALID_EVENT", "undefined", (entity) => entity.append(holding({ a: undefined }))],
    ["INVALID_EVENT", "a function", (entity) => entity.append(holding(() => 1))],
    ["INVALID_EVENT", "an instance", (entity) => entity.append(holding(new Map()))],
    ["INVALID_EVENT", "a cycle", (entity) => entity.append(holding(loop))],
    ["INVALID_EVENT", "too much nesting", (entity) => entity.append(holding(deep))],
    ...[Number.NaN, 8.64e15 + 1, -1e18, new Date(Number.NaN), "2026", 1n, null, {}].map(
      (time): Call => [
        "INVALID_EVENT",
        `a time that is none: ${typeof time === "bigint" ? "1n" : String(time)}`,
        (entity) => entity.append({ ...holding(1), occurredAt: time as Date }),
      ],
    ),
    ["INVALID_EVENT", "too many types", (entity) => entity.appendBatch(types)],
    ["INVALID_EVENT", "one bad of two", (entity) => entity.appendBatch([holding(1), typed("")])],
    ["EVENT_TOO_LARGE", "too many events", (entity) => entity.appendBatch(many)],
    [
      "EVENT_TOO_LARGE",
      "a large event",
      (entity) => entity.append(holding("x".repeat(limits.eventBytesMax))),
    ],
    ["INVALID_ARGUMENT", "an empty key", (entity) => entity.append(holding(1), { key: "" })],
    ["INVALID_ARGUMENT", "a long key", (entity) => entity.append(holding(1), { key: "k".repeat(513) })],
    ["INVALID_ARGUMENT", "a key that is no UTF-8", (entity) => entity.append(holding(1), { key: "\udfff" })],
    ["INVALID_ARGUMENT", "a key that is no text", (entity) => entity.append(holding(1), keyed({ key: 5 }))],
    [
      "INVALID_ARGUMENT",
      "an unknown expect",
      (entity) => entity.append(holding(1), keyed({ expect: "some" })),
    ],
    ["INVALID_ARGUMENT", "a negative expect", (entity) => entity.append(holding(1), { expect: -1 })],
    ["INVALID_ARGUMENT", "a broken expect", (entity) => entity.append(holding(1), { expect: 0.5 })],
    ["UNKNOWN_COMMAND", "an unknown command", (entity) => entity.send("fly")],
    ["COMMAND_FAILED", "a command that throws", (entity) => entity.send("debit")],
  ];
  test.each(calls)("%s for %s", async (code, _, call) => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    expect(await codeOf(call(entity))).toBe(code);
    expect(await entity.append(credited(1), { expect: "none" })).toMatchObject({ seq: 1 });
  });

  test("CROSS_SHARD or INVALID_ARGUMENT for ids that cannot be appended to together, or are none", async () => {
    const warp = await openSmall(freshDirectory());
    const nothing = () => undefined;
    const spread = Array.from({ length: 20 }, (_, i) => `e${i}`);
    expect(await codeOf(warp.atomically(spread, nothing))).toBe("CROSS_SHARD");
    expect(await codeOf(warp.atomically([], nothing))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(warp.atomically(["a", "a"], nothing))).toBe("INVALID_ARGUMENT");
    for (const id of ["", "\0", "a\0", "\ud800", "x".repeat(513), "é".repeat(257), 7 as unknown as string]) {
      expect(await codeOf(() => warp.entity(id))).toBe("INVALID_ARGUMENT");
    }
    expect(await warp.entity("é".repeat(256)).append(credited(1))).toMatchObject({ seq: 1 });
  });
});

describe("the journal of a directory that is opened again", () => {
  test("has no more segments than before", async () => {
    const dataDir = freshDirectory();
    const segments = () => readdirSync(join(dataDir, "journal")).filter((name) => /^\d+$/.test(name)).length;
    for (let life = 1; life <= 5; life++) {
      const warp = await openSmall(dataDir);
      for (let i = 0; i < 3; i++) await warp.entity("e").append(credited(1));
      await warp.close();
      expect(segments()).toBe(2);
    }
  });

  test("keeps the size of its segments, whatever settings say, and takes what fits in them", async () => {
    const dataDir = freshDirectory();
    const small = await openSmall(dataDir, { journal: { segmentBytes: 64 * 1024, segmentsMax: 8 } });
    await small.entity("e").append(credited(1));
    await small.close();
    const warp = await openSmall(dataDir, { journal: { segmentBytes: 4 << 20, segmentsMax: 8 } });
    const noted = (length: number) => warp.entity("e").append({ type: "Noted", data: "x".repeat(length) });
    expect(await codeOf(noted(40_000))).toBe("EVENT_TOO_LARGE");
    const fitting = await Promise.all(Array.from({ length: 20 }, () => noted(25_000)));
    expect(fitting.at(-1)).toMatchObject({ ok: true, seq: 21 });
    await warp.close();
  });
});

test("a repeat right behind a start has a position that is not before its write", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir, { settle: { delayMs: 3_600_000 } });
  await Promise.all(Array.from({ length: 20 }, () => first.entity("a").append(credited(1))));
  const { position } = (await first.entity("a").append(credited(1), { key: "k" })) as Appended;
  // What a crash leaves: all of it is in the journal alone.
  const image = join(freshDirectory(), "image");
  cpSync(dataDir, image, { recursive: true, filter: (path) => !path.endsWith("-shm") });
  await first.close();
  const asked = spyOn(Reading.prototype, "key");
  const { order } = Settling.prototype;
  const orders: (() => void)[] = [];
  const ordered = spyOn(Settling.prototype, "order").mockImplementation(function (this: Settling) {
    orders.push(() => order.call(this));
  });
  const warp = await openSmall(image);
  const repeating = warp.entity("a").append(credited(1), { key: "k" });
  await until(() => asked.mock.calls.length > 0);
  // Nothing is settled before it was asked for.
  ordered.mockRestore();
  asked.mockRestore();
  for (const go of orders) go();
  const repeated = (await repeating) as Appended;
  expect(repeated).toMatchObject({ duplicate: true, seq: 21 });
  expect(repeated.position).toBeGreaterThanOrEqual(position);
});

test("a ring that starts without an append have filled is freed, and appends go on", async () => {
  let dataDir = freshDirectory();
  const first = await openSmall(dataDir);
  await first.entity("a").append(credited(1));
  await first.close();
  // Each of them ends as if it had been killed.
  for (let start = 0; start <= smallSettings.journal.segmentsMax; start++) {
    const warp = await openSmall(dataDir);
    const image = join(freshDirectory(), "image");
    cpSync(dataDir, image, { recursive: true, filter: (path) => !path.endsWith("-shm") });
    await warp.close();
    dataDir = image;
  }
  const warp = await openSmall(dataDir);
  expect(await warp.entity("a").append(credited(1))).toMatchObject({ ok: true, seq: 2 });
});
