/**
 * Has Warp become slower? Short runs of the key scenarios, each against yardsticks of the same minute, compared with the
 * ratios that are on record:
 *
 * `bun bench/regression.ts [--rounds=3] [--seconds=3] [--record]`, under four minutes
 *
 * - What is compared is a run's ratio to what SQLite and the disk did just before and after it, so a slower machine or hour does
 *   not count. A run is done again when the two differ by half, or its window was stretched: the machine was not itself.
 * - A scenario has become slower when its median is below the recorded one by more than the tolerance, which follows from
 *   the spreads of both, and is never under a tenth. One that seems slower is measured as often again before that is said.
 * - `--record` writes the ratios of this run to bench/results/baseline.json instead.
 *
 * It reports; no check runs it. The exit status is 1 when something has become slower.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { meanOf, measureYardsticks, type Yardsticks } from "../src/cli/verbs/bench/yardsticks.ts";
import { median, valuesAt } from "./results-page.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    record: { type: "boolean", default: false },
  },
});

interface Scenario {
  readonly name: string;
  readonly options: readonly string[];
  /** What its figure is compared with: rows of SQLite, or a sync for each caller. */
  readonly per: "rows" | "syncs";
  readonly callers: number;
  readonly figure: "eventsPerSecond" | "readsPerSecond";
}

const events = "eventsPerSecond";
const inProcess = (callers: number, per: Scenario["per"], ...more: readonly string[]) =>
  ({ options: ["--in-process", "--callers", `${callers}`, ...more], callers, per, figure: events }) as const;
const overTcp = (callers: number, per: Scenario["per"], ...more: readonly string[]) =>
  ({ options: ["--callers", `${callers}`, ...more], callers, per, figure: events }) as const;

const scenarios: readonly Scenario[] = [
  { name: "singles, 16 callers", ...inProcess(16, "syncs") },
  { name: "singles, 256 callers", ...inProcess(256, "rows") },
  { name: "singles, 1,000 callers", ...inProcess(1000, "rows") },
  { name: "batches of 500", ...inProcess(16, "rows", "--batch", "500") },
  { name: "TCP: singles, 16 callers", ...overTcp(16, "syncs") },
  { name: "TCP: singles, 256 callers", ...overTcp(256, "rows") },
  { name: "TCP: singles, 1,000 callers", ...overTcp(1000, "rows") },
  { name: "TCP: batches of 500", ...overTcp(16, "rows", "--batch", "500") },
  { name: "TCP: reads, 256 callers", ...overTcp(256, "rows", "--read"), figure: "readsPerSecond" },
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

const directory = scratchDirectory("regression");
const measured = new Map(scenarios.map(({ name }) => [name, [] as number[]]));
const baseline = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Baseline) : undefined;
const rounds = Number(values.rounds);
await measure(scenarios, 1, rounds);
if (!values.record && baseline !== undefined) {
  const doubtful = scenarios.filter(({ name }) => verdictOn(name, baseline)?.verdict === "SLOWER");
  await measure(doubtful, rounds + 1, rounds * 2);
}

if (values.record) {
  const ratios = Object.fromEntries(measured);
  const record: Baseline = { date: new Date().toISOString(), seconds: Number(values.seconds), ratios };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record, undefined, 1)}\n`);
  console.log("recorded in bench/results/baseline.json");
} else if (baseline !== undefined) {
  process.exitCode = report(baseline);
} else {
  console.log("nothing is on record; bun bench/regression.ts --record");
}

async function measure(chosen: readonly Scenario[], from: number, to: number): Promise<void> {
  if (chosen.length === 0) return;
  for (let round = from; round <= to; round++) {
    let before = yardsticks();
    for (const scenario of round % 2 === 0 ? [...chosen].reverse() : chosen) {
      let one = await runOnce(scenario, before);
      if (!one.isSteady) one = await runOnce(scenario, one.after);
      before = one.after;
      measured.get(scenario.name)?.push(one.ratio);
      const load = loadavg()[0]?.toFixed(1);
      console.error(`round ${round}, ${scenario.name}: ${one.ratio.toFixed(3)} (load average ${load})`);
    }
  }
}

/** Prints a line per scenario; returns 1 when one has become slower. */
function report(against: Baseline): number {
  console.log(`ratios to the yardsticks beside each run, against those of ${against.date.slice(0, 10)}`);
  let status = 0;
  for (const [name, now] of measured) {
    const found = verdictOn(name, against);
    if (found === undefined) {
      console.log(`${name.padEnd(30)} ${median(now).toFixed(3)}  new`);
      continue;
    }
    const { before, change, tolerance, verdict } = found;
    if (verdict === "SLOWER") status = 1;
    const figures = `${before.toFixed(3)} → ${median(now).toFixed(3)}`;
    const percent = `${change >= 0 ? "+" : ""}${(change * 100).toFixed(0)} %`.padStart(6);
    console.log(`${name.padEnd(30)} ${figures}  ${percent}  ±${(tolerance * 100).toFixed(0)} %  ${verdict}`);
  }
  return status;
}

/** How a scenario stands to what is on record of it; undefined when nothing is. */
function verdictOn(name: string, { ratios }: Baseline) {
  const before = ratios[name] ?? [];
  const now = measured.get(name) ?? [];
  if (before.length === 0) return undefined;
  const change = median(now) / median(before) - 1;
  const tolerance = Math.max(toleranceMin, spreadOf(before) + spreadOf(now));
  const verdict = change < -tolerance ? "SLOWER" : change > tolerance ? "faster" : "as before";
  return { before: median(before), change, tolerance, verdict };
}

/** Half of the way from the smallest to the largest, as a share of the median. */
function spreadOf(ratios: readonly number[]): number {
  return (Math.max(...ratios) - Math.min(...ratios)) / 2 / median(ratios);
}

function yardsticks(): Yardsticks {
  return measureYardsticks({ directory: join(directory, "yardstick"), bytes: 100, seconds: 1 });
}

/** One run between two yardsticks: its ratio, and whether the machine was the same all the while. */
async function runOnce({ name, options, per, callers, figure }: Scenario, before: Yardsticks) {
  const time = ["--seconds", values.seconds, "--warmup", "2", "--yardstick", "0", "--json"];
  const child = Bun.spawn([process.execPath, "src/main.ts", "bench", ...options, ...time], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${name} failed`);
  const line: unknown = JSON.parse(text);
  const [found] = valuesAt([line], figure);
  const [seconds] = valuesAt([line], "seconds");
  if (found === undefined || seconds === undefined) throw new Error(`${name} told no figure`);
  const after = yardsticks();
  const { rowsPerSecond, syncsPerSecond } = meanOf(before, after);
  const ratio = per === "rows" ? found / rowsPerSecond : found / (callers * syncsPerSecond);
  const of = per === "rows" ? "rowsPerSecond" : "syncsPerSecond";
  const drift = Math.max(before[of], after[of]) / Math.min(before[of], after[of]);
  return { ratio, after, isSteady: drift < 1.5 && seconds < 1.3 * Number(values.seconds) };
}
