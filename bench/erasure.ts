/**
 * What erasures and exports take:
 * `bun bench/erasure.ts [--part=bulk|large|export|served] [--entities=20000] [--delete=4000] [--events=1000000] [--callers=32]`
 *
 * - bulk: of `--entities` entities `--delete` are erased, all asked for at once, then some one after the other: per second, and
 *   how long receipts took.
 * - large: an entity with `--events` events is erased while `--callers` callers append to others: how long it took, and their p99
 *   in the seconds before it was asked for (also in times as long as the erasure), meanwhile, and behind it.
 * - export: an entity with `--events` events is exported in this process: MB and events per second, and the resident memory of
 *   the process at each tenth of the way.
 * - served: the same by `warp export` from a `warp serve`: the resident memory of both processes at each tenth.
 *
 * The files are in the page cache. Prints one JSON line a part. Resident memory is read from /proc, on Linux.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { start, type Warp } from "../src/index.ts";
import { fromSources } from "../tests/e2e/command.ts";
import { startServer } from "../tests/e2e/server.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    part: { type: "string", default: "bulk" },
    entities: { type: "string", default: "20000" },
    delete: { type: "string", default: "4000" },
    events: { type: "string", default: "1000000" },
    callers: { type: "string", default: "32" },
    /** Of appends before and behind the erasure of a large entity. */
    seconds: { type: "string", default: "3" },
  },
});
const events = Number(values.events);
const payments = new Payments(100, 1);
const quiet = { info: () => undefined, warn: console.error, error: console.error };
const directory = scratchDirectory("bench-erasure");
const dataDir = join(directory, "data");
const parts = { bulk: measureBulk, large: measureLarge, export: measureExport, served: measureServed };

const measure = parts[values.part as keyof typeof parts];
if (measure === undefined) throw new Error(`there is no part ${values.part}`);
console.log(JSON.stringify({ part: values.part, ...(await measure()) }));

function open(): Promise<Warp> {
  return start({ context: "bench", aggregates: [ledger], dataDir, logger: quiet });
}

async function measureBulk(): Promise<object> {
  const warp = await open();
  const entities = Number(values.entities);
  const ids = Array.from({ length: entities }, (_, i) => `customer-${i}`);
  for (let at = 0; at < ids.length; at += 1000)
    await Promise.all(ids.slice(at, at + 1000).map((id) => warp.entity(id).appendBatch(payments.batch(3))));
  const waits: number[] = [];
  const erase = async (id: string): Promise<void> => {
    const begun = performance.now();
    const { status } = await warp.entity(id).delete({ reason: "bench", waitMs: 600_000 });
    if (status !== "erased") throw new Error(`the receipt of ${id} says ${status}`);
    waits.push(performance.now() - begun);
  };
  const count = Number(values.delete);
  const begun = performance.now();
  await Promise.all(ids.slice(0, count).map(erase));
  const ms = performance.now() - begun;
  const longestMs = Math.max(...waits);
  waits.length = 0;
  for (const id of ids.slice(count, count + 50)) await erase(id);
  await warp.close();
  return {
    ...{ entities, erased: count, ms: Math.round(ms), perSecond: Math.round((count / ms) * 1000) },
    ...{ longestReceiptMs: Math.round(longestMs) },
    oneByOneMs: { p50: quantile(waits, 0.5), max: quantile(waits, 1) },
  };
}

interface Append {
  readonly at: number;
  readonly ms: number;
}

async function measureLarge(): Promise<object> {
  const filled = await open();
  await fill(filled, "large");
  await filled.close();
  // Opened again, so that the disk has nothing left to do of the filling.
  const warp = await open();
  const appends: Append[] = [];
  let isOver = false;
  const caller = async (caller: number): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const at = performance.now();
      await warp.entity(`other-${caller}-${i % 50}`).append(payments.event());
      appends.push({ at, ms: performance.now() - at });
    }
  };
  const working = Array.from({ length: Number(values.callers) }, (_, i) => caller(i));
  const seconds = Number(values.seconds);
  await Bun.sleep(1000 + seconds * 1000);
  const begun = performance.now();
  const { status, removed } = await warp.entity("large").delete({ waitMs: 600_000 });
  const end = performance.now();
  await Bun.sleep(seconds * 1000);
  isOver = true;
  await Promise.all(working);
  await warp.close();
  const length = end - begun;
  const between = (from: number, to: number) => {
    const waits = appends.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms);
    return {
      appends: waits.length,
      p50: quantile(waits, 0.5),
      p99: quantile(waits, 0.99),
      max: quantile(waits, 1),
    };
  };
  // A short time has another p99 than a long one: times of the same length are put beside it.
  const windows = Array.from({ length: Math.floor((seconds * 1000) / length) }, (_, i) =>
    between(begun - (i + 1) * length, begun - i * length),
  );
  return {
    ...{ events, status, removed, seconds: round(length / 1000) },
    ...{ before: between(begun - seconds * 1000, begun), during: between(begun, end) },
    ...{ behind: between(end, end + seconds * 1000) },
    p99OfTimesBefore: windows.map(({ p99 }) => p99),
  };
}

async function measureExport(): Promise<object> {
  const warp = await open();
  await fill(warp, "large");
  const rss: number[] = [];
  let bytes = 0;
  let lines = 0;
  let last = "";
  const begun = performance.now();
  for await (const piece of warp.entity("large").export()) {
    bytes += piece.length;
    lines += piece.split("\n").length - 1;
    last = piece;
    if (lines >= ((rss.length + 1) * events) / 10) rss.push(residentMB(process.pid));
  }
  const seconds = (performance.now() - begun) / 1000;
  await warp.close();
  const { counts } = JSON.parse(last) as { counts: { event: number } };
  return {
    ...{ events: counts.event, seconds: round(seconds), MBs: Math.round(bytes / 1e6 / seconds) },
    ...{ eventsPerSecond: Math.round(events / seconds), totalMB: Math.round(bytes / 1e6), residentMB: rss },
  };
}

async function measureServed(): Promise<object> {
  const warp = await open();
  await fill(warp, "large");
  await warp.close();
  const server = await startServer(["--data", dataDir, "--context", "bench", "--app", "warp:bench"]);
  const client = Bun.spawn([...fromSources, "export", "large", "--addr", server.address], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const rss: { server: number; client: number }[] = [];
  let bytes = 0;
  let lines = 0;
  const begun = performance.now();
  for await (const piece of client.stdout) {
    bytes += piece.length;
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) lines++;
    if (lines >= ((rss.length + 1) * events) / 10)
      rss.push({ server: residentMB(server.process.pid), client: residentMB(client.pid) });
  }
  const seconds = (performance.now() - begun) / 1000;
  const status = await client.exited;
  server.process.kill("SIGTERM");
  await server.ended;
  return {
    ...{ status, lines, seconds: round(seconds), MBs: Math.round(bytes / 1e6 / seconds) },
    ...{ totalMB: Math.round(bytes / 1e6) },
    residentMB: { server: rss.map(({ server }) => server), client: rss.map(({ client }) => client) },
  };
}

async function fill(warp: Warp, id: string): Promise<void> {
  const batch = 1000;
  // A few at once: what waits for the disk is bounded, and the disk never waits.
  for (let at = 0; at < events; at += 8 * batch) {
    const batches = Array.from({ length: Math.min(8, Math.ceil((events - at) / batch)) }, () =>
      payments.batch(batch),
    );
    await Promise.all(batches.map((one) => warp.entity(id).appendBatch(one)));
  }
}

function residentMB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
