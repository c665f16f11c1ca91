/**
 * The flights example from a real file to states that can be asked for, over the command line: every airport's state is
 * compared with a plain loop over the file, whatever the format, and whatever happened in between.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type AirportState, airport } from "../../examples/flights.ts";
import { start, type Warp } from "../../src/index.ts";
import { jsonLines, runWarp, startWarp, temporaryFolder } from "./command.ts";
import { application, flights, kept, mapping, original, statesOf, timeOf } from "./flights.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const folderOf = (name: string) => join(folder, name);

function write(name: string, content: string | Buffer): string {
  writeFileSync(folderOf(name), content);
  return folderOf(name);
}

/** Imports a file into the data directory `name`, and returns the summary. */
async function importInto(
  name: string,
  file: string,
  ...options: string[]
): Promise<Record<string, unknown>> {
  const target = ["--data", folderOf(name), "--app", application, "--json"];
  const { code, stdout, stderr } = await runWarp([
    "import",
    file,
    ...mapping,
    ...kept,
    ...target,
    ...options,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return jsonLines(stdout)[0] ?? {};
}

async function withWarp<Result>(name: string, use: (warp: Warp) => Promise<Result>): Promise<Result> {
  const warp = await start({ dataDir: folderOf(name), aggregates: [airport], create: false });
  try {
    return await use(warp);
  } finally {
    await warp.close();
  }
}

/** The states of all airports that a data directory knows. */
function storedStates(name: string): Promise<Map<string, AirportState>> {
  return withWarp(name, async (warp) => {
    const states = new Map<string, AirportState>();
    for await (const { id, seq } of warp.entities()) {
      const state = await warp.entity(id).read(airport);
      expect(seq).toBe(state.flights);
      states.set(id, state);
    }
    return states;
  });
}

describe("the flights", () => {
  test("give every airport the state that a plain loop gives, and none twice when imported again", async () => {
    const first = await importInto("states", original);
    expect(first).toMatchObject({
      rows: 20_000,
      events: 20_000,
      alreadyThere: 0,
      entitiesNew: 220,
      skipped: 0,
    });
    const expected = statesOf(flights);
    expect(expected.size).toBe(220);
    expect(await storedStates("states")).toEqual(expected);

    const again = await importInto("states", original);
    expect(again).toMatchObject({ rows: 20_000, events: 0, alreadyThere: 20_000, entitiesNew: 0 });
    expect(await storedStates("states")).toEqual(expected);
  });

  test("give every airport the state of an earlier day by the time of the flights", async () => {
    const day = Date.UTC(2001, 1, 1);
    const expected = statesOf(flights.filter((flight) => timeOf(flight) <= day));
    await withWarp("states", async (warp) => {
      for (const [id, state] of expected) {
        expect(await warp.entity(id).stateAt({ occurred: day }, airport)).toEqual(state);
      }
    });
  });

  test("are shown by get, events and entities as they were imported", async () => {
    const target = ["--data", folderOf("states"), "--app", application, "--json"];
    const own = flights.filter(({ origin }) => origin === "DFW");
    const state = statesOf(own).get("DFW");
    const get = await runWarp(["get", "DFW", ...target]);
    expect(jsonLines(get.stdout)).toEqual([{ entity: "DFW", seq: own.length, aggregate: "airport", state }]);
    const earlier = await runWarp(["get", "DFW", "--at", "100", ...target]);
    expect(jsonLines(earlier.stdout)[0]?.state).toEqual(statesOf(own.slice(0, 100)).get("DFW"));

    const events = await runWarp(["events", "DFW", ...target]);
    expect(
      jsonLines(events.stdout).map(({ type, data, occurredAt }) => ({ type, data, occurredAt })),
    ).toEqual(
      own.map((flight) => {
        const { origin: _, ...data } = flight;
        return { type: "Departed", data, occurredAt: timeOf(flight) };
      }),
    );
    const newest = await runWarp(["events", "DFW", "--reverse", "--limit", "3", ...target]);
    expect(jsonLines(newest.stdout).map(({ seq }) => seq)).toEqual([0, 1, 2].map((i) => own.length - i));

    const entities = await runWarp(["entities", ...target]);
    const counts = new Map(
      statesOf(flights)
        .entries()
        .map(([id, { flights }]) => [id, flights]),
    );
    expect(jsonLines(entities.stdout)).toEqual(
      [...counts.keys()].sort().map((id) => ({ id, seq: counts.get(id) ?? 0 })),
    );
  });

  test("are the same events from NDJSON, CSV and packed JSON", async () => {
    const columns = ["date", "delay", "distance", "origin", "destination"] as const;
    const table = [
      columns.join(","),
      ...flights.map((flight) => columns.map((name) => flight[name]).join(",")),
    ];
    const files = {
      ndjson: write("flights.ndjson", flights.map((flight) => JSON.stringify(flight)).join("\n")),
      csv: write("flights.csv", `\ufeff${table.join("\r\n")}\r\n`),
      packed: write("flights.json.gz", gzipSync(JSON.stringify(flights, undefined, 1))),
    };
    await importInto("ndjson", files.ndjson);
    await importInto("csv", files.csv, "--numbers", "delay,distance");
    await importInto("packed", files.packed, "--mode", "log");
    const eventsIn = (name: string) =>
      withWarp(name, async (warp) => {
        const events: unknown[] = [];
        for await (const { id } of warp.entities()) {
          for await (const { entity, seq, type, data, occurredAt } of warp.entity(id).events()) {
            events.push({ entity, seq, type, data, occurredAt });
          }
        }
        return events;
      });
    const expected = await eventsIn("states");
    expect(expected).toHaveLength(20_000);
    for (const name of ["ndjson", "csv", "packed"]) expect(await eventsIn(name)).toEqual(expected);
  });
});

/** Bytes in the files that settled events go to; they grow while an import goes on. */
function settledBytes(name: string): number {
  const shards = join(folderOf(name), "shards");
  if (!existsSync(shards)) return 0;
  const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return readdirSync(shards)
    .flatMap((shard) => ["runs.db", "runs.db-wal"].map((file) => sizeOf(join(shards, shard, file))))
    .reduce((sum, size) => sum + size, 0);
}

describe("an import that is killed in the middle", () => {
  // Ten times the flights, numbered, so that it takes long enough to be killed in and no two rows are the same.
  const many = Array.from({ length: 10 }, (_, round) =>
    flights.map((flight) => ({ ...flight, round })),
  ).flat();

  test("adds what is missing and nothing twice when it is run again, as often as it takes", async () => {
    const file = write("many.ndjson", many.map((flight) => JSON.stringify(flight)).join("\n"));
    const target = ["--data", folderOf("killed"), "--app", application];
    for (let kill = 1; kill <= 3; kill++) {
      const before = settledBytes("killed");
      const started = startWarp(["import", file, ...mapping, ...target]);
      // Each time a little more is there than before: what a fresh directory begins with is much less than this.
      while (started.process.exitCode === null && settledBytes("killed") < before + 1_000_000)
        await Bun.sleep(1);
      started.process.kill("SIGKILL");
      await started.ended;
    }
    const last = await runWarp(["import", file, ...mapping, ...target, "--json"]);
    expect({ code: last.code, stderr: last.stderr }).toEqual({ code: 0, stderr: "" });
    const summary = jsonLines(last.stdout)[0] ?? {};
    expect(Number(summary.events) + Number(summary.alreadyThere)).toBe(200_000);
    expect(Number(summary.alreadyThere)).toBeGreaterThan(0);
    expect(await storedStates("killed")).toEqual(statesOf(many));
  });
});
