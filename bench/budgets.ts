/**
 * What each step of the hot paths takes beside what it may take: `bun bench/budgets.ts [--only=PATH] [--json] [--margin=1.5] [--record]`.
 * Paths: append, tcp, batch, read, journal, settle, replay, rebuild, fanout.
 *
 * - Every step runs by itself, with the code that the engine runs. Figures are ns for an event, at the speed at which the yardstick
 *   takes 1 µs (budgets/clock.ts), so that machines and hours compare.
 * - The whole is a run of the path; what its steps do not explain stands below them.
 * - Exit code 1 when a step takes more than its budget (budgets/table.ts) times the margin, or a whole more than twice that.
 * - All paths together, each in a process of its own, take under three minutes; one takes under half a minute.
 * - `--record` keeps the figures in results/budgets.json and makes their part of RESULTS.md of all that are kept.
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openAppend } from "./budgets/append-path.ts";
import { openBatch } from "./budgets/batch-path.ts";
import { measure, yardstickNow, yardstickNs } from "./budgets/clock.ts";
import { openFanOut, openRebuild } from "./budgets/follow-path.ts";
import { type Figures, isOver, pageOf, type Recorded, textOf } from "./budgets/report.ts";
import type { Steps } from "./budgets/path.ts";
import { openRead } from "./budgets/read-path.ts";
import { openJournal, openReplay, openSettle } from "./budgets/storage-path.ts";
import { budgets, type PathName } from "./budgets/table.ts";
import { openTcp } from "./budgets/tcp-path.ts";
import { writeSection } from "./sections.ts";

const openers: Readonly<Record<PathName, () => Promise<Steps>>> = {
  append: openAppend,
  tcp: openTcp,
  batch: openBatch,
  read: openRead,
  journal: openJournal,
  settle: openSettle,
  replay: openReplay,
  rebuild: openRebuild,
  fanout: openFanOut,
};
const names = Object.keys(openers) as PathName[];

async function measurePath(name: PathName): Promise<Figures> {
  const opened = await openers[name]();
  const steps: Record<string, number> = {};
  for (const { step } of budgets[name].steps) {
    const found = opened.steps[step];
    if (found === undefined) throw new Error(`path ${name} has no step "${step}"`);
    steps[step] = (await measure(found.run)) / (found.per ?? 1);
  }
  const before = await yardstickNow();
  const ns = await opened.whole();
  const now = (before + (await yardstickNow())) / 2;
  await opened.close();
  return { path: name, yardstickNs: now, steps, whole: (ns / now) * yardstickNs };
}

/** In a process of its own: what the compiler learned of one path is of no use to another. */
async function measureApart(name: PathName): Promise<Figures> {
  const command = [process.execPath, import.meta.path, `--only=${name}`, "--json", "--margin=Infinity"];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`path ${name} could not be measured`);
  return JSON.parse(text) as Figures;
}

async function record(measured: readonly Figures[]): Promise<void> {
  const file = Bun.file(join(import.meta.dir, "results/budgets.json"));
  const kept = (await file.exists()) ? ((await file.json()) as Partial<Record<PathName, Recorded>>) : {};
  const load = loadavg()[0] ?? 0;
  for (const figures of measured) kept[figures.path] = { ...figures, at: new Date().toISOString(), load };
  await Bun.write(file, `${JSON.stringify(kept, undefined, 2)}\n`);
  const inOrder = names.flatMap((name) => kept[name] ?? []);
  writeSection("budgets", pageOf(inOrder));
}

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    json: { type: "boolean", default: false },
    margin: { type: "string", default: "1.5" },
    record: { type: "boolean", default: false },
  },
});
const margin = Number(values.margin);
const only = names.find((name) => name === values.only);
if (values.only !== undefined && only === undefined) throw new Error(`paths are ${names.join(", ")}`);

const all: Figures[] = [];
for (const name of only === undefined ? names : [only]) {
  const figures = only === undefined ? await measureApart(name) : await measurePath(name);
  all.push(figures);
  console.log(values.json ? JSON.stringify(figures) : textOf(figures, margin));
}
if (values.record) await record(all);
process.exit(all.some((figures) => isOver(figures, margin)) ? 1 : 0);
