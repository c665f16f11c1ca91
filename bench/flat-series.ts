/**
 * What bench/flat.ts measures: for each axis, one setting that grows by factors while the rest stays, as commands whose
 * JSON line holds the figures.
 */
export interface Point {
  readonly x: number;
  /** Beginning with a file, as `bun` takes them; `warp bench` prints JSON by itself here. */
  readonly command: readonly string[];
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Axis {
  readonly name: string;
  /** What grows. */
  readonly title: string;
  readonly xTitle: string;
  /** What stays. */
  readonly load: string;
  readonly series: readonly Series[];
  /** Where throughput is better told in bytes than in events. */
  readonly inBytes?: true;
}

const powers = (from: number, to: number, base = 10): number[] => {
  const values: number[] = [];
  for (let value = base ** from; value <= base ** to; value *= base) values.push(value);
  return values;
};

export interface FlatOptions {
  readonly seconds: number;
  /** The largest directory, events per entity and so on are left out above it. */
  readonly largest: number;
}

export function axesOf({ seconds, largest }: FlatOptions): readonly Axis[] {
  const time = ["--seconds", String(seconds), "--warmup", "2"];
  const inProcess = (...options: readonly string[]) => [
    "src/main.ts",
    "bench",
    "--in-process",
    ...time,
    ...options,
  ];
  const overTcp = (...options: readonly string[]) => ["src/main.ts", "bench", ...time, ...options];
  const short = ["--yardstick", "1"];
  const upTo = (values: readonly number[], limit: number) =>
    values.filter((value) => value <= Math.min(limit, largest));
  const points = (values: readonly number[], command: (x: number) => readonly string[]): Point[] =>
    values.map((x) => ({ x, command: command(x) }));

  const entities = upTo(powers(3, 7), 1e7);
  const history = upTo(powers(0, 6), 1e6);
  return [
    {
      name: "entities",
      title: "Entities in the directory",
      xTitle: "entities",
      load: "in process, 256 callers, single events of 100 bytes",
      series: [
        {
          name: "1,000 of them busy",
          points: points(entities, (n) =>
            inProcess("--callers", "256", "--entities", `${n}`, "--active", "1000", ...short),
          ),
        },
        {
          name: "all of them busy",
          points: points(upTo(entities, 1e6), (n) =>
            inProcess("--callers", "256", "--entities", `${n}`, "--uniform", ...short),
          ),
        },
      ],
    },
    {
      name: "history",
      title: "Events that an entity has already",
      xTitle: "events per entity",
      load: "in process, 256 callers, single events of 100 bytes, 16 entities",
      series: [
        {
          name: "16 entities",
          points: points(history, (n) =>
            inProcess("--callers", "256", "--entities", "16", "--history", `${n}`, ...short),
          ),
        },
      ],
    },
    {
      name: "cold",
      title: "First read of an entity that is not in memory",
      xTitle: "events per entity",
      load: "16 entities one after the other, after a restart, files in the page cache",
      series: [
        {
          name: "first read",
          points: points(history, (n) => ["bench/cold.ts", `--events=${n}`, "--entities=16"]),
        },
      ],
    },
    {
      name: "bytes",
      title: "Bytes of one event",
      xTitle: "bytes of JSON",
      load: "in process, 64 callers, 1,000 entities, single events",
      inBytes: true,
      series: [
        {
          name: "64 callers",
          points: points([16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_000_000], (n) =>
            inProcess("--callers", "64", "--entities", "1000", "--bytes", `${n}`, "--yardstick", "0"),
          ),
        },
      ],
    },
    {
      name: "shards",
      title: "Shards",
      xTitle: "shards",
      load: "in process, 256 callers, 10,000 entities, single events of 100 bytes",
      series: [
        {
          name: "256 callers",
          points: points(powers(0, 4, 4), (n) => inProcess("--callers", "256", "--shards", `${n}`, ...short)),
        },
      ],
    },
    {
      name: "connections",
      title: "Connections",
      xTitle: "connections",
      load: "over TCP, 1,000 callers taking turns on all connections, 10,000 entities, single events of 100 bytes",
      series: [
        {
          name: "1,000 callers",
          points: points(upTo(powers(0, 4), 1e4), (n) =>
            overTcp("--callers", "1000", "--connections", `${n}`, ...short),
          ),
        },
      ],
    },
  ];
}
