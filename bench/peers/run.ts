/**
 * Measures every peer beside Warp and writes the table into bench/RESULTS.md, the numbers into bench/results/peers.json:
 *
 * `bun bench/peers/run.ts [--seconds=5] [--rounds=3] [--only=redis,postgres] [--workloads=single-256] [--dry]`
 *
 * - `--seconds` and `--rounds` are those of the peers that a goal names or that are the best of something; the others get a third of the
 *   time, but not less than 5 s of it, and two thirds of the rounds. `--only` measures some and leaves the recorded numbers of the others; `--dry` writes nothing.
 * - Peers take turns: every round has all of them. Each pair runs in a process group of its own, which is ended with
 *   everything in it when its time is over, and when this is interrupted.
 * - The record is written whenever a peer has had its last round. The numbers of one that fails, or has not had all of its rounds or
 *   workloads, do not replace those that are on record.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { memorySettings } from "../../src/cli/own-process.ts";
import { machineLine } from "../machine.ts";
import { measureDisk } from "./harness/disk.ts";
import type { Peer } from "./harness/peer.ts";
import { type Record as PeerRecord, readRecord, writeRecord } from "./harness/record.ts";
import { workloads } from "./harness/workloads.ts";
import type { PairLine } from "./pair.ts";
import { peers, warpForms } from "./peers.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    workloads: { type: "string", default: "" },
    dry: { type: "boolean", default: false },
  },
});

const wanted = values.only === "" ? peers.map(({ name }) => name) : values.only.split(",");
const chosen = peers.filter(({ name }) => wanted.includes(name));
if (chosen.length < wanted.length) {
  throw new Error(`--only=${values.only}: there are ${peers.map(({ name }) => name).join(", ")}`);
}
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
/** A window has to be long beside what one call takes, which is a second and more for some. */
const farSeconds = Math.min(seconds, Math.max(5, seconds / 3));
const secondsOf = ({ isClose }: Peer) => (isClose === true ? seconds : farSeconds);
const roundsOf = ({ isClose }: Peer) => (isClose === true ? rounds : Math.ceil((rounds * 2) / 3));

let current: Bun.Subprocess | undefined;
let directory: string | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    endCurrent();
    removeFiles();
    process.exit(130);
  });
}

const failures = new Map<string, string>();
for (const form of warpForms) await form.install();
for (const peer of chosen) {
  try {
    await peer.install();
  } catch (thrown) {
    failures.set(peer.name, messageOf(thrown));
    console.error(`${peer.name} cannot be installed: ${messageOf(thrown)}`);
  }
}
const date = new Date().toISOString();
const record: PeerRecord = {
  processors: availableParallelism(),
  peers: chosen.map((peer) => ({
    ...{ name: peer.name, title: peer.title, partner: peer.partner, notes: peer.notes, version: "" },
    ...{ date, machine: machineLine(), seconds: secondsOf(peer), disk: [], loads: [], runs: [], counts: [] },
  })),
};
for (let round = 1; round <= rounds; round++) {
  const disk = measureDisk(1);
  for (const peer of chosen.filter((peer) => round <= roundsOf(peer) && !failures.has(peer.name))) {
    const own = record.peers.find(({ name }) => name === peer.name);
    own?.loads.push(loadavg()[0] ?? 0);
    own?.disk?.push(disk);
    try {
      await measurePair(peer, round);
    } catch (thrown) {
      failures.set(peer.name, messageOf(thrown));
      console.error(`${peer.name}, round ${round}: ${messageOf(thrown)}`);
    }
    if (round === roundsOf(peer)) keep();
  }
}
keep();
const wrong = record.peers.filter(({ counts }) =>
  counts.some(({ acknowledged, counted }) => acknowledged !== counted),
);
for (const { name } of wrong) console.error(`${name} does not hold exactly what was acknowledged`);
process.exit(failures.size + wrong.length === 0 ? 0 : 1);

function keep(): void {
  if (!values.dry) writeRecord({ ...record, peers: mergedPeers() });
}

/** In the order of the list: what was measured now and is whole, and what is on record of the others. */
function mergedPeers(): PeerRecord["peers"] {
  const onRecord = readRecord()?.peers ?? [];
  return peers.flatMap((peer) => {
    const [now, before] = [record.peers, onRecord].map((all) => all.find(({ name }) => name === peer.name));
    const failure = failures.get(peer.name);
    if (now === undefined || (failure === undefined && !isWhole(peer, now))) return before ?? [];
    return failure === undefined ? now : { ...(before ?? now), failure };
  });
}

function isWhole(peer: Peer, { runs, counts }: PeerRecord["peers"][number]): boolean {
  const counted = counts.filter(({ side }) => side === "peer").length;
  const measured = runs.filter(({ side }) => side === "peer").length;
  return counted === roundsOf(peer) && measured === roundsOf(peer) * workloads.length;
}

async function measurePair(peer: Peer, round: number): Promise<void> {
  directory = mkdtempSync(join(tmpdir(), "warp-peers-"));
  chmodSync(directory, 0o755);
  const own = record.peers.find(({ name }) => name === peer.name);
  const args = {
    peer: peer.name,
    round,
    seconds: secondsOf(peer),
    workloads: values.workloads,
    directory,
  };
  const flags = Object.entries(args).map(([name, value]) => `--${name}=${value}`);
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "pair.ts"), ...flags], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    // In a group of its own, which can be ended whole.
    detached: true,
    // Memory is kept as `warp serve` and `warp bench` keep theirs (ADR 0017).
    env: { ...process.env, ...memorySettings, BUN_CONFIG_MAX_HTTP_REQUESTS: "4000" },
  });
  current = child;
  // A window may be prolonged, or be opened once more, and a system may take its time to come to rest.
  const patience = setTimeout(endCurrent, (180 + workloads.length * 2 * (secondsOf(peer) * 5 + 25)) * 1000);
  let failure: string | undefined;
  try {
    for await (const line of linesOf(child.stdout)) {
      console.error(`round ${round}, ${peer.name}: ${line}`);
      const told = JSON.parse(line) as PairLine;
      if (own === undefined) continue;
      if ("failure" in told) {
        failure = told.failure;
      } else if ("run" in told) {
        own.runs.push({ round, workload: told.run, side: told.side, ...told.measured });
      } else {
        own.counts.push({ round, side: told.side, ...told.count });
        if (told.side === "peer") own.version = told.version;
      }
    }
    const status = await child.exited;
    if (current === undefined) throw new Error("the run took too long and was ended");
    if (status !== 0) throw new Error(failure ?? `the run ended with status ${status}`);
  } finally {
    clearTimeout(patience);
    endCurrent();
    await child.exited;
    removeFiles();
  }
}

/** What a pair has left. Those of its processes that are being ended may still write for a moment. */
function removeFiles(): void {
  if (directory === undefined) return;
  try {
    rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  } catch (thrown) {
    console.error(`${directory} stays: ${messageOf(thrown)}`);
  }
  directory = undefined;
}

/** Ends the pair's processes. Nothing is left to do when it ended by itself. */
function endCurrent(): void {
  if (current !== undefined) {
    try {
      process.kill(-current.pid, "SIGKILL");
    } catch {
      // All of the group have ended.
    }
  }
  current = undefined;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("{")) yield line;
  }
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
