import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "../../../index.ts";
import { DrivenEntities } from "./entities.ts";
import { ledger, Payments } from "./payload.ts";
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
  history: 0,
  connections: 1,
  apart: false,
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

  test("gives each driven entity a history first", async () => {
    const dataDir = join(directory, "history");
    const { load } = await runBench(
      { ...settings, dataDir, entities: 4, active: 4, history: 1200 },
      logger,
      signal,
    );

    const warp = await start({ dataDir, aggregates: [ledger], logger });
    let events = 0;
    for (let i = 0; i < 4; i++) {
      const { count } = await warp.entity(`entity-${i}`).read(ledger);
      expect(count).toBeGreaterThanOrEqual(1200);
      events += count;
    }
    await warp.close();
    expect(events).toBeGreaterThanOrEqual(4 * 1200 + (load?.events ?? Number.POSITIVE_INFINITY));
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
    await expect(driven.verify()).rejects.toThrow("entity-0 has 1 events and was given 0");
    driven.note(0, 1);
    expect(await driven.verify()).toBe(1);
    await warp.close();
  });
});

test("a payment has about as many bytes as it was asked to have", () => {
  for (const bytes of [16, 40, 67, 80, 100, 1000]) {
    const { length } = JSON.stringify(new Payments(bytes, 3).data());
    expect(length).toBe(bytes);
  }
});
