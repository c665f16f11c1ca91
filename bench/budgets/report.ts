/** Budgets and what was measured, as text for a terminal and as a part of RESULTS.md. */
import { budgets, type PathBudget, type PathName } from "./table.ts";

/** ns for an event, at the yardstick's speed. */
export interface Figures {
  readonly path: PathName;
  /** What the yardstick took in this run, ns. */
  readonly yardstickNs: number;
  readonly steps: Readonly<Record<string, number>>;
  readonly whole: number;
}

export interface Recorded extends Figures {
  readonly at: string;
  /** Load average at the end. */
  readonly load: number;
}

/** Runs vary more than steps: several threads share the processors, whose speed is known only before and after. */
const wholeMargin = 2;

interface Row {
  readonly name: string;
  readonly budget: number;
  readonly measured: number;
  /** By how much the margin of steps is exceeded without complaint. */
  readonly leeway: number;
  /** Of the sum of the steps. */
  readonly share: number | undefined;
}

function rowsOf({ path, steps, whole }: Figures): { rows: readonly Row[]; sum: number; whole: Row } {
  const budget: PathBudget = budgets[path];
  const sum = Object.values(steps).reduce((a, b) => a + b, 0);
  const rows = budget.steps.map(({ step, ns }) => {
    const measured = steps[step] ?? Number.NaN;
    return { name: step, budget: ns, measured, leeway: 1, share: measured / sum };
  });
  const all = { name: "whole", budget: budget.whole, measured: whole, leeway: wholeMargin, share: undefined };
  return { rows, sum, whole: all };
}

/** Whether a step takes more than its budget times the margin, or the whole more than twice that. A figure that is none is over it too. */
export function isOver(figures: Figures, margin: number): boolean {
  const { rows, whole } = rowsOf(figures);
  return [...rows, whole].some((row) => isRowOver(row, margin));
}

const isRowOver = ({ measured, budget, leeway }: Row, margin: number): boolean =>
  !(measured <= budget * margin * leeway);
const ns = (value: number): string => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const percent = (share: number | undefined): string =>
  share === undefined ? "" : `${(share * 100).toFixed(0)} %`;

export function textOf(figures: Figures, margin: number): string {
  const { rows, sum, whole } = rowsOf(figures);
  const budget: PathBudget = budgets[figures.path];
  const line = (row: Row) =>
    `  ${row.name.padEnd(32)}${ns(row.budget).padStart(8)}${ns(row.measured).padStart(10)}${percent(row.share).padStart(8)}${isRowOver(row, margin) ? "  over budget" : ""}`;
  return [
    `${budget.title}: ns for an event; the yardstick took ${figures.yardstickNs.toFixed(0)} ns and counts as 1,000`,
    `  ${"step".padEnd(32)}${"budget".padStart(8)}${"measured".padStart(10)}${"share".padStart(8)}`,
    ...rows.map(line),
    `  ${"all steps".padEnd(40)}${ns(sum).padStart(10)}`,
    line(whole),
    `  ${"not explained by steps".padEnd(40)}${ns(whole.measured - sum).padStart(10)}`,
    "",
  ].join("\n");
}

export function pageOf(all: readonly Recorded[]): string {
  const parts = all.map((figures) => {
    const { rows, sum, whole } = rowsOf(figures);
    const budget: PathBudget = budgets[figures.path];
    const lines = rows.map(
      (row, i) =>
        `| ${row.name} | ${ns(row.budget)} | ${ns(row.measured)} | ${percent(row.share)} | ${budget.steps[i]?.why} |`,
    );
    return [
      `### ${budget.title[0]?.toUpperCase()}${budget.title.slice(1)}`,
      "",
      "| step | budget | measured | share | what it must touch |",
      "|---|---|---|---|---|",
      ...lines,
      `| **all steps** | | ${ns(sum)} | | |`,
      `| **whole**: ${budget.of} | ${ns(whole.budget)} | ${ns(whole.measured)} | | |`,
      `| **not explained** | | ${ns(whole.measured - sum)} | | ${budget.rest} |`,
    ].join("\n");
  });
  const yardsticks = all.map(({ yardstickNs }) => yardstickNs.toFixed(0)).join(", ");
  const loads = all.map(({ load }) => load.toFixed(1)).join(", ");
  return `## Budgets of the hot paths

\`bun bench/budgets.ts\`: ns for an event of 100 bytes, at the speed at which writing and reading it as JSON and copying 1 KiB take 1 µs
(they took ${yardsticks} ns in these runs; load averages ${loads}, of what had run before). Steps run by themselves; a whole is the processor
time of a run, so what stands between them is what only happens in a run. Its appends are acknowledged when the operating system has them
(\`--durability os\`): the disk is another matter.

${parts.join("\n\n")}`;
}
