/**
 * `warp bench`: what this machine does, measured against what its disk and processor do without Warp: over TCP with a
 * server of its own, on a server that runs (--addr), or with the engine in this process (--in-process).
 *
 * The figures of bench/RESULTS.md come from this verb; docs and comparisons name the command line that shows them.
 */
import { Option } from "commander";
import { defaultWriters } from "../../core/settings.ts";
import { exitCode, UsageError } from "../exit.ts";
import { cliLogger } from "../log.ts";
import { formatBytes, formatCount } from "../progress.ts";
import { addCreateOptions, wholeNumber } from "../settings.ts";
import type { Verb } from "../verb.ts";
import type { LoadResult } from "./bench/load.ts";
import { eventBytesMin } from "./bench/payload.ts";
import { type BenchResult, type BenchSettings, runBench } from "./bench/run-bench.ts";

interface BenchOptions {
  readonly addr?: string;
  readonly http?: string;
  readonly inProcess?: true;
  readonly data?: string;
  readonly callers: number;
  readonly entities: number;
  readonly active?: number;
  readonly uniform?: true;
  readonly cold?: true;
  readonly lookup?: true;
  readonly history: number;
  readonly connections: number;
  readonly apart?: true;
  readonly batch: number;
  readonly bytes: number;
  readonly mixed: number;
  readonly zipf?: true;
  readonly seconds: number;
  readonly warmup: number;
  readonly events?: number;
  readonly read?: true;
  readonly mode?: "actor" | "log";
  readonly durability?: "fsync" | "os";
  readonly shards?: number;
  readonly writers?: number;
  readonly seed: number;
  readonly yardstick: number;
}

const count = wholeNumber(1);

export const benchVerb: Verb = {
  name: "bench",
  summary: "measure appends or reads on this machine, next to plain SQLite and plain fdatasync",
  examples: [
    ["warp bench --callers 256", "256 callers append to a server that is started for it, over TCP"],
    [
      "warp bench --addr 127.0.0.1:7400 --http 127.0.0.1:7401",
      "the same on a server that runs; its metrics tell its backlog",
    ],
    ["warp bench --read --callers 64", "64 callers read states over TCP"],
    [
      "warp bench --in-process --callers 256 --seconds 10",
      "256 callers append single events for ten seconds",
    ],
    [
      "warp bench --in-process --callers 16 --batch 500 --json",
      "batches of 500, the result as one JSON line",
    ],
    [
      "warp bench --in-process --entities 1000000 --active 10000",
      "a million entities on disk, of which ten thousand are busy",
    ],
    ["warp bench --in-process --read", "reads of states that are in memory, in ns"],
  ],

  define(command) {
    command
      .option("--addr <host:port>", "a server that runs, instead of one that is started for this")
      .option(
        "--http <host:port>",
        "where that server answers HTTP: its metrics tell backlog and processor time",
      )
      .addOption(
        new Option("--in-process", "run the engine in this process, without a server").conflicts([
          "addr",
          "http",
        ]),
      )
      .option("--callers <count>", "callers; each appends, waits, appends again", count, 16)
      .option(
        "--entities <count>",
        "entities, chosen at random for each append",
        wholeNumber(1, 100_000_000),
        10_000,
      )
      .option(
        "--active <count>",
        "make all entities first, with none in memory, then drive so many of them",
        count,
      )
      .addOption(
        new Option("--uniform", "make all entities first, then drive all of them").conflicts("active"),
      )
      .option("--cold", "make all entities first, with none in memory when the run begins")
      .option("--lookup", "look entities up by id at each call instead of keeping handles")
      .option(
        "--history <events>",
        "give each driven entity so many events first",
        wholeNumber(0, 10_000_000),
        0,
      )
      .option(
        "--connections <count>",
        "connections that calls are spread over, over TCP",
        wholeNumber(1, 10_000),
        1,
      )
      .addOption(
        new Option(
          "--apart",
          "keep the server's main thread and the client on processors of their own (Linux)",
        ).conflicts(["addr", "inProcess"]),
      )
      .option("--batch <events>", "events of one append", wholeNumber(1, 10_000), 1)
      .option(
        "--bytes <bytes>",
        "JSON of one event's data, about",
        wholeNumber(eventBytesMin, 1_000_000),
        100,
      )
      .option("--mixed <percent>", "share of the calls that read instead of appending", wholeNumber(0, 99), 0)
      .option("--zipf", "choose few entities mostly, by Zipf's law, instead of all alike")
      .option("--seconds <seconds>", "measured time", count, 10)
      .option("--warmup <seconds>", "time before it that is not measured", wholeNumber(0), 3)
      .option("--events <count>", "end after so many measured events, at the latest after --seconds", count)
      .option("--read", "measure reads of states in memory instead of appends")
      .option("--writers <count>", "shard writers (default: one per two processors)", wholeNumber(1, 32))
      .option("--seed <number>", "what the choices follow from", wholeNumber(0, 0xffff_ffff), 1)
      .option("--yardstick <seconds>", "time for each of the two yardsticks, 0 for none", wholeNumber(0), 2)
      .option("--data <dir>", "new data directory, kept afterwards (default: a temporary one)");
    addCreateOptions(command);
  },

  async run(command, { output, errors, signal }) {
    const options = command.opts<BenchOptions>();
    checkServerOptions(options);
    const result = await runBench(settingsOf(options), cliLogger(errors, output.json), signal);
    await output.item(lineOf(result), textOf(result));
    return exitCode.ok;
  },
};

