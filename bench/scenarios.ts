/**
 * The runs behind bench/RESULTS.md: a name, the command that shows the figures, and which figures of its JSON line
 * stand on the page.
 */
export interface Figure {
  readonly name: string;
  /** Where it stands in the JSON line, with dots between the names. */
  readonly path: string;
  readonly format: (value: number) => string;
}

/** What a scenario must not fall below on two processors: `path` divided by `per` is at least, or at most, this. */
export interface Floor {
  readonly name: string;
  readonly path: string;
  readonly per?: string;
  readonly least?: number;
  readonly most?: number;
}

export interface Scenario {
  readonly name: string;
  readonly command: readonly string[];
  readonly figures: readonly Figure[];
  readonly floors?: readonly Floor[];
  /** Measured once and not every round: it takes long or fills the disk. */
  readonly isLarge?: boolean;
}

const count = (value: number): string =>
  value >= 100_000 ? `${Math.round(value / 1000)} K` : value.toFixed(0);
const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
const ns = (value: number): string => `${value.toFixed(0)} ns`;
const times = (value: number): string => value.toFixed(2);
const megabytes = (value: number): string => `${(value / 1e6).toFixed(0)} MB`;

const perSecond: Figure = { name: "events/s", path: "eventsPerSecond", format: count };
const toRows: Figure = { name: "× rows/s of SQLite", path: "ratios.toRows", format: times };
const p50: Figure = { name: "p50", path: "p50Ms", format: ms };
const p99: Figure = { name: "p99", path: "p99Ms", format: ms };
const largest: Figure = { name: "largest", path: "maxMs", format: ms };
const memory: Figure = { name: "memory", path: "rssBytes", format: megabytes };
const backlog: Figure = { name: "not settled at the end", path: "backlogEndBytes", format: megabytes };
const rows = "yardsticks.rowsPerSecond";
const rowsFloor = (least: number): Floor => ({ name: "× rows/s", path: "eventsPerSecond", per: rows, least });
const load = [perSecond, toRows, p50, p99, largest, backlog];

/** Over TCP, with a server of its own on the same processors. */
const benchOverTcp = (...options: readonly string[]): readonly string[] => [
  "src/main.ts",
  "bench",
  ...options,
];

const bench = (...options: readonly string[]): readonly string[] => [
  "src/main.ts",
  "bench",
  "--in-process",
  ...options,
];

export function scenariosOf(seconds: number, events: number): readonly Scenario[] {
  const timed = ["--seconds", String(seconds)];
  const short = ["--seconds", String(Math.min(seconds, 10))];
  const readsPerSecond: Figure = { name: "reads/s", path: "readsPerSecond", format: count };
  return [
    {
      name: "singles, 16 callers",
      command: bench("--callers", "16", ...timed),
      figures: [...load, { name: "÷ (16 × fdatasync/s)", path: "ratios.toSyncs", format: times }],
      floors: [{ name: "÷ (16 × fdatasync/s)", path: "ratios.toSyncs", least: 0.3 }],
    },
    {
      name: "singles, 256 callers",
      command: bench("--callers", "256", ...timed),
      figures: load,
      floors: [rowsFloor(0.35), { name: "p99, ms", path: "p99Ms", most: 10 }],
    },
    {
      name: "singles, 1,000 callers",
      command: bench("--callers", "1000", ...timed),
      figures: load,
      floors: [rowsFloor(0.45)],
    },
    {
      name: "batches of 500, 16 callers",
      command: bench("--callers", "16", "--batch", "500", ...timed),
      figures: load,
      floors: [rowsFloor(2)],
    },
    {
      name: "over TCP: singles, 256 callers",
      command: benchOverTcp("--callers", "256", ...short),
      figures: load,
      floors: [rowsFloor(0.2)],
    },
    {
      name: "over TCP: singles, 1,000 callers",
      command: benchOverTcp("--callers", "1000", ...short),
      figures: load,
      floors: [rowsFloor(0.2)],
    },
    {
      name: "over TCP: batches of 500, 16 callers",
      command: benchOverTcp("--callers", "16", "--batch", "500", ...short),
      figures: load,
      floors: [rowsFloor(1)],
    },
    {
      name: "over TCP: reads of state, 256 callers",
      command: benchOverTcp("--read", "--callers", "256", ...short),
      figures: [readsPerSecond, p50, p99, largest],
      floors: [{ name: "× rows/s", path: "readsPerSecond", per: rows, least: 0.25 }],
    },
    {
      name: "state reads in memory",
      command: bench("--read", ...short),
      figures: [
        { name: "one handle", path: "reads.oneHandleNs", format: ns },
        { name: "random handles", path: "reads.randomHandleNs", format: ns },
        { name: "by id", path: "reads.lookupNs", format: ns },
        { name: "awaited", path: "reads.awaitedNs", format: ns },
      ],
      floors: [{ name: "by handle, ns", path: "reads.oneHandleNs", most: 100 }],
    },
    {
      name: "cold entity: 10,000 events and a snapshot",
      command: ["bench/cold.ts"],
      figures: [
        { name: "first of the process", path: "firstMs", format: ms },
        { name: "median of the others", path: "medianMs", format: ms },
        { name: "largest of the others", path: "maxMs", format: ms },
      ],
    },
    {
      name: "1 M entities on disk, 10,000 active, 256 callers",
      command: bench("--callers", "256", "--entities", "1000000", "--active", "10000", ...short),
      figures: [...load, memory],
    },
    {
      name: "1 M entities in memory, uniform, 256 callers",
      command: bench("--callers", "256", "--entities", "1000000", "--uniform", ...short),
      figures: [...load, memory],
    },
    {
      name: "1 M entities, uniform, none in memory at first, 256 callers",
      command: bench("--callers", "256", "--entities", "1000000", "--uniform", "--cold", ...short),
      figures: load,
    },
    {
      name: "start after a kill under load, 1 GiB in shards",
      command: ["bench/restart.ts"],
      figures: [
        { name: "start", path: "startMs", format: ms },
        { name: "to the first acknowledged append", path: "firstAppendMs", format: ms },
        { name: "shards", path: "shardBytes", format: megabytes },
      ],
      isLarge: true,
    },
    {
      name: `${(events / 1e6).toFixed(0)} M events, batches of 500, 16 callers`,
      command: bench(
        ...["--callers", "16", "--batch", "500", "--entities", "100000"],
        ...["--events", String(events), "--warmup", "0", "--seconds", "3600"],
      ),
      figures: [...load, memory, { name: "seconds", path: "seconds", format: times }],
      isLarge: true,
    },
  ];
}
