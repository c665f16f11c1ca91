/**
 * How long the first read of an entity takes that is not in memory, with a long history and a snapshot:
 * `bun bench/cold.ts [--events=10000] [--entities=50]`.
 *
 * The context is opened again before the reads; its files are in the page cache. Prints one JSON line: the first read
 * of all, and median and largest of the others.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { start } from "../src/index.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "10000" },
    entities: { type: "string", default: "50" },
  },
});
const events = Number(values.events);
const entities = Number(values.entities);
const batch = 100;

const directory = scratchDirectory("cold");
const open = () => start({ context: "bench", aggregates: [ledger], dataDir: join(directory, "data") });
const payments = new Payments(100, 1);
const filling = await open();
const numbers = Array.from({ length: entities }, (_, i) => i);
const fill = async (number: number) => {
  const entity = filling.entity(idOf(number));
  for (let made = 0; made < events; made += batch) {
    await entity.appendBatch(payments.batch(Math.min(batch, events - made)));
  }
};
await Promise.all(numbers.map(fill));
await filling.close();

const warp = await open();
const times: number[] = [];
for (const number of numbers) {
  const begun = performance.now();
  const { count } = await warp.entity(idOf(number)).read(ledger);
  times.push(performance.now() - begun);
  if (count !== events) throw new Error(`${idOf(number)} has ${count} events instead of ${events}`);
}
await warp.close();
const [firstMs = 0, ...others] = times;
others.sort((a, b) => a - b);
const medianMs = others[others.length >> 1] ?? 0;
console.log(JSON.stringify({ events, entities, firstMs, medianMs, maxMs: others.at(-1) ?? 0 }));
