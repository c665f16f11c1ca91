/**
 * A history with dropped events through every front end: what is missing is said, and the state is right.
 */
import { afterAll, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineAggregate, start } from "../../src/index.ts";
import { settled } from "../engine/sample.ts";
import { jsonLines, runWarp, temporaryFolder } from "./command.ts";
import { smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const definition = `{
  name: "meter",
  initialState: { count: 0 },
  evolve: { Measured: (state) => ({ count: state.count + 1 }) },
  retention: { keepLast: 3, beyond: "drop" },
}`;

test("the command line, HTTP and TCP say what retention has dropped", async () => {
  const dataDir = join(folder, "data");
  const app = join(folder, "meter.ts");
  writeFileSync(
    app,
    `import { defineAggregate } from "warp";\nexport const meter = defineAggregate(${definition});\n`,
  );
  const meter = defineAggregate({
    name: "meter",
    initialState: { count: 0 },
    evolve: { Measured: (state: { count: number }) => ({ count: state.count + 1 }) },
    retention: { keepLast: 3, beyond: "drop" },
  });
  const warp = await start({ dataDir, aggregates: [meter], shards: 2, settle: { delayMs: 5 } });
  for (let n = 1; n <= 8; n++) {
    await warp.entity("sensor").append({ type: "Measured", data: { n } });
    await settled(warp);
  }
  expect(await warp.retain()).toEqual({ entities: 1, runs: 5, events: 5, failed: 0 });
  await warp.close();

  const mark = { entity: "sensor", seq: 5, type: "$dropped", data: { from: 1, to: 5 } };
  const rest = [6, 7, 8].map((n) => ({ entity: "sensor", seq: n, type: "Measured", data: { n } }));
  const local = ["--data", dataDir, "--app", app];
  const listed = await runWarp(["events", "sensor", ...local, "--json"]);
  expect(jsonLines(listed.stdout)).toMatchObject([mark, ...rest]);
  const got = await runWarp(["get", "sensor", ...local]);
  expect(got.stdout).toContain("events 1 to 5 were dropped by retention");
  expect(jsonLines((await runWarp(["get", "sensor", ...local, "--json"])).stdout)).toMatchObject([
    { seq: 8, droppedTo: 5, state: { count: 8 } },
  ]);
  const before = await runWarp(["get", "sensor", "--at", "3", ...local, "--json"]);
  expect([before.code, jsonLines(before.stderr)[0]?.code]).toEqual([1, "EVENTS_DROPPED"]);

  const server = await startServer([...local, ...smallServer]);
  try {
    const remote = ["--addr", server.address, "--json"];
    expect(jsonLines((await runWarp(["events", "sensor", ...remote])).stdout)).toMatchObject([mark, ...rest]);
    expect(jsonLines((await runWarp(["get", "sensor", ...remote])).stdout)).toMatchObject([
      { seq: 8, droppedTo: 5, state: { count: 8 } },
    ]);
    const refused = await runWarp(["get", "sensor", "--at", "3", ...remote]);
    expect([refused.code, jsonLines(refused.stderr)[0]?.code]).toEqual([1, "EVENTS_DROPPED"]);
    const events = await fetch(`${server.url}/v1/entities/sensor/events`);
    expect(await events.text()).toContain('"type":"$dropped"');
    const state = await fetch(`${server.url}/v1/entities/sensor?at=3`);
    const body = (await state.json()) as { code?: string };
    expect([state.status, body.code]).toEqual([410, "EVENTS_DROPPED"]);
  } finally {
    server.process.kill("SIGTERM");
    await server.ended;
  }
});
