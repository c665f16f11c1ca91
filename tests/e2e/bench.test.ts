/**
 * `warp bench` over TCP: with a server of its own, and on one that runs.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { jsonLines, runWarp, temporaryFolder } from "./command.ts";
import { smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const small = ["--warmup", "0", "--yardstick", "0", "--entities", "20", "--callers", "4"];
/** Ends when there was something to be measured, however slow the machine is. */
const appends = [...small, "--seconds", "200", "--events", "400"];
const reads = [...small, "--seconds", "3", "--read"];

describe("warp bench over TCP", () => {
  test("starts a server, drives it and stops it, and tells both sides apart", async () => {
    const dataDir = join(folder, "own");
    const own = ["--shards", "2", "--writers", "1", "--durability", "os", "--data", dataDir];
    const { code, stdout, stderr } = await runWarp(["bench", ...appends, ...own, "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    const [line] = jsonLines(stdout);
    expect(line).toMatchObject({
      server: { isChild: true, aggregates: ["ledger"], entityPrefix: "entity-" },
      processor: { client: { busy: expect.any(Number) }, server: { busy: expect.any(Number) } },
      rssBytes: expect.any(Number),
      backlogEndBytes: expect.any(Number),
      verifiedEntities: 20,
    });
    expect(line?.eventsPerSecond).toBeGreaterThan(0);
    expect(line?.p50Ms).toBeLessThanOrEqual(Number(line?.maxMs));
    // The server has ended and left its directory in order, and nothing else.
    expect(readdirSync(folder)).toEqual(["own"]);
    const state = await runWarp(["get", "entity-0", "--data", dataDir, "--app", "warp:bench", "--json"]);
    expect(jsonLines(state.stdout)[0]).toMatchObject({ state: { count: expect.any(Number) } });
  });

  test("drives a server that runs, with entities of its own", async () => {
    const server = await startServer(["--data", join(folder, "theirs"), ...smallServer]);
    const addr = ["--addr", server.address];
    const read = await runWarp(["bench", ...addr, "--http", server.url, ...reads, "--json"]);
    expect([read.code, read.stderr]).toEqual([0, ""]);
    const [line] = jsonLines(read.stdout);
    expect(line).toMatchObject({
      server: { isChild: false, aggregates: ["document"] },
      processor: { server: { busy: expect.any(Number) } },
      events: 0,
      verifiedEntities: 20,
    });
    expect(line?.readsPerSecond).toBeGreaterThan(0);
    const batches = await runWarp(["bench", ...addr, ...appends, "--batch", "50", "--connections", "3"]);
    expect([batches.code, batches.stderr]).toEqual([0, ""]);
    expect(batches.stdout).toContain("memory and backlog of the server are not told");
    server.process.kill("SIGTERM");
    expect(await server.ended).toBe(0);
  });

  test("refuses what the server that runs must say itself", async () => {
    const dataDir = join(folder, "nowhere");
    const refused = await runWarp(["bench", "--addr", "127.0.0.1:1", "--data", dataDir]);
    expect(refused.stderr).toContain("--data is the server's to say");
    expect([refused.code, existsSync(dataDir)]).toEqual([2, false]);
  });
});
