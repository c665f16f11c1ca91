/**
 * What projections reach, as one line of JSON:
 *
 * `bun bench/projection.ts [--seconds=5] [--sink=postgres://… or http://…]`
 *
 * - `yardstick`: rows/s of plain SQLite in the same minute (that of `warp bench`).
 * - `atRate`: a row per event, upserted while 0.12 of the yardstick are appended a second; `behind` are the events that were not in
 *   the rows when the last was appended.
 * - `flatOut`: the same beside as many appends as a closed loop of 256 callers does.
 * - `lag`: from an append's acknowledgement to the row being there, at 10,000 events/s.
 * - `alone`: those appends while the projection is paused.
 * - `gathered`: what it takes in when single events have gathered and nobody appends.
 * - `rebuild`: all rows again, from runs of ten events.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { measureYardsticks } from "../src/cli/verbs/bench/yardsticks.ts";
import { silentLogger } from "../src/core/logger.ts";
import { start, type Warp } from "../src/index.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "5" }, sink: { type: "string", default: "" } },
});
const seconds = Number(values.seconds);
const folder = scratchDirectory("bench-projection");
const application = join(folder, "application.ts");
writeFileSync(
  application,
  `import { defineAggregate, defineProjection } from ${JSON.stringify(join(import.meta.dir, "../src/index.ts"))};
export const counter = defineAggregate({ name: "counter", initialState: { n: 0 }, evolve: { Counted: (state) => ({ n: state.n + 1 }) } });
export const counts = defineProjection({
  name: "counts",
  ${values.sink === "" ? "" : 'sink: "elsewhere",'}
  tables: { counts: { columns: { id: "text", seq: "integer", cents: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Counted: ({ entity, seq, data }, { counts }) => counts.upsert({ id: entity, seq, cents: data.cents }) },
});
`,
);
const event = (cents: number) => ({
  type: "Counted",
  data: { cents, ref: "a reference of a payment, 50 bytes in all" },
});
const entities = 10_000;
/** Appends that wait for their answers at once, when they come at a rate. */
const underWayMax = 4096;

const measure = () =>
  measureYardsticks({ directory: join(folder, "yardsticks"), bytes: 80, seconds: 1 }).rowsPerSecond;

function everything(warp: Warp): { shard: number; position: number }[] {
  return Array.from({ length: warp.shards }, (_, shard) => ({ shard, position: warp.feed.committed(shard) }));
}

/** Events that were appended to entities in turn. */
let count = 0;
const sink = values.sink === "" ? undefined : "elsewhere";
const upToDate = (warp: Warp) =>
  warp.query("SELECT 1", [], { after: everything(warp), timeoutMs: 600_000, sink });

