/**
 * The numbers of bench/flat.ts as they are recorded in bench/results/flat.json, and the tables made from them.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Axis, Point, Series } from "./flat-series.ts";
import { median, valuesAt } from "./results-page.ts";
import { writeSection } from "./sections.ts";
import type { SoakRecord, SoakSlice } from "./soak.ts";

export interface RecordedPoint extends Point {
  /** The JSON lines, one a round. */
  readonly lines: readonly unknown[];
}
export interface RecordedSeries extends Series {
  readonly points: readonly RecordedPoint[];
}
export interface RecordedAxis extends Axis {
  readonly series: readonly RecordedSeries[];
}
export interface FlatRecord {
  date: string;
  axes: readonly RecordedAxis[];
  soak: SoakRecord | undefined;
}

const path = join(import.meta.dir, "results/flat.json");

export function readFlat(): FlatRecord | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as FlatRecord) : undefined;
}

export function writeFlat(record: FlatRecord): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record, undefined, 1)}\n`);
  writeSection("flat", flatSection(record));
}

/** A figure of a point: the median of its rounds, or undefined when it was not measured. */
export function figureOf(point: RecordedPoint, ...paths: readonly string[]): number | undefined {
  const values = paths.map((path) => valuesAt(point.lines, path)).find((found) => found.length > 0);
  return values === undefined ? undefined : median(values);
}

function flatSection({ date, axes, soak }: FlatRecord): string {
  const parts = axes.map((axis) => {
    const rows = axis.series.flatMap(({ name, points }) =>
      points.map((point) => [name, ...cellsOf(axis, point)]),
    );
    const isCold = axis.name === "cold";
    const head = isCold
      ? ["", axis.xTitle, "median", "largest"]
      : [
          "",
          axis.xTitle,
          axis.inBytes ? "events/s (MB/s)" : "events/s",
          "÷ rows/s of SQLite",
          "p50",
          "p99",
          "memory",
        ];
    return `### ${axis.title}\n\n${axis.load}\n\n![${axis.title}](plots/${axis.name}.svg)\n\n${table(head, rows)}`;
  });
  return `## What more of everything costs

Written by \`bun bench/flat.ts\` on ${date.slice(0, 10)}; raw numbers in \`bench/results/flat.json\`. One setting grows, the rest stays as
named. Memory is of the process of the engine.

${[...parts, ...(soak === undefined ? [] : [soakPart(soak)])].join("\n\n")}`;
}

function cellsOf(axis: RecordedAxis, point: RecordedPoint): string[] {
  const x = point.x.toLocaleString("en-US");
  if (axis.name === "cold") return [x, ms(figureOf(point, "medianMs")), ms(figureOf(point, "maxMs"))];
  const perSecond = figureOf(point, "eventsPerSecond");
  const inBytes = perSecond === undefined ? "" : ` (${((perSecond * point.x) / 1e6).toFixed(0)})`;
  return [
    x,
    `${count(perSecond)}${axis.inBytes ? inBytes : ""}`,
    figureOf(point, "ratios.toRows")?.toFixed(2) ?? "–",
    ms(figureOf(point, "p50Ms")),
    ms(figureOf(point, "p99Ms")),
    megabytes(figureOf(point, "rssBytes")),
  ];
}

function soakPart({ seconds, lifeSeconds, slices }: SoakRecord): string {
  const tenth = Math.max(1, Math.floor(slices.length / 10));
  const rows = [
    ["the first tenth", slices.slice(0, tenth)],
    ["all", slices],
    ["the last tenth", slices.slice(-tenth)],
  ] as const;
  const cells = rows.map(([name, own]) => {
    const typical = (pick: (slice: SoakSlice) => number) => median(own.map(pick));
    return [
      name,
      count(typical(({ eventsPerSecond }) => eventsPerSecond)),
      ms(typical(({ p50Ms }) => p50Ms)),
      ms(typical(({ p99Ms }) => p99Ms)),
      megabytes(typical(({ rssBytes }) => rssBytes)),
      megabytes(typical(({ diskBytes }) => diskBytes)),
    ];
  });
  const events = slices.at(-1)?.eventsSoFar ?? 0;
  const erased = slices.reduce((sum, slice) => sum + slice.erased, 0);
  const waits = slices.flatMap(({ erasureP50Ms }) => (erasureP50Ms === undefined ? [] : [erasureP50Ms]));
  return `### Time of running

A server under the load of 256 callers for ${seconds.toFixed(0)} seconds, ${(events / 1e6).toFixed(1)} M events, new entities all the time, each erased when it is ${lifeSeconds} seconds old:
${erased.toLocaleString("en-US")} erasures, ${waits.length === 0 ? "–" : ms(median(waits))} to the receipt

![Time of running](plots/soak.svg)

${table(["", "events/s", "p50", "p99", "memory of the server", "data directory"], cells)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function count(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 10_000 ? `${Math.round(value / 1000)} K` : value.toFixed(0);
}

function ms(value: number | undefined): string {
  return value === undefined ? "–" : `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}

function megabytes(value: number | undefined): string {
  return value === undefined ? "–" : `${(value / 1e6).toFixed(0)} MB`;
}
