/**
 * Has Warp become slower? Short runs of the key scenarios, each against yardsticks of the same minute, compared with the
 * ratios that are on record:
 *
 * `bun bench/regression.ts [--rounds=3] [--seconds=4] [--record]`
 *
 * - What is compared is a run's ratio to what SQLite and the disk did beside it, so a slower machine or hour does not count.
 * - A scenario has become slower when its median is below the recorded one by more than the tolerance, which follows from
 *   the spreads of both, and is never under a tenth.
 * - `--record` writes the ratios of this run to bench/results/baseline.json instead.
 *
 * It reports; no check runs it. The exit status is 1 when something has become slower.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { median, valuesAt } from "./results-page.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    record: { type: "boolean", default: false },
  },
});

interface Scenario {
  readonly name: string;
  readonly options: readonly string[];
  /** Where the ratio stands in the JSON line; reads have none there and are compared with the rows. */
  readonly ratio: "ratios.toRows" | "ratios.toSyncs" | "reads";
}

const scenarios: readonly Scenario[] = [
  { name: "singles, 16 callers", options: ["--in-process", "--callers", "16"], ratio: "ratios.toSyncs" },
  { name: "singles, 256 callers", options: ["--in-process", "--callers", "256"], ratio: "ratios.toRows" },
  { name: "singles, 1,000 callers", options: ["--in-process", "--callers", "1000"], ratio: "ratios.toRows" },
  {
    name: "batches of 500",
    options: ["--in-process", "--callers", "16", "--batch", "500"],
    ratio: "ratios.toRows",
  },
  { name: "TCP: singles, 16 callers", options: ["--callers", "16"], ratio: "ratios.toSyncs" },
  { name: "TCP: singles, 256 callers", options: ["--callers", "256"], ratio: "ratios.toRows" },
  { name: "TCP: singles, 1,000 callers", options: ["--callers", "1000"], ratio: "ratios.toRows" },
  { name: "TCP: batches of 500", options: ["--callers", "16", "--batch", "500"], ratio: "ratios.toRows" },
  { name: "TCP: reads, 256 callers", options: ["--read", "--callers", "256"], ratio: "reads" },
];

interface Baseline {
  readonly date: string;
  readonly seconds: number;
  /** The ratios of every round, by scenario. */
  readonly ratios: Readonly<{ [name: string]: readonly number[] }>;
}

const root = join(import.meta.dir, "..");
const path = join(import.meta.dir, "results/baseline.json");
const toleranceMin = 0.1;

const measured = new Map(scenarios.map(({ name }) => [name, [] as number[]]));
for (let round = 1; round <= Number(values.rounds); round++) {
  const order = round % 2 === 0 ? [...scenarios].reverse() : scenarios;
  for (const scenario of order) {
    const ratio = await ratioOf(scenario);
    console.error(
      `round ${round}, ${scenario.name}: ${ratio.toFixed(3)} (load average ${loadavg()[0]?.toFixed(1)})`,
    );
    measured.get(scenario.name)?.push(ratio);
  }
}

if (values.record) {
  const baseline: Baseline = {
    date: new Date().toISOString(),
    seconds: Number(values.seconds),
    ratios: Object.fromEntries(measured),
  };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(baseline, undefined, 1)}\n`);
  console.log("recorded in bench/results/baseline.json");
} else if (existsSync(path)) {
  process.exitCode = report(JSON.parse(readFileSync(path, "utf8")) as Baseline);
} else {
  console.log("nothing is on record; bun bench/regression.ts --record");
}

/** Prints a line per scenario; returns 1 when one has become slower. */
function report({ date, ratios }: Baseline): number {
  console.log(`ratios to the yardsticks beside each run, against those of ${date.slice(0, 10)}`);
  let status = 0;
  for (const [name, now] of measured) {
    const before = ratios[name] ?? [];
    if (before.length === 0) {
      console.log(`${name.padEnd(30)} ${median(now).toFixed(3)}  new`);
      continue;
    }
    const change = median(now) / median(before) - 1;
    const tolerance = Math.max(toleranceMin, spreadOf(before) + spreadOf(now));
    const verdict = change < -tolerance ? "SLOWER" : change > tolerance ? "faster" : "as before";
    if (change < -tolerance) status = 1;
    const figures = `${median(before).toFixed(3)} → ${median(now).toFixed(3)}`;
    const percent = `${change >= 0 ? "+" : ""}${(change * 100).toFixed(0)} %`;
    console.log(
      `${name.padEnd(30)} ${figures}  ${percent.padStart(6)}  ±${(tolerance * 100).toFixed(0)} %  ${verdict}`,
    );
  }
  return status;
}

/** Half of the way from the smallest to the largest, as a share of the median. */
function spreadOf(ratios: readonly number[]): number {
  return (Math.max(...ratios) - Math.min(...ratios)) / 2 / median(ratios);
}

async function ratioOf({ name, options, ratio }: Scenario): Promise<number> {
  const time = ["--seconds", values.seconds, "--warmup", "2", "--yardstick", "2", "--json"];
  const child = Bun.spawn([process.execPath, "src/main.ts", "bench", ...options, ...time], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${name} failed`);
  const line: unknown = JSON.parse(text);
  const [found] = valuesAt([line], ratio === "reads" ? "readsPerSecond" : ratio);
  const [rows] = valuesAt([line], "yardsticks.rowsPerSecond");
  if (found === undefined || rows === undefined) throw new Error(`${name} told no ratio`);
  return ratio === "reads" ? found / rows : found;
}
