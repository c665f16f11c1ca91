/** What follows the events: a projection that is built anew, and pushes to many subscribers. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileAggregates } from "../../src/aggregate/fold.ts";
import { Processor } from "../../src/cli/verbs/bench/processors/processor.ts";
import { bytesOf, readEntry } from "../../src/core/entry.ts";
import type { StoredEvent } from "../../src/core/event.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { defineProjection, start, type Warp } from "../../src/index.ts";
import { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import { encodeEventsPush, writePush } from "../../src/net/protocol/subscription/pushes.ts";
import { listenTcp } from "../../src/net/tcp-server.ts";
import { Batch } from "../../src/projection/build/batch.ts";
import { ErasedBefore } from "../../src/projection/build/erased-before.ts";
import type { FeedRecord } from "../../src/projection/build/records.ts";
import { SqliteSink } from "../../src/projection/sinks/sqlite.ts";
import { enginePortOf } from "../../src/server.ts";
import { formBytes, openPacked, sealPacked, shardAssociated } from "../../src/shard/files/sealed.ts";
import { turn } from "./append-path.ts";
import { sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { entities, ids, payments } from "./sample.ts";
import { perRun, plainRun } from "./storage-path.ts";

/** Events of a commit. */
const batchEvents = 8192;
const rebuilt = 200_000;

const projection = defineProjection({
  name: "counts",
  tables: {
    counts: { columns: { id: "text", seq: "integer", cents: "integer" }, key: ["id"], subjects: ["id"] },
  },
  on: { Paid: ({ entity, seq, data }, { counts }) => counts.upsert({ id: entity, seq, cents: data.cents }) },
});

const application = (index: string) => `import { defineProjection } from ${JSON.stringify(index)};
export { ledger } from ${JSON.stringify(join(index, "../aggregate/ledger.ts"))};
export const counts = defineProjection({
  name: "counts",
  tables: { counts: { columns: { id: "text", seq: "integer", cents: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Paid: ({ entity, seq, data }, { counts }) => counts.upsert({ id: entity, seq, cents: data.cents }) },
});
`;

function storedEvent(i: number): StoredEvent {
  const { type, data } = payments.event();
  const entity = ids[Math.floor(i / perRun) % entities] ?? "";
  return { entity, seq: (i % perRun) + 1, type, version: 1, data, recordedAt: 1e12 + i, position: i + 1 };
}

/** A record for each run of events. */
function recordsOf(events: readonly StoredEvent[]): FeedRecord[] {
  const records: FeedRecord[] = [];
  for (let at = 0; at < events.length; at += perRun) {
    const some = events.slice(at, at + perRun);
    const { entity = "" } = some[0] ?? {};
    const part = { number: at / perRun + 1, entity, firstSeq: 1, events: some, subjects: [] };
    records.push({ shard: 0, position: at / perRun + 1, recordedAt: 1e12, parts: [part], erased: undefined });
  }
  return records;
}

