/**
 * Draws the plots of bench/plots, and writes their part of bench/RESULTS.md, from the numbers in bench/results/flat.json:
 * `bun bench/plots.ts`. Vega renders them as SVG without a browser; nothing is measured here.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FlatRecord, figureOf, type RecordedAxis, readFlat, writeFlat } from "./flat-record.ts";
import { installNpmPackages, loadPackage } from "./peers/harness/install.ts";
import type { SoakSlice } from "./soak.ts";

/** What is used of Vega. */
interface VegaPackage {
  parse(specification: unknown): unknown;
  readonly View: new (
    parsed: unknown,
    options: { readonly renderer: "none" },
  ) => { toSVG(): Promise<string> };
}
interface VegaLitePackage {
  compile(specification: unknown): { readonly spec: unknown };
}

interface Row {
  readonly x: number;
  readonly y: number;
  readonly series: string;
}

interface Panel {
  readonly title: string;
  readonly rows: readonly Row[];
  readonly isLogarithmic?: boolean;
}

const folder = join(import.meta.dir, "plots");

export async function drawPlots(record: FlatRecord | undefined = readFlat()): Promise<void> {
  if (record === undefined) throw new Error("nothing is recorded; run bench/flat.ts");
  installNpmPackages();
  mkdirSync(folder, { recursive: true });
  for (const axis of record.axes) {
    await draw(axis.name, axis.title, axis.load, { title: axis.xTitle, isLogarithmic: true }, panelsOf(axis));
  }
  const { soak } = record;
  if (soak === undefined) return;
  const { slices } = soak;
  let seconds = 0;
  const ends = slices.map((slice) => (seconds += slice.seconds));
  const rows = (pick: (slice: SoakSlice) => number, series = "server") =>
    slices.map((slice, i) => ({ x: ends[i] ?? 0, y: pick(slice), series }));
  await draw("soak", "Time of running", "one server, 256 callers, single events", { title: "seconds" }, [
    { title: "events/s", rows: rows((slice) => slice.events / slice.seconds) },
    {
      title: "latency, ms",
      rows: [...rows(({ p50Ms }) => p50Ms, "p50"), ...rows(({ p99Ms }) => p99Ms, "p99")],
    },
    { title: "memory of the server, MB", rows: rows(({ rssBytes }) => rssBytes / 1e6) },
    { title: "data directory, GB", rows: rows(({ diskBytes }) => diskBytes / 1e9) },
  ]);
}

function panelsOf(axis: RecordedAxis): Panel[] {
  const rows = (scale: number, suffix: string, ...paths: readonly string[]): Row[] =>
    axis.series.flatMap(({ name, points }) =>
      points.flatMap((point) => {
        const value = figureOf(point, ...paths);
        const factor = suffix === "MB/s" ? point.x / 1e6 : scale;
        const series = suffix === "" || suffix === "MB/s" ? name : `${suffix}, ${name}`;
        return value === undefined ? [] : [{ x: point.x, y: value * factor, series }];
      }),
    );
  if (axis.name === "cold") {
    return [{ title: "ms", rows: [...rows(1, "median", "medianMs"), ...rows(1, "largest", "maxMs")] }];
  }
  return [
    { title: "events/s", rows: rows(1, "", "eventsPerSecond"), isLogarithmic: axis.inBytes === true },
    ...(axis.inBytes ? [{ title: "MB/s", rows: rows(1, "MB/s", "eventsPerSecond") }] : []),
    {
      title: "latency, ms",
      rows: [...rows(1, "p50", "p50Ms"), ...rows(1, "p99", "p99Ms")],
      isLogarithmic: axis.inBytes === true,
    },
    { title: "memory, MB", rows: rows(1e-6, "", "rssBytes") },
  ];
}

interface XAxis {
  readonly title: string;
  readonly isLogarithmic?: boolean;
}

/** Panels beside each other over the same x. */
async function draw(
  name: string,
  title: string,
  subtitle: string,
  x: XAxis,
  panels: readonly Panel[],
): Promise<void> {
  const { parse, View } = await loadPackage<VegaPackage>("vega");
  const { compile } = await loadPackage<VegaLitePackage>("vega-lite");
  const specification = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    title: { text: title, subtitle, anchor: "start", fontSize: 15, subtitleColor: "#555" },
    config: { font: "sans-serif", axis: { gridColor: "#e6e6e6", labelFontSize: 11, titleFontSize: 11 } },
    resolve: { scale: { color: "independent", y: "independent" } },
    hconcat: panels.map((panel) => panelOf(panel, x)),
  };
  const svg = await new View(parse(compile(specification).spec), { renderer: "none" }).toSVG();
  writeFileSync(join(folder, `${name}.svg`), `${svg}\n`);
  console.error(`bench/plots/${name}.svg`);
}

function panelOf({ title, rows, isLogarithmic }: Panel, x: XAxis): object {
  const hasSeries = new Set(rows.map(({ series }) => series)).size > 1;
  return {
    width: 250,
    height: 180,
    data: { values: rows },
    mark: { type: "line", point: rows.length < 60 ? { size: 35 } : false, strokeWidth: 2 },
    encoding: {
      x: {
        field: "x",
        type: "quantitative",
        title: x.title,
        scale: x.isLogarithmic ? { type: "log", nice: false } : {},
        axis: {
          format: "~s",
          ...(x.isLogarithmic ? { tickCount: 7, labelOverlap: true } : { tickCount: 6 }),
        },
      },
      y: {
        field: "y",
        type: "quantitative",
        title,
        // A cost that is flat is seen to be only above a scale that begins at zero.
        scale: isLogarithmic ? { type: "log" } : { zero: true },
        axis: { format: title === "events/s" ? "~s" : ",~f", tickCount: 6 },
      },
      ...(hasSeries
        ? {
            color: {
              field: "series",
              type: "nominal",
              title: null,
              legend: { orient: "bottom", columns: 1, labelLimit: 230 },
            },
          }
        : {}),
    },
  };
}

if (import.meta.main) {
  const record = readFlat();
  if (record !== undefined) writeFlat(record);
  await drawPlots(record);
}
