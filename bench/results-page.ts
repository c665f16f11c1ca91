/**
 * The part of bench/RESULTS.md that bench/run.ts writes: the machine, then a table per scenario with the median and the
 * spread of each figure. Nothing in it is written by hand.
 */
import type { Figure, Floor, Scenario } from "./scenarios.ts";

/** The parsed JSON lines of a scenario, one per round. */
export interface Measured {
  readonly scenario: Scenario;
  readonly lines: readonly unknown[];
}

export interface Conditions {
  readonly rounds: number;
  /** Load average before each run. */
  readonly loads: readonly number[];
  /** In one line (bench/machine.ts). */
  readonly machine: string;
}

export function resultsPage(measured: readonly Measured[], { rounds, loads, machine }: Conditions): string {
  const yardsticks = measured.flatMap(({ lines }) => lines);
  const rows = valuesAt(yardsticks, "yardsticks.rowsPerSecond");
  const syncs = valuesAt(yardsticks, "yardsticks.syncsPerSecond");
  return `## Warp by itself

Written by \`bun bench/run.ts\`. Each scenario ran in ${rounds === 1 ? "one round" : `${rounds} rounds, the scenarios taking turns`}; large
ones ran once. A cell is the median, with the smallest and the largest in brackets where there are several. Events have four fields, about
100 bytes of JSON, and are folded by an aggregate; an append is acknowledged when it is on disk. Every run
of \`warp bench\` verified a sample of its entities afterwards.

- ${machine}
- load average before each run: ${spread(loads, (load) => load.toFixed(1))}; above 1, other work took processor and disk from the
  runs, and figures are low and widely spread
- yardsticks on this machine, measured before and after each run: ${spread(rows, thousands)} rows/s of plain SQLite (one thread,
  1,000 rows a transaction, \`synchronous=FULL\`, no index) and ${spread(syncs, thousands)} fdatasync/s of 4 KiB. "× rows/s of SQLite" compares a
  run with the rows measured beside it.

${floorsTable(measured)}

${measured.map(section).join("\n\n")}
`;
}

/** What the scenarios must not fall below, and the median of what they did. */
function floorsTable(measured: readonly Measured[]): string {
  const rows = measured.flatMap(({ scenario, lines }) =>
    (scenario.floors ?? []).map((floor) => {
      const values = ratiosOf(lines, floor);
      const value = median(values);
      const isMet = floor.least === undefined ? value <= (floor.most ?? 0) : value >= floor.least;
      const bound = floor.least === undefined ? `at most ${floor.most}` : `at least ${floor.least}`;
      const cells = [scenario.name, floor.name, bound, spread(values, (one) => one.toPrecision(3))];
      return `| ${[...cells, isMet ? "met" : "**not met**"].join(" | ")} |`;
    }),
  );
  return [
    "### Against the floors",
    "",
    "A floor is what a run must not fall below. What is aimed at is higher, and not all of it is reached:",
    "[docs/performance.md](../docs/performance.md#what-was-aimed-at-and-is-not-reached).",
    "",
    "| | | floor | measured | |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function ratiosOf(lines: readonly unknown[], { path, per }: Floor): number[] {
  return lines.flatMap((line) => {
    const [value] = valuesAt([line], path);
    const [by] = per === undefined ? [1] : valuesAt([line], per);
    return value === undefined || by === undefined ? [] : [value / by];
  });
}

function section({ scenario, lines }: Measured): string {
  const known = scenario.figures.filter((figure) => valuesAt(lines, figure.path).length > 0);
  const cells = known.map((figure) => spread(valuesAt(lines, figure.path), figure.format));
  return [
    `### ${scenario.name}`,
    "",
    `| ${known.map(({ name }) => name).join(" | ")} |`,
    `|${known.map(() => "---").join("|")}|`,
    `| ${cells.join(" | ")} |`,
    "",
    `\`bun ${scenario.command.join(" ")}\``,
  ].join("\n");
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function valuesAt(lines: readonly unknown[], path: Figure["path"]): number[] {
  return lines.flatMap((line) => {
    let value: unknown = line;
    for (const name of path.split(".")) {
      value = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
    }
    return typeof value === "number" ? [value] : [];
  });
}

function spread(values: readonly number[], format: (value: number) => string): string {
  if (values.length === 0) return "–";
  const middle = format(median(values));
  if (values.length === 1) return middle;
  return `${middle} (${format(Math.min(...values))} to ${format(Math.max(...values))})`;
}

function thousands(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}
