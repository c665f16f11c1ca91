/**
 * The flights through a server: imported over TCP, asked for by the command line, the client and HTTP, and there again
 * after the server was stopped.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { AirportState } from "../../examples/flights.ts";
import { connect } from "../../src/client/index.ts";
import { jsonLines, runWarp, temporaryFolder } from "./command.ts";
import { application, flights, kept, mapping, original, statesOf, timeOf } from "./flights.ts";
import { type RunningServer, smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
const serverArgs = ["--data", join(folder, "data"), "--app", application, ...smallServer];
let server: RunningServer;

beforeAll(async () => {
  server = await startServer(serverArgs);
});

afterAll(async () => {
  server.process.kill("SIGTERM");
  await server.ended;
  rmSync(folder, { recursive: true });
});

async function warp(...args: readonly string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await runWarp([...args, "--addr", server.address, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return jsonLines(stdout);
}

const importFlights = () => warp("import", original, ...mapping, ...kept);

/** What the server says of every airport. */
async function servedStates(): Promise<Map<string, AirportState>> {
  const client = await connect({ address: server.address });
  const states = new Map<string, AirportState>();
  for await (const { id, seq } of client.entities()) {
    const { state, ...at } = await client.entity(id).snapshot("airport");
    expect(at.seq).toBe(seq);
    states.set(id, state as AirportState);
  }
  await client.close();
  return states;
}

test("an import over TCP gives every airport the state of a plain loop, and none twice when it is repeated", async () => {
  expect((await importFlights())[0]).toMatchObject({
    rows: 20_000,
    events: 20_000,
    alreadyThere: 0,
    skipped: 0,
  });
  expect(await servedStates()).toEqual(statesOf(flights));
  expect((await importFlights())[0]).toMatchObject({ rows: 20_000, events: 0, alreadyThere: 20_000 });
  expect(await servedStates()).toEqual(statesOf(flights));
});

test("an airport is asked for as it is, as it was after an event, and as of a day", async () => {
  const own = flights.filter(({ origin }) => origin === "DFW");
  const stateOf = (some: typeof own) => statesOf(some).get("DFW");
  expect(await warp("get", "DFW")).toEqual([
    { entity: "DFW", seq: own.length, aggregate: "airport", state: stateOf(own) },
  ]);
  expect((await warp("get", "DFW", "--at", "100"))[0]?.state).toEqual(stateOf(own.slice(0, 100)));
  const day = Date.UTC(2001, 1, 1);
  const flown = own.filter((flight) => timeOf(flight) <= day);
  expect(flown.length).toBeGreaterThan(0);
  expect(flown.length).toBeLessThan(own.length);
  expect((await warp("get", "DFW", "--occurred-at", "2001-02-01"))[0]?.state).toEqual(stateOf(flown));
  const events = await warp("events", "DFW", "--reverse", "--limit", "2");
  expect(events.map(({ seq }) => seq)).toEqual([own.length, own.length - 1]);
  const state: unknown = await (await fetch(`${server.url}/v1/entities/DFW`)).json();
  expect(state).toMatchObject({ state: stateOf(own) });
});

test("a server that was stopped and started again has the same airports", async () => {
  server.process.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  server = await startServer(serverArgs);
  expect(await servedStates()).toEqual(statesOf(flights));
});
