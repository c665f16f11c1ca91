/**
 * How fast a writer settles, in its own thread's time: rounds of records for runs of 1, 10, 60 and 500 events, over 16 shards,
 * checkpoints included. Events have four fields, about 90 bytes of JSON, half of it random.
 *
 * `bun bench/settle.ts [--seconds=4] [--entities=100000] [--events=1,10,60,500]`
 *
 * Prints per case: MB/s of entries, runs/s, events/s, and the CPU seconds per GB of entries that the process took. A case
 * "new" is the first append of each entity: its key and its name are made too.
 */
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { limits } from "../src/core/limits.ts";
import {
  type SampleEntity,
  SampleTail,
  sampleData,
  sampleDirectory,
  sampleOptions,
  seededRandom,
} from "../src/shard/sample.ts";
import { Writer } from "../src/shard/writer.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    entities: { type: "string", default: "100000" },
    events: { type: "string", default: "1,10,60,500" },
    shards: { type: "string", default: "16" },
  },
});
const shardCount = Number(values.shards);
const random = seededRandom(1);
const bytesPerEvent = 131;
const data = Array.from({ length: 4096 }, () => sampleData(random));

for (const events of values.events.split(",").map(Number)) benchmark(events, Number(values.entities));

/** One case: every run has `events` events, of entities chosen at random. */
function benchmark(events: number, entityCount: number): void {
  const directory = sampleDirectory();
  const shards = Array.from({ length: shardCount }, (_, i) => i);
  const tail = new SampleTail(limits.arenaBytes);
  const writer = new Writer(sampleOptions(directory, { shards }), tail.memory);
  const entities: SampleEntity[] = [];
  const round = (append: () => void) => {
    tail.rewind();
    append();
    const message = tail.settleMessage();
    const begun = performance.now();
    const cpu = process.cpuUsage();
    const counts = writer.settle(message);
    writer.grownFilters();
    writer.checkpointGrown();
    const { user, system } = process.cpuUsage(cpu);
    return {
      ...counts,
      ms: performance.now() - begun,
      userMs: user / 1000,
      systemMs: system / 1000,
      cpuMs: (user + system) / 1000,
    };
  };

  while (entities.length < entityCount) {
    const made = round(() => {
      while (entities.length < entityCount && tail.bytes < limits.settleBytes) {
        const entity = tail.entity(entities.length % shardCount, `entity-${entities.length}`);
        tail.append([entity], [data[0] ?? ""]);
        entities.push(entity);
      }
    });
    if (entities.length === entityCount) report(`${events} new`, made, 1);
  }

  const total = { runs: 0, bytes: 0, ms: 0, cpuMs: 0, userMs: 0, systemMs: 0, events: 0 };
  while (total.ms < Number(values.seconds) * 1000) {
    const settled = round(() => {
      const chosen = new Set<SampleEntity>();
      while (tail.bytes < limits.settleBytes && (events <= 1 || chosen.size < entityCount)) {
        const entity = entities[Math.floor(random() * entityCount)];
        if (entity === undefined || (chosen.has(entity) && events > 1)) continue;
        chosen.add(entity);
        const from = Math.floor(random() * (data.length - events));
        tail.append([entity], data.slice(from, from + Math.max(1, events)));
        entity.events.length = 0;
        entity.positions.length = 0;
      }
    });
    total.runs += settled.runs;
    total.bytes += settled.bytes;
    total.ms += settled.ms;
    total.cpuMs += settled.cpuMs;
    total.userMs += settled.userMs;
    total.systemMs += settled.systemMs;
    total.events += Math.round(settled.bytes / bytesPerEvent);
  }
  report(String(events), total, events);
  console.log(
    `   user ${((total.userMs / total.events) * 1e6).toFixed(0)} ns/event, system ${((total.systemMs / total.events) * 1e6).toFixed(0)} ns/event, ${(total.events / total.runs).toFixed(1)} events a run`,
  );
  const reopened = performance.now();
  writer.close();
  new Writer(sampleOptions(directory, { shards }), tail.memory).close();
  console.log(`${"".padStart(10)} close and open again ${(performance.now() - reopened).toFixed(0)} ms`);
  rmSync(directory, { recursive: true, force: true });
}

function report(
  name: string,
  { runs, bytes, ms, cpuMs }: { runs: number; bytes: number; ms: number; cpuMs: number },
  events: number,
): void {
  const cells = [
    `${(bytes / ms / 1000).toFixed(0)} MB/s`,
    `${((runs / ms) * 1000).toFixed(0)} runs/s`,
    `${(((runs * events) / ms) * 1000).toFixed(0)} events/s`,
    `${(bytes / runs).toFixed(0)} B/run`,
    `${(cpuMs / (bytes / 1e6)).toFixed(2)} CPU s/GB`,
  ];
  console.log(name.padStart(10), cells.map((cell) => cell.padStart(18)).join(""));
}
