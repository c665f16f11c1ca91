/**
 * A server that is killed under load and started again: what its clients were told is there, and each append once.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import { smallServer, startServer } from "../e2e/server.ts";
import { until } from "./served-context.ts";

const callers = 16;
const kills = 3;
const appendsPerLife = 400;

test("appends of clients that retry count once although the server is killed again and again", async () => {
  const data = mkdtempSync(join(tmpdir(), "warp-restart-"));
  const args = ["--data", data, ...smallServer, "--http", "127.0.0.1:0"];
  let server = await startServer([...args, "--listen", "127.0.0.1:0"]);
  const { address } = server;
  const client = await connect({ address, timeoutMs: 60_000 });
  const acknowledged = new Map<string, number[]>();
  let done = 0;
  let next = 0;
  let isOver = false;
  const work = async (caller: number): Promise<void> => {
    for (let round = 0; !isOver; round++) {
      const id = `entity-${(caller + round) % 24}`;
      const number = next++;
      const result = await client.entity(id).append({ type: "Numbered", data: { number } });
      expect(result.ok).toBe(true);
      const known = acknowledged.get(id);
      if (known === undefined) acknowledged.set(id, [number]);
      else known.push(number);
      done++;
    }
  };
  const working = Array.from({ length: callers }, (_, caller) => work(caller));
  for (let kill = 1; kill <= kills; kill++) {
    await until(() => done >= kill * appendsPerLife);
    server.process.kill("SIGKILL");
    await server.ended;
    server = await startServer([...args, "--listen", address]);
  }
  await until(() => done >= (kills + 1) * appendsPerLife);
  isOver = true;
  await Promise.all(working);
  for (const [id, numbers] of acknowledged) {
    const stored: number[] = [];
    for await (const event of client.entity(id).events())
      stored.push((event.data as { number: number }).number);
    expect(stored.toSorted((a, b) => a - b)).toEqual(numbers.toSorted((a, b) => a - b));
  }
  await client.close();
  server.process.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  rmSync(data, { recursive: true });
}, 120_000);