export async function openRebuild(): Promise<Steps> {
  const folder = mkdtempSync(join(tmpdir(), "warp-budgets-"));
  const build = { number: 1, projection, incarnation: "i" };
  const into = new SqliteSink(join(folder, "counts.db"), build);
  await into.open();
  const nobody = { idHashKey: new Uint8Array(32), hashes: new Float64Array(0), times: new Float64Array(0) };
  const plan = compileAggregates([]);
  const batch = new Batch({ projection, plan, sink: into, erased: new ErasedBefore(nobody) });
  const records = recordsOf(Array.from({ length: batchEvents }, (_, i) => storedEvent(i)));
  await batch.take(records);
  const { content } = batch;
  batch.clear();
  let commits = 0;

  const plain = plainRun();
  const associated = shardAssociated("sample", 3).run;
  const key = new Uint8Array(32).fill(7);
  const sealed = sealPacked(key, Buffer.from(plain), plain.length, associated.of(7, 1, perRun, 9));
  const entry = bytesOf(plain.buffer, plain.byteOffset + formBytes, plain.length - formBytes);
  return {
    steps: {
      "open the run": {
        per: perRun,
        run: (times) => {
          for (let i = 0; i < times; i++)
            sink.value = openPacked(key, sealed, associated.of(7, 1, perRun, 9));
        },
      },
      "decode the event": {
        run: (times) => {
          for (let i = 0; i < times; i++) sink.value = readEntry(entry, 0, "alice", 1);
        },
      },
      "run the handler": {
        per: batchEvents,
        run: async (times) => {
          for (let i = 0; i < times; i++) {
            await batch.take(records);
            batch.clear();
          }
        },
      },
      "write the rows": {
        per: batchEvents,
        run: async (times) => {
          for (let i = 0; i < times; i++)
            await into.commit({ ...content, batch: commits++, writer: "w", erased: undefined });
        },
      },
    },
    whole: () => wholeRebuild(folder),
    async close() {
      await into.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Processor time of the whole process while all rows are made again. */
async function wholeRebuild(folder: string): Promise<number> {
  const file = join(folder, "application.ts");
  writeFileSync(file, application(join(import.meta.dir, "../../src/index.ts")));
  const warp = await start({
    ...{ dataDir: join(folder, "data"), application: file, durability: "os", logger: silentLogger },
  });
  for (let from = 0; from < rebuilt; from += 200 * perRun) {
    const some = Array.from({ length: 200 }, (_, i) => ids[(from / perRun + i) % entities] ?? "");
    await Promise.all(some.map((id) => warp.entity(id).appendBatch(payments.batch(perRun))));
  }
  await untilBuilt(warp);
  await warp.projections.rebuild("counts");
  await untilBuilt(warp);
  const before = process.cpuUsage();
  await warp.projections.rebuild("counts");
  await untilBuilt(warp);
  const { user, system } = process.cpuUsage(before);
  await warp.close();
  return ((user + system) * 1000) / rebuilt;
}

async function untilBuilt(warp: Warp): Promise<void> {
  const after = Array.from({ length: warp.shards }, (_, shard) => ({
    shard,
    position: warp.feed.committed(shard),
  }));
  while (warp.projections.status[0]?.building !== null) await Bun.sleep(2);
  await warp.query("SELECT 1", [], { after, timeoutMs: 60_000 });
}

const subscribers = 100;

export async function openFanOut(): Promise<Steps> {
  const events = Array.from({ length: turn }, (_, i) => ({ ...storedEvent(i), entity: "hot-0" }));
  const cursor = "c".repeat(80);
  const content = encodeEventsPush(events, cursor);
  const writer = new FrameWriter(1024 * 1024);
  return {
    steps: {
      "encode the push, once for all": {
        per: turn * subscribers,
        run: (times) => {
          for (let i = 0; i < times; i++) sink.value = encodeEventsPush(events, cursor);
        },
      },
      "write it for a subscriber": {
        per: turn,
        run: (times) => {
          for (let i = 0; i < times; i++) {
            if (writer.at > 512 * 1024) writer.at = 0;
            writePush(writer, i & 1023, content);
          }
        },
      },
    },
    whole: wholeFanOut,
    async close() {},
  };
}

/** Main thread's ns for an event and subscriber: appends with and without a hundred who are pushed them, in another process. */
async function wholeFanOut(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "warp-budgets-"));
  const warp = await start({ dataDir: join(folder, "data"), durability: "os", logger: silentLogger });
  const tcp = await listenTcp({ hostname: "127.0.0.1", port: 0 }, enginePortOf(warp));
  await mainNsOfAppends(warp);
  const without = await mainNsOfAppends(warp);
  const command = ["nice", "-n", "19", process.execPath, join(import.meta.dir, "../followers.ts")];
  const load = [`--subscribers=${subscribers}`, "--connections=4", "--drain", `--follow=${tcp.address}`];
  const child = Bun.spawn([...command, ...load], { stdin: "pipe", stdout: "ignore", stderr: "inherit" });
  while (warp.subscriptions.live < subscribers) await Bun.sleep(5);
  await mainNsOfAppends(warp);
  const withThem = await mainNsOfAppends(warp);
  child.stdin.write("\n");
  await child.stdin.end();
  await child.exited;
  await tcp.close();
  await warp.close();
  rmSync(folder, { recursive: true });
  return (withThem - without) / subscribers;
}

async function mainNsOfAppends(warp: Warp): Promise<number> {
  const handle = warp.entity("hot-0");
  const processor = new Processor([]);
  const begun = performance.now();
  let appended = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - begun < 1500) {
      await handle.append(payments.event());
      appended++;
    }
  };
  await Promise.all(Array.from({ length: turn }, caller));
  const busy = processor.use().threads.find(({ name }) => name === "main")?.busy ?? 0;
  return (busy * (performance.now() - begun) * 1e6) / appended;
}
