import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "../../../index.ts";
import { DrivenEntities } from "./entities.ts";
import { ledger, Payments } from "./payload.ts";
import { Random } from "./random.ts";
import { type BenchSettings, runBench } from "./run-bench.ts";

const directory = mkdtempSync(join(tmpdir(), "warp-bench-test-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const logger = { info: () => {}, warn: () => {}, error: () => {} };
const signal = new AbortController().signal;
const settings: BenchSettings = {
  inProcess: true,
  addr: undefined,
  http: undefined,
  callers: 8,
  entities: 50,
  active: 50,
  create: false,
  cold: false,
  lookup: false,
  batch: 1,
  bytes: 100,
  mixed: 0,
  zipf: false,
  seconds: 60,
  warmupSeconds: 0,
  events: 500,
  read: false,
  mode: "actor",
  durability: "os",
  shards: 2,
  writers: 1,
  seed: 1,
  yardstickSeconds: 0,
  dataDir: undefined,
};

describe("a benchmark run", () => {
  test("ends after the events it was given, and has verified every entity", async () => {
    const { load, verifiedEntities } = await runBench(settings, logger, signal);
    expect(load?.events).toBeGreaterThanOrEqual(500);
    expect(load?.events).toBeLessThan(500 + settings.callers);
    expect(load?.p50Ms).toBeGreaterThan(0);
    expect(load?.p50Ms).toBeLessThanOrEqual(load?.maxMs ?? 0);
    expect(verifiedEntities).toBe(50);
  });

  test("drives only the active entities of a directory that was filled and opened again", async () => {
    const dataDir = join(directory, "active");
    const created = { ...settings, dataDir, active: 5, create: true, cold: true, batch: 10 };
    const { setup, load } = await runBench(created, logger, signal);
    expect(setup?.entities).toBe(50);

    const warp = await start({ dataDir, aggregates: [ledger], logger });
    const counts: number[] = [];
    for (let i = 0; i < 50; i++) counts.push((await warp.entity(`entity-${i}`).read(ledger)).count);
    await warp.close();
    expect(counts.slice(5)).toEqual(new Array(45).fill(1));
    const driven = counts.slice(0, 5).reduce((sum, count) => sum + count, 0);
    expect(driven).toBeGreaterThanOrEqual(5 + (load?.events ?? Number.POSITIVE_INFINITY));
  });

  test("leaves nothing behind but a data directory that was named", async () => {
    const dataDir = join(directory, "named");
    await runBench({ ...settings, dataDir }, logger, signal);
    expect(readdirSync(directory).filter((name) => name.startsWith("named"))).toEqual(["named"]);
    expect(existsSync(join(dataDir, "warp.json"))).toBe(true);
  });

  test("refuses a directory that holds something", async () => {
    writeFileSync(join(directory, "something"), "");
    const refused = runBench({ ...settings, dataDir: directory }, logger, signal);
    await expect(refused).rejects.toThrow("is not empty");
  });

  test("fails when an entity has other events than it was given", async () => {
    const warp = await start({ dataDir: join(directory, "other"), aggregates: [ledger], shards: 2, logger });
    const driven = new DrivenEntities({ source: warp, entities: 1, active: 1, lookup: false });
    const payments = new Payments(100, 1);
    await driven.entity(0).append(payments.event());
    await expect(driven.verify(new Random(1))).rejects.toThrow("entity-0 has 1 events and was given 0");
    driven.note(0, 1);
    expect(await driven.verify(new Random(1))).toBe(1);
    await warp.close();
  });
});

test("a payment has about as many bytes as it was asked to have", () => {
  for (const bytes of [80, 100, 1000]) {
    const { length } = JSON.stringify(new Payments(bytes, 3).data());
    expect(length).toBe(bytes);
  }
});
