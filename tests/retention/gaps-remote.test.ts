/**
 * What retention dropped is told over TCP to clients that ask, and to no other; by `warp tail`; and in the status of projections.
 */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { defineAggregate, start, type Warp } from "../../src/index.ts";
import { listenTcp } from "../../src/net/tcp-server.ts";
import { enginePortOf } from "../../src/server.ts";
import { provideWarpModule } from "../../src/warp-module.ts";
import { freshDirectory, removeDirectories } from "../backup/sample.ts";
import { jsonLines, runWarp } from "../e2e/command.ts";
import { settled } from "../engine/sample.ts";
import { frameOf, RawPeer } from "../net/raw-peer.ts";

// The application of a test stands in a temporary folder, which has no package "warp" around it.
provideWarpModule();

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  removeDirectories();
});

const account = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
  retention: { keepLast: 2, beyond: "drop" },
});

async function fill(warp: Warp, id: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await warp.entity(id).append({ type: "Credited", data: {} });
    await settled(warp);
  }
}

/** A server whose context has dropped three of alice's five events. */
async function served() {
  const dataDir = join(freshDirectory(), "data");
  const warp = await start({ dataDir, shards: 1, aggregates: [account], logger: silentLogger });
  closers.push(() => warp.close());
  const tcp = await listenTcp({ hostname: "127.0.0.1", port: 0 }, enginePortOf(warp));
  closers.push(() => tcp.close());
  await fill(warp, "alice", 5);
  await warp.retain();
  return { warp, tcp };
}

test("a client is told by its subscription, and once by its group", async () => {
  const { warp, tcp } = await served();
  const client = await connect({ address: tcp.address });
  closers.push(() => client.close());
  const said: unknown[] = [];
  let cursor = "";
  for await (const message of client.subscribe({})) {
    if (message.kind === "events") said.push(...message.events.map(({ seq }) => seq));
    if (message.kind === "dropped") {
      said.push([message.entity, message.droppedTo]);
      cursor = message.cursor;
    }
    if (message.kind === "caughtUp") break;
  }
  expect(said).toEqual([["alice", 3], 4, 5]);
  const behind = await client.subscribe({ from: cursor }).next();
  expect(behind.value).toMatchObject({ kind: "events", events: [{ seq: 4 }, { seq: 5 }] });
  const heard: unknown[] = [];
  const onDropped = (gap: object) => void heard.push(gap);
  const member = client.join("mailer", { onDropped });
  for (const seq of [4, 5]) {
    const { value } = await member.next();
    expect(value?.event.seq).toBe(seq);
    value?.ack();
  }
  await member.return();
  const again = client.join("mailer", { onDropped });
  await fill(warp, "bob", 1);
  expect((await again.next()).value?.event.entity).toBe("bob");
  expect(heard).toEqual([{ entity: "alice", droppedTo: 3 }]);
});

test("a client that does not ask gets what it knows: no push of another kind, no delivery that is no event", async () => {
  const { tcp } = await served();
  const peer = await RawPeer.greeted(tcp.port);
  closers.push(() => peer.socket.destroy());
  peer.send(frameOf([0, 2, 9, 1, 100_000]));
  expect(await peer.next()).toEqual([1, 2, null]);
  const kinds: unknown[] = [];
  for (let push = await peer.next(); ; push = await peer.next()) {
    kinds.push(push?.[2]);
    if (push?.[2] === 1) break;
  }
  expect(kinds).toEqual([3, 0, 1]);
  peer.send(frameOf([0, 3, 12, 2, "mailer", 8]));
  expect(await peer.next()).toEqual([1, 3, null]);
  const delivered = await peer.next();
  const [[, attempt, entity, seq, type] = []] = (delivered?.[3] ?? []) as unknown[][];
  expect([attempt, entity, seq, type]).toEqual([1, "alice", 4, "Credited"]);
});

test("warp tail prints it, with --json as an object", async () => {
  const directory = freshDirectory();
  const dataDir = join(directory, "data");
  const warp = await start({ dataDir, shards: 1, aggregates: [account], logger: silentLogger });
  await fill(warp, "alice", 5);
  await warp.retain();
  await warp.close();
  const tail = ["tail", "--data", dataDir, "--from", "start", "--once"];
  const { stdout } = await runWarp([...tail, "--json"]);
  const lines = jsonLines(stdout);
  expect(lines[0]).toEqual({ dropped: "alice", droppedTo: 3 });
  expect(lines.slice(1).map(({ seq }) => seq)).toEqual([4, 5]);
  expect((await runWarp(tail)).stdout).toStartWith("dropped  alice  up to 3\n");
});

test("a projection counts it", async () => {
  const directory = freshDirectory();
  const application = join(directory, "application.ts");
  writeFileSync(
    application,
    `import { defineAggregate, defineProjection } from "warp";
export const account = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: { Credited: (state) => ({ count: state.count + 1 }) },
  retention: { keepLast: 2, beyond: "drop" },
});
export const counts = defineProjection({
  name: "counts",
  tables: { counted: { columns: { entity: "text", count: "integer" }, key: ["entity"], subjects: ["entity"] } },
  on: { Credited: ({ entity }, { counted }) => counted.add({ entity }, { count: 1 }) },
});
`,
  );
  const warnings: unknown[] = [];
  const logger = {
    ...silentLogger,
    warn: (message: string, fields?: object) => warnings.push([message, fields]),
  };
  const dataDir = join(directory, "data");
  const warp = await start({ dataDir, shards: 1, application, logger });
  closers.push(() => warp.close());
  await warp.projections.pause("counts");
  await fill(warp, "alice", 5);
  await warp.retain();
  await warp.projections.resume("counts");
  const after = await warp.entity("alice").append({ type: "Credited", data: {} });
  if (!after.ok) throw new Error("a conflict");
  const { rows } = await warp.query("SELECT count FROM counted", [], { after, timeoutMs: 240_000 });
  expect(rows).toEqual([[3]]);
  expect(warp.projections.status[0]).toMatchObject({ name: "counts", gaps: 1, skipped: 0 });
  expect(warnings).toEqual([["a projection lacks dropped events", { projection: "counts", entities: 1 }]]);
});