async function closedLoop(warp: Warp, callers: number, batch: number, count: number): Promise<void> {
  let next = 0;
  const caller = async () => {
    while (next < count) {
      const i = next;
      next += batch;
      const handle = warp.entity(`entity-${(i / batch) % entities}`);
      if (batch === 1) await handle.append(event(i));
      else await handle.appendBatch(Array.from({ length: batch }, (_, k) => event(i + k)));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/**
 * Appends, `rate` a second as they fall due, or as many as a closed loop of 256 callers can when there is none; how many of them were
 * projected per second in all, and how many were not when the last was appended.
 */
async function beside(warp: Warp, rate?: number) {
  const begin = performance.now();
  const first = count;
  const end = begin + seconds * 1000;
  const appendOne = () => {
    const i = count++;
    return warp.entity(`entity-${i % entities}`).append(event(i));
  };
  if (rate === undefined) {
    const caller = async () => {
      while (performance.now() < end) await appendOne();
    };
    await Promise.all(Array.from({ length: 256 }, caller));
  } else {
    let underWay = 0;
    const waiting: Promise<void>[] = [];
    for (let now = begin; now < end; now = performance.now()) {
      for (; count - first < ((now - begin) / 1000) * rate && underWay < underWayMax; underWay++) {
        waiting.push(
          appendOne().then(() => {
            underWay--;
          }),
        );
      }
      await Bun.sleep(1);
    }
    await Promise.all(waiting);
  }
  const appended = count - first;
  const appendMs = performance.now() - begin;
  const [status] = warp.projections.status;
  await upToDate(warp);
  const allMs = performance.now() - begin;
  return {
    appended: Math.round((appended / appendMs) * 1000),
    projected: Math.round((appended / allMs) * 1000),
    /** Events that were not in the rows when the last was appended. */
    behind: status?.lagEvents ?? 0,
  };
}

/** ms from the acknowledgement to the row. */
async function lag(warp: Warp): Promise<{ median: number; p99: number }> {
  const times: number[] = [];
  const begin = performance.now();
  let sent = 0;
  const waiting: Promise<void>[] = [];
  while (performance.now() - begin < seconds * 1000) {
    const due = ((performance.now() - begin) / 1000) * 10_000;
    for (; sent < due; sent++) {
      const one = warp.entity(`entity-${sent % entities}`).append(event(sent));
      if (sent % 50 !== 0) continue;
      waiting.push(
        one.then(async (result) => {
          if (!result.ok) return;
          const acknowledged = performance.now();
          await warp.projections.past(result, sink);
          times.push(performance.now() - acknowledged);
        }),
      );
    }
    await Bun.sleep(1);
  }
  await Promise.all(waiting);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  return { median: at(0.5), p99: at(0.99) };
}

/** ms for all rows again. */
async function rebuild(warp: Warp): Promise<number> {
  const begin = performance.now();
  await warp.projections.rebuild("counts");
  while (warp.projections.status[0]?.building !== null) await Bun.sleep(2);
  return performance.now() - begin;
}

/**
 * Events/s of appends while it is paused, and events/s that it takes in afterwards, when they have gathered as records of their own
 * and nobody appends.
 */
async function gathered(warp: Warp, count: number): Promise<{ alone: number; gathered: number }> {
  warp.projections.pause("counts");
  const begin = performance.now();
  await closedLoop(warp, 256, 1, count);
  const paused = performance.now();
  warp.projections.resume("counts");
  await upToDate(warp);
  const end = performance.now();
  return { alone: (count / (paused - begin)) * 1000, gathered: (count / (end - paused)) * 1000 };
}

const open = (name: string) =>
  start({
    dataDir: join(folder, name),
    application,
    logger: silentLogger,
    ...(values.sink === ""
      ? {}
      : { sinks: { elsewhere: values.sink }, context: `bench_${process.pid}_${name}` }),
  });
const round = (value: number) => Math.round(value * 100) / 100;
const y = measure();
const live = await open("live");
await closedLoop(live, 256, 1, 20_000);
await upToDate(live);
const flatOut = await beside(live);
const required = await beside(live, 0.12 * y);
const lags = await lag(live);
const { alone, gathered: gatheredRate } = await gathered(live, 100_000);
await live.close();
const past = await open("past");
const events = Math.round(seconds * 200_000);
await closedLoop(past, 64, 10, events);
await upToDate(past);
await past.close();
const again = await open("past");
await upToDate(again);
const rebuildMs = await rebuild(again);
await again.close();
const yAfter = measure();
const mean = (y + yAfter) / 2;
const rebuildRate = (events / rebuildMs) * 1000;
console.log(
  JSON.stringify({
    yardstick: Math.round(mean),
    atRate: { ...required, ofY: round(required.projected / mean) },
    flatOut: { ...flatOut, ofY: round(flatOut.projected / mean) },
    lagMs: { median: round(lags.median), p99: round(lags.p99) },
    alone: Math.round(alone),
    gathered: Math.round(gatheredRate),
    gatheredOfY: round(gatheredRate / mean),
    rebuilt: Math.round(rebuildRate),
    rebuildOfY: round(rebuildRate / mean),
  }),
);
