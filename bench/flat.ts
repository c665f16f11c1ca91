/**
 * What it costs when there is more of everything: runs every point of bench/flat-series.ts, and then the same load for
 * minutes or hours on one server; records the numbers, draws the plots, and writes its part of bench/RESULTS.md.
 *
 * `bun bench/flat.ts [--seconds=3] [--rounds=1] [--largest=10000000] [--only=entities,soak] [--soak=120] [--life=600] [--again]`
 *
 * - What is on record is not measured again unless `--again` says so, point by point: a run that was interrupted goes on, one with more `--rounds`
 *   adds what is missing, and `--only` takes some axes at a time. All of it takes about 12 minutes on a quiet machine of two
 *   processors, of which the ten million entities are three.
 * - `--soak=SECONDS` is how long the server runs under load; `--only=soak --soak=14400` is a run of four hours. Its entities are erased
 *   when they are `--life` seconds old, so it takes 15 GB of disk, and more for each minute by which erasing is behind.
 * - Points of one round are run in an order that is turned round in the next.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type FlatRecord, readFlat, soakSecondsOf, writeFlat } from "./flat-record.ts";
import { axesOf } from "./flat-series.ts";
import { drawPlots } from "./plots.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "1" },
    largest: { type: "string", default: "10000000" },
    soak: { type: "string", default: "120" },
    life: { type: "string", default: "600" },
    only: { type: "string", default: "" },
    again: { type: "boolean", default: false },
  },
});
const only = values.only === "" ? undefined : values.only.split(",");
const isChosen = (name: string) => only?.includes(name) ?? true;
const root = join(import.meta.dir, "..");
const recorded: FlatRecord = readFlat() ?? { date: "", axes: [], soak: undefined };

const chosen = axesOf({ seconds: Number(values.seconds), largest: Number(values.largest) }).filter(
  ({ name }) => isChosen(name),
);
const axes = chosen.map((axis) => ({
  ...axis,
  series: axis.series.map(({ name, points }) => ({
    name,
    points: points.map(({ x, command }) => {
      const before = linesOnRecord(axis.name, name, x);
      return { x, command, before, lines: values.again ? [] : [...before] };
    }),
  })),
}));
for (let round = 1; round <= Number(values.rounds); round++) {
  const points = axes.flatMap(({ name, series }) =>
    series.flatMap((one) => one.points.map((point) => ({ ...point, name: `${name}, ${one.name}` }))),
  );
  if (round % 2 === 0) points.reverse();
  for (const { name, x, command, lines } of points) {
    if (lines.length >= round) continue;
    try {
      let line = await runOnce(command);
      // A window that stayed open much longer than asked for: the whole machine stood still meanwhile.
      if (isStretched(JSON.parse(line))) line = await runOnce(command);
      console.error(`round ${round}, ${name}, ${x}: ${line}`);
      lines.push(JSON.parse(line));
    } catch (thrown) {
      // A point that cannot be run is a gap in the plot, and is told; the others are measured.
      console.error(`round ${round}, ${name}, ${x}: ${thrown instanceof Error ? thrown.message : thrown}`);
    }
    save();
  }
}
// Hours are measured again only when they are asked for by name.
const soakOnRecord = values.again && only?.includes("soak") === true ? 0 : soakSecondsOf(recorded.soak);
if (isChosen("soak") && Number(values.soak) > soakOnRecord) {
  await soak({
    seconds: Number(values.soak),
    lifeSeconds: Number(values.life),
    onSlice(soFar) {
      // A shorter one does not take the place of a longer one.
      if (soakSecondsOf(soFar) <= soakOnRecord) return;
      recorded.soak = soFar;
      writeFlat(recorded);
    },
  });
}
await drawPlots();
process.exit(0);

/** What earlier runs measured of a point. */
function linesOnRecord(axis: string, series: string, x: number): readonly unknown[] {
  const known = recorded.axes.find(({ name }) => name === axis)?.series.find(({ name }) => name === series);
  return known?.points.find((point) => point.x === x)?.lines ?? [];
}

function save(): void {
  const kept = recorded.axes.filter(({ name }) => axes.every((axis) => axis.name !== name));
  recorded.axes = [...kept, ...axes.map(whatIsKnown)];
  recorded.date = new Date().toISOString();
  writeFlat(recorded);
}

/** A point that was not measured again yet keeps what earlier runs measured of it. */
function whatIsKnown(axis: (typeof axes)[number]): FlatRecord["axes"][number] {
  const series = axis.series.map(({ name, points }) => ({
    name,
    points: points.map(({ x, command, before, lines }) => ({
      x,
      command,
      lines: lines.length === 0 ? before : lines,
    })),
  }));
  return { ...axis, series };
}

function isStretched({ seconds }: { readonly seconds?: number }): boolean {
  return seconds !== undefined && seconds > 1.3 * Number(values.seconds);
}

/** The JSON line that the command prints; throws when it fails or takes more than ten minutes. */
async function runOnce(command: readonly string[]): Promise<string> {
  const json = command.includes("bench") ? ["--json"] : [];
  const child = Bun.spawn([process.execPath, ...command, ...json], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
    timeout: 600_000,
  });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`bun ${command.join(" ")} ended with status ${code}`);
  return text.trim();
}