/** What only a server of the run's own, or only one that was there before, can be told. */
function checkServerOptions(options: BenchOptions): void {
  if (options.addr === undefined) {
    if (options.http !== undefined) throw new UsageError("--http goes with --addr");
    return;
  }
  const own = ["data", "shards", "mode", "durability", "writers"] as const;
  const other = own.find((name) => options[name] !== undefined);
  if (other !== undefined) {
    throw new UsageError(`--${other} is the server's to say and does not go with --addr`);
  }
  if (options.active !== undefined || options.cold === true) {
    throw new UsageError("--active and --cold start the server again, which does not go with --addr");
  }
}

function settingsOf(options: BenchOptions): BenchSettings {
  const { callers, entities, history, connections, batch, bytes, mixed, seconds, seed } = options;
  const active = options.active ?? entities;
  if (active > entities) throw new UsageError("--active is at most --entities");
  if (connections > 1 && options.inProcess === true) {
    throw new UsageError("--connections are those of a server and do not go with --in-process");
  }
  return {
    inProcess: options.inProcess === true,
    addr: options.addr,
    http: options.http,
    ...{ callers, entities, active, history, connections, batch, bytes, mixed, seconds, seed },
    apart: options.apart === true,
    zipf: options.zipf === true,
    create: options.active !== undefined || options.uniform === true || options.cold === true,
    cold: options.active !== undefined || options.cold === true,
    lookup: options.lookup === true,
    warmupSeconds: options.warmup,
    events: options.events,
    read: options.read === true,
    mode: options.mode ?? "actor",
    durability: options.durability ?? "fsync",
    shards: options.shards ?? 16,
    writers: options.writers ?? defaultWriters(),
    yardstickSeconds: options.yardstick,
    dataDir: options.data,
  };
}

/** The JSON line: what matters most stands first and flat. */
function lineOf(result: BenchResult): object {
  const { load, settings, ...rest } = result;
  const { mode, durability, shards, writers, ...own } = settings;
  // A server that was there before has settings of its own, which it does not tell.
  return { ...load, ...rest, settings: settings.addr === undefined ? settings : own };
}

function textOf(result: BenchResult): string {
  const { load, reads, setup, yardsticks, ratios, settings, server } = result;
  const lines: string[] = [];
  if (server !== undefined) {
    const own = settings.apart ? "started for this run, apart from the client" : "started for this run";
    const whose = server.isChild ? own : `entities ${server.entityPrefix}*`;
    lines.push(`server ${server.address} (${whose}), aggregate ${server.aggregates[0] ?? "none"}`);
  }
  if (setup !== undefined) {
    const perSecond = formatCount(Math.round(setup.entities / setup.seconds));
    lines.push(
      `made ${formatCount(setup.entities)} entities in ${setup.seconds.toFixed(1)} s (${perSecond}/s)`,
    );
  }
  if (load !== undefined) {
    const { processor } = load;
    const threads = processor.threads.slice(0, 5).map(({ name, busy }) => `${name} ${busy.toFixed(2)}`);
    const beside =
      settings.mixed > 0 ? `, beside ${formatCount(Math.round(load.readsPerSecond))} reads/s` : "";
    const rate = settings.read
      ? `${formatCount(Math.round(load.readsPerSecond))} reads/s of states by ${settings.callers} callers`
      : `${formatCount(Math.round(load.eventsPerSecond))} events/s from ${settings.callers} callers, ${settings.batch} an append${beside}`;
    lines.push(
      rate,
      `latency p50 ${ms(load.p50Ms)}, p99 ${ms(load.p99Ms)}, p99.9 ${ms(load.p999Ms)}, largest ${ms(load.maxMs)}`,
      `processors busy ${processor.busy.toFixed(2)} of ${result.processors} (${threads.join(", ")})`,
    );
    if (processor.client !== undefined) {
      const ofServer = processor.server?.busy.toFixed(2) ?? "not told";
      lines.push(`processors of the client ${processor.client.busy.toFixed(2)}, of the server ${ofServer}`);
    }
    lines.push(memoryLine(load, result.drainSeconds));
  }
  if (reads !== undefined) {
    lines.push(
      `state by one handle ${reads.oneHandleNs.toFixed(1)} ns, by random handles ${reads.randomHandleNs.toFixed(1)} ns, by id ${reads.lookupNs.toFixed(1)} ns, awaited ${reads.awaitedNs.toFixed(1)} ns`,
    );
  }
  if (yardsticks !== undefined) {
    const rows = formatCount(Math.round(yardsticks.rowsPerSecond));
    const syncs = formatCount(Math.round(yardsticks.syncsPerSecond));
    const ratio = ratios === undefined ? "" : `; events are ${ratios.toRows.toFixed(2)} of the rows`;
    lines.push(`yardsticks: ${rows} rows/s of plain SQLite, ${syncs} fdatasync/s${ratio}`);
  }
  lines.push(`verified ${formatCount(result.verifiedEntities)} entities`);
  return lines.join("\n");
}

function memoryLine(load: LoadResult, drainSeconds: number | undefined): string {
  const { rssBytes, backlogStartBytes, backlogEndBytes } = load;
  if (rssBytes === undefined || backlogStartBytes === undefined || backlogEndBytes === undefined) {
    return "memory and backlog of the server are not told; --http says where to ask";
  }
  const drained = drainSeconds === undefined ? "" : `, drained in ${drainSeconds.toFixed(1)} s`;
  return `memory ${formatBytes(rssBytes)}; not settled ${formatBytes(backlogStartBytes)} at the start, ${formatBytes(backlogEndBytes)} at the end${drained}`;
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;
}
