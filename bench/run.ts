/**
 * Runs every scenario in its own process, the scenarios taking turns for some rounds, and writes its part of
 * bench/RESULTS.md, and the numbers into bench/results/scenarios.json:
 *
 * `bun bench/run.ts [--rounds=3] [--seconds=10] [--events=20000000] [--only=TEXT] [--out=bench/RESULTS.md]`
 *
 * - `--only` measures the scenarios whose name contains the text, and leaves the recorded numbers of the others.
 * - `--events=100000000` is the long run over a hundred million events; it needs about 25 GB of disk.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { machineLine } from "./machine.ts";
import { type Conditions, resultsPage } from "./results-page.ts";
import { type Scenario, scenariosOf } from "./scenarios.ts";
import { writeSection } from "./sections.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "10" },
    events: { type: "string", default: "20000000" },
    only: { type: "string", default: "" },
    out: { type: "string", default: join(import.meta.dir, "RESULTS.md") },
  },
});
interface OnRecord extends Conditions {
  readonly recorded: readonly {
    readonly name: string;
    readonly command: readonly string[];
    readonly lines: readonly unknown[];
  }[];
}

const root = dirname(import.meta.dir);
const rounds = Number(values.rounds);
const loads: number[] = [];
const scenarios = scenariosOf(Number(values.seconds), Number(values.events));
const chosen = scenarios
  .filter(({ name }) => name.includes(values.only))
  .map((scenario) => ({ scenario, lines: [] as unknown[] }));

for (let round = 1; round <= rounds; round++) {
  for (const { scenario, lines } of chosen) {
    if (scenario.isLarge === true && round > 1) continue;
    loads.push(loadavg()[0] ?? 0);
    const line = await runOnce(scenario.command);
    console.error(`round ${round}, ${scenario.name}: ${line}`);
    lines.push(JSON.parse(line));
  }
}
const results = join(import.meta.dir, "results");
const file = join(results, "scenarios.json");
const before: OnRecord = existsSync(file)
  ? JSON.parse(readFileSync(file, "utf8"))
  : { rounds, loads: [], machine: machineLine(), recorded: [] };
const isAll = chosen.length === scenarios.length;
/** What is on record of a scenario, with the command that it was measured by. */
const known = (scenario: Scenario) => {
  const { command = scenario.command, lines = [] } =
    before.recorded.find(({ name }) => name === scenario.name) ?? {};
  return { scenario: { ...scenario, command }, lines };
};
const measured = scenarios
  .map((scenario) => chosen.find((one) => one.scenario === scenario) ?? known(scenario))
  .filter(({ lines }) => lines.length > 0);
const record: OnRecord = {
  rounds: isAll ? rounds : before.rounds,
  loads: isAll ? loads : [...before.loads, ...loads],
  machine: isAll ? machineLine() : before.machine,
  recorded: measured.map(({ scenario: { name, command }, lines }) => ({ name, command, lines })),
};
mkdirSync(results, { recursive: true });
writeFileSync(file, `${JSON.stringify(record, undefined, 1)}\n`);
writeSection("scenarios", resultsPage(measured, record), values.out);

/** The JSON line that the command prints; throws when it fails. */
async function runOnce(command: readonly string[]): Promise<string> {
  const json = command.includes("bench") ? ["--json"] : [];
  const child = Bun.spawn([process.execPath, ...command, ...json], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`bun ${command.join(" ")} ended with status ${code}`);
  return text.trim();
}
