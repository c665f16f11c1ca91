/**
 * Is a directory that has grown as fast as a fresh one? Measured in pairs, one after the other in this process:
 *
 * `bun src/main.ts bench --in-process --batch 500 --entities 100000 --events 100000000 --seconds 3600 --data DIR` fills one, then
 * `bun bench/grown.ts --data=DIR [--pairs=3] [--seconds=4] [--callers=256] [--batch=1] [--active=10000]`
 *
 * - Each side of a pair is opened, the driven entities are brought into memory and given an event, then the load runs; so both
 *   do the same with the same number of entities. Every run ends by comparing entities with what they were given.
 * - The side that goes first changes from pair to pair. The directory is kept, and has grown by what was appended.
 * - Prints a JSON line per run, and at the end one with the medians of the ratios.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DrivenEntities, idOf } from "../src/cli/verbs/bench/entities.ts";
import { openInProcess } from "../src/cli/verbs/bench/in-process.ts";
import { runLoad } from "../src/cli/verbs/bench/load.ts";
import { Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { silentLogger } from "../src/core/logger.ts";
import { defaultWriters } from "../src/core/settings.ts";
import { median } from "./results-page.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "" },
    pairs: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    warmup: { type: "string", default: "2" },
    callers: { type: "string", default: "256" },
    batch: { type: "string", default: "1" },
    active: { type: "string", default: "10000" },
    shards: { type: "string", default: "16" },
  },
});

interface Run {
  readonly openMs: number;
  /** Bringing the driven entities into memory. */
  readonly loadMs: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssBytes: number | undefined;
  readonly closeMs: number;
}

const grown = resolve(values.data);
if (values.data === "" || !existsSync(join(grown, "warp.json"))) {
  throw new Error("--data names a directory that was filled before; see the head of this file");
}
const ratios: number[] = [];
for (let pair = 1; pair <= Number(values.pairs); pair++) {
  const sides = ["fresh", "grown"] as const;
  const runs = new Map<(typeof sides)[number], Run>();
  for (const side of pair % 2 === 1 ? sides : sides.toReversed()) {
    const run = side === "grown" ? await measure(grown) : await measureFresh();
    console.log(JSON.stringify({ pair, side, ...run }));
    runs.set(side, run);
  }
  ratios.push((runs.get("grown")?.eventsPerSecond ?? 0) / (runs.get("fresh")?.eventsPerSecond ?? 0));
}
console.log(JSON.stringify({ grownToFresh: median(ratios), ratios }));
process.exit(0);

async function measureFresh(): Promise<Run> {
  const directory = mkdtempSync(join(dirname(grown), "fresh-"));
  try {
    return await measure(join(directory, "data"));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(dataDir: string): Promise<Run> {
  const settings = { dataDir, mode: "actor", durability: "fsync", writers: defaultWriters() } as const;
  const opening = performance.now();
  const subject = await openInProcess({ ...settings, shards: Number(values.shards) }, silentLogger);
  const openMs = performance.now() - opening;
  const active = Number(values.active);
  const driven = new DrivenEntities({ source: subject.source, entities: active, active, lookup: false });
  const payments = new Payments(100, 1);
  const random = new Random(1);
  const loading = performance.now();
  const numbers = Array.from({ length: active }, (_, number) => number);
  const seqs = await Promise.all(numbers.map((number) => subject.source.entity(idOf(number)).seq()));
  for (const number of numbers) driven.note(number, seqs[number] ?? 0);
  const loadMs = performance.now() - loading;
  await driven.create(payments);
  const { callers, batch, warmup, seconds } = values;
  const load = await runLoad({
    ...{ subject, driven, payments, random, callers: Number(callers), batch: Number(batch) },
    ...{ mixed: 0, zipf: false, events: undefined, signal: new AbortController().signal },
    ...{ warmupSeconds: Number(warmup), seconds: Number(seconds) },
  });
  await driven.verify();
  const closing = performance.now();
  await subject.close();
  const { eventsPerSecond, p50Ms, p99Ms, rssBytes } = load;
  return { openMs, loadMs, eventsPerSecond, p50Ms, p99Ms, rssBytes, closeMs: performance.now() - closing };
}
