/**
 * The part of bench/RESULTS.md about peers: a table of speeds, one of ratios, one of latencies, and what each peer was set to.
 */
import { median } from "../../results-page.ts";
import type { DiskSpeed } from "./disk.ts";
import { callsOfCaller } from "./load.ts";
import type { Record, RecordedPeer, Run } from "./record.ts";
import { entityCount, type Workload, workloads } from "./workloads.ts";

/** Systems that cannot be had from package registries, and why. */
const unavailable: Readonly<{ [name: string]: string }> = {
  ScyllaDB: "a C++ server that is distributed as packages of its own repository and as container images only",
  CockroachDB:
    "its Go module is sources without the generated code, which its own build (Bazel, a C++ toolchain) makes; no registry has the binary",
};

export function peersSection(record: Record): string {
  const { peers, processors } = record;
  // Systems that were measured together have the same ones.
  const disk = [
    ...new Map(peers.flatMap((peer) => peer.disk ?? []).map((one) => [JSON.stringify(one), one])).values(),
  ];
  const without = peers.filter((peer) => (peer.disk ?? []).length === 0).map(({ title }) => title);
  const syncs = (way: keyof DiskSpeed, bytes: number) =>
    spread(
      disk.map((speed) => speed[way][bytes] ?? Number.NaN),
      thousands,
    );
  const speeds = (way: keyof DiskSpeed) =>
    [4096, 32_768, 262_144].map((bytes) => syncs(way, bytes)).join(" / ");
  return `## Beside other systems

Written by \`bun bench/peers/run.ts\`; raw numbers in \`bench/results/peers.json\`. When, how often and how long each was measured stands in
the last table: those that a goal names longer than those that are far away. Client and server share the ${processors} processors of one machine. Each system is measured in turns with a
Warp of its own: both run, one at a time is driven, first one, then the other, workload by workload, and the next round the other way
round. A cell is the median over the rounds, with the smallest and the largest in brackets. After each round the events that the system
itself counts are compared with those that it acknowledged. 10,000 entities, with an event each before the first workload; a batch is one append to one entity.

- the disk, fdatasync/s of 4 / 32 / 256 KiB: ${speeds("direct")} past the page cache, as Warp's journal writes; ${speeds("cached")} through it${without.length === 0 ? "" : `; not kept for ${without.join(", ")}`}

### Speed, in thousands per second

Events appended, or states read (“reads”), or both together (“mixed”). Below each is the Warp that took turns with it, a server beside servers
and the library beside libraries.

${table(["", ...headings], peers.flatMap(speedRows))}

### How many times as fast Warp is

Warp's speed over the peer's, from the same round, minute and machine; servers against Warp's server, libraries against Warp in process.
³ The peer's client kept a whole processor busy: it is measured as much as the peer.

${table(
  ["", ...headings],
  peers
    .filter(isMeasured)
    .map((peer) => [name(peer), ...workloads.map((workload) => ratios(peer, workload))]),
)}

### Latency, median and 99th percentile, ms

From the call to the continuation behind it, Warp's beside the same peer in the second line of each. A window with fewer calls than
${latestMin} has no 99th percentile, one with fewer than ${callsOfCaller} of each caller has neither: the slowest calls would be missing.

${table(["", ...headings], peers.filter(isMeasured).flatMap(latencyRows))}

### Processors that the client kept busy

The process that drives. Where it takes one (its main thread, and what its runtime does beside it), the client is what is measured. A library
is part of it.

${table(["", ...headings], peers.filter(isMeasured).flatMap(clientRows))}

### What each was set to

${table(["", "version", "client", "durable by", "seq of an event", "a batch", "current state", "measured"], peers.map(notesRow))}

${marks(peers)}Not measured: ${Object.entries(unavailable)
    .map(([title, why]) => `${title} (${why})`)
    .join("; ")}.`;
}

const beside = "– Warp beside it";
const headings = workloads.map(({ title }) => title);
const isMeasured = ({ runs }: RecordedPeer) => runs.length > 0;

function name({ title, notes }: RecordedPeer): string {
  return notes.isDurable ? title : `${title} (not durable)`;
}

function speedOf({ eventsPerSecond, readsPerSecond }: Run): number {
  return eventsPerSecond + readsPerSecond;
}

function runsOf(peer: RecordedPeer, workload: Workload, side: Run["side"]): Run[] {
  return peer.runs.filter((run) => run.workload === workload.name && run.side === side);
}

function speedRows(peer: RecordedPeer): string[][] {
  const cells = (side: Run["side"]) =>
    workloads.map((workload) => {
      const runs = runsOf(peer, workload, side);
      const isCut = runs.some(
        ({ eventsPerSecond, seconds }) => Math.round(eventsPerSecond * seconds) < (workload.events ?? 0),
      );
      return `${spread(runs.map(speedOf), kilo)}${isCut ? " ²" : ""}`;
    });
  return [
    [peer.failure === undefined ? name(peer) : `${name(peer)} ¹`, ...cells("peer")],
    [beside, ...cells("warp")],
  ];
}

