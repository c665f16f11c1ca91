/**
 * The server is killed again and again while clients append, follow and work off: a subscription that resumes sees each
 * event once and in order, and a group leaves nothing out.
 */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/index.ts";
import { temporaryFolder } from "./command.ts";
import { freePort } from "./free-port.ts";
import { type RunningServer, smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
const clients: Client[] = [];
let server: RunningServer | undefined;

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  server?.process.kill("SIGTERM");
  await server?.ended;
  rmSync(folder, { recursive: true });
});

async function dial(address: string): Promise<Client> {
  const client = await connect({ address, timeoutMs: 120_000 });
  clients.push(client);
  return client;
}

test("replay and live, through five kills of the server", async () => {
  const data = ["--data", join(folder, "data"), ...smallServer, "--settle-delay", "30ms"];
  const address = `127.0.0.1:${freePort()}`;
  server = await startServer(["--listen", address, ...data]);
  const writer = await dial(address);
  const reader = await dial(address);
  const worker = await dial(address);
  const counts = new Map<string, number>();
  const abort = new AbortController();
  const { signal } = abort;

  const seen = [new Map<string, number>(), new Map<string, number>()];
  let again = 0;
  const following = [{}, { entity: "e1" }].map(async (query, i) => {
    const own = seen[i] ?? new Map<string, number>();
    for await (const { entity, seq } of reader.subscribe({ ...query, signal }).events()) {
      expect([entity, seq]).toEqual([entity, (own.get(entity) ?? 0) + 1]);
      own.set(entity, seq);
    }
  });
  const done = new Map<string, number>();
  const working = [1, 2].map(async () => {
    for await (const work of worker.join("workers", { signal, window: 16 })) {
      const { entity, seq } = work.event;
      const before = done.get(entity) ?? 0;
      if (seq <= before) again++;
      else expect([entity, seq]).toEqual([entity, before + 1]);
      done.set(entity, Math.max(before, seq));
      work.ack();
    }
  });

  let isOver = false;
  const writing = Array.from({ length: 4 }, async (_, caller) => {
    for (let i = 0; !isOver; i++) {
      const id = `e${(caller * 3 + i) % 10}`;
      const events = Array.from({ length: 1 + (i % 3) }, () => ({ type: "Noted", data: { i } }));
      const result = await writer.entity(id).appendBatch(events);
      if (result.ok) counts.set(id, (counts.get(id) ?? 0) + result.count);
    }
  });
  const total = (of: ReadonlyMap<string, number>) => [...of.values()].reduce((sum, count) => sum + count, 0);
  for (let kill = 0; kill < 5; kill++) {
    const target = total(counts) + 100;
    while (total(counts) < target) await Bun.sleep(5);
    server.process.kill("SIGKILL");
    await server.ended;
    server = await startServer(["--listen", address, ...data]);
  }
  isOver = true;
  await Promise.all(writing);
  const isComplete = () =>
    [...counts].every(([id, count]) => seen[0]?.get(id) === count && done.get(id) === count) &&
    seen[1]?.get("e1") === counts.get("e1");
  while (!isComplete()) await Bun.sleep(10);
  console.log(`${total(counts)} events; ${again} were delivered to the group again`);
  abort.abort();
  await Promise.all([...following, ...working]);
});
