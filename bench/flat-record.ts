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

/** How long it ran; 0 for none. */
export function soakSecondsOf(soak: SoakRecord | undefined): number {
  return soak?.slices.reduce((sum, { seconds }) => sum + seconds, 0) ?? 0;
}

function soakPart(soak: SoakRecord): string {
  const { date, machine, secondsAsked, lifeSeconds, slices } = soak;
  const beside = slices.filter(({ erased }) => erased > 0);
  const first = slices.findIndex(({ erased }) => erased > 0);
  const third = Math.ceil(beside.length / 3);
  const rows = [
    ["before the first erasure", slices.slice(0, first < 0 ? undefined : first)],
    ["beside erasures, first third", beside.slice(0, third)],
    ["second third", beside.slice(third, 2 * third)],
    ["last third", beside.slice(2 * third)],
  ] satisfies [string, readonly SoakSlice[]][];
  const cells = rows.map(([name, own]) => {
    const typical = (pick: (slice: SoakSlice) => number) =>
      own.length === 0 ? undefined : median(own.map(pick));
    const seconds = own.reduce((sum, slice) => sum + slice.seconds, 0);
    const events = own.reduce((sum, slice) => sum + slice.events, 0);
    return [
      name,
      `${seconds.toFixed(0)} s`,
      own.length === 0 ? "–" : count(events / seconds),
      own.length === 0 ? "–" : count(Math.min(...own.map((slice) => slice.events / slice.seconds))),
      ms(typical(({ p50Ms }) => p50Ms)),
      ms(typical(({ p99Ms }) => p99Ms)),
      megabytes(typical(({ rssBytes }) => rssBytes)),
      megabytes(typical(({ diskBytes }) => diskBytes)),
    ];
  });
  const ran = soakSecondsOf(soak);
  const events = slices.reduce((sum, slice) => sum + slice.events, 0);
  const erased = slices.reduce((sum, slice) => sum + slice.erased, 0);
  const waits = slices.flatMap(({ erasureP50Ms }) => (erasureP50Ms === undefined ? [] : [erasureP50Ms]));
  const asked = ran < secondsAsked ? ` of the ${secondsAsked} that it was told to run` : "";
  return `### Time of running

${date.slice(0, 10)}: a server under the load of 256 callers without a pause for ${ran.toFixed(0)} seconds${asked}, ${(events / 1e6).toFixed(1)} M events, to other
entities every minute, each erased ${lifeSeconds} seconds later: ${erased.toLocaleString("en-US")} erasures, ${waits.length === 0 ? "–" : ms(median(waits))} to the receipt of one
of the ten thousand that are asked for at once. Events per second are those of all the time, and of the slowest minute in it; latencies,
memory and directory are medians of the minutes, and so is the time to a receipt. ${machine}.

![Time of running](plots/soak.svg)

${table(["", "", "events/s", "slowest", "p50", "p99", "memory of the server", "data directory"], cells)}`;
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