/** A client that takes so much of a processor answers no faster than it can. */
const fullClient = 0.9;
const busyOf = ({ clientBusy }: Run) => clientBusy;

function clientRows(peer: RecordedPeer): string[][] {
  const cells = (side: Run["side"]) =>
    workloads.map((workload) => {
      const runs = runsOf(peer, workload, side);
      return runs.length === 0 ? "–" : median(runs.map(busyOf)).toFixed(2);
    });
  return [
    [name(peer), ...cells("peer")],
    [beside, ...cells("warp")],
  ];
}

function ratios(peer: RecordedPeer, workload: Workload): string {
  const warp = runsOf(peer, workload, "warp");
  const pairs = runsOf(peer, workload, "peer").flatMap((run) => {
    const beside = warp.find(({ round }) => round === run.round);
    return beside === undefined ? [] : [speedOf(beside) / speedOf(run)];
  });
  const runs = runsOf(peer, workload, "peer");
  const isFull = peer.partner === "warp-tcp" && runs.length > 0 && median(runs.map(busyOf)) >= fullClient;
  const ratio = spread(pairs, (ratio) => ratio.toFixed(ratio < 2 ? 2 : ratio < 10 ? 1 : 0));
  return isFull ? `${ratio} ³` : ratio;
}

/** Calls of a window, at least, of which a hundredth says something. */
const latestMin = 1000;

/** Calls that ended in the window; older records have no count of their own. */
function callsOf(
  { completions, eventsPerSecond, readsPerSecond, seconds }: Run,
  { batch }: Workload,
): number {
  return completions ?? Math.round((eventsPerSecond / batch + readsPerSecond) * seconds);
}

function latencyRows(peer: RecordedPeer): string[][] {
  const cells = (side: Run["side"]) =>
    workloads.map((workload) => {
      const runs = runsOf(peer, workload, side);
      const calls = Math.min(...runs.map((run) => callsOf(run, workload)));
      if (runs.length === 0 || calls < callsOfCaller * workload.callers) return "–";
      const p99 = calls < latestMin ? "–" : ms(median(runs.map(({ p99Ms }) => p99Ms)));
      return `${ms(median(runs.map(({ p50Ms }) => p50Ms)))} / ${p99}`;
    });
  return [
    [name(peer), ...cells("peer")],
    [beside, ...cells("warp")],
  ];
}

function notesRow(peer: RecordedPeer): string[] {
  const { client, durability, isDurable, seq, batch, state } = peer.notes;
  const rounds = new Set(peer.runs.map(({ round }) => round)).size;
  const when = `${peer.date.slice(0, 10)}, ${rounds} × ${Number(peer.seconds.toFixed(1))} s, load average ${spread(peer.loads, (load) => load.toFixed(1))}`;
  const where = peer.machine === undefined ? "" : `; ${peer.machine.split(",")[0]}`;
  return [
    peer.title,
    peer.version || "–",
    client,
    isDurable ? durability : `**not durable:** ${durability}`,
    seq,
    batch,
    state,
    `${when}${where}`,
  ];
}

function marks(peers: readonly RecordedPeer[]): string {
  const failed = peers.filter(({ failure }) => failure !== undefined);
  const wrong = peers.filter(({ counts }) =>
    counts.some(({ acknowledged, counted }) => acknowledged !== counted),
  );
  const counted = peers.flatMap(({ counts }) =>
    counts.filter(({ side }) => side === "peer").map((count) => count.counted),
  );
  const few = peers.filter(({ counts }) => counts.some(({ entities }) => entities < entityCount));
  const lines = [
    ...few.map(
      ({ title, counts }) =>
        `${title} had ${thousands(Math.min(...counts.map(({ entities }) => entities)))} entities or more: it made no more of them in ten seconds.`,
    ),
    "² Fewer than the million: the time was over before.",
    ...failed.map(({ title, failure }) => `¹ ${title}: ${(failure ?? "").split("\n").join(" ")}`),
    ...wrong.map(({ title }) => `**${title} did not hold exactly what it had acknowledged.**`),
    wrong.length === 0
      ? `All of them held exactly the events that they had acknowledged (${kilo(counted.reduce((a, b) => a + b, 0))} thousand in all).`
      : "",
  ];
  return lines
    .filter((line) => line !== "")
    .map((line) => `${line}\n\n`)
    .join("");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function spread(values: readonly number[], format: (value: number) => string): string {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return "–";
  const middle = format(median(known));
  return known.length === 1
    ? middle
    : `${middle} (${format(Math.min(...known))}–${format(Math.max(...known))})`;
}

function kilo(perSecond: number): string {
  const value = perSecond / 1000;
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function ms(value: number): string {
  return value < 1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function thousands(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}
