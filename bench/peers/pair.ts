/**
 * One round of one peer beside Warp, in a process of its own: both are started, take turns on every workload, and are
 * counted and stopped. Started by run.ts; prints one JSON line for each thing that it learns.
 *
 * - Which of the two goes first changes with the round, and from one workload to the next.
 * - It ends, with all that it started, when its standard input does: run.ts was stopped or killed.
 */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fill, Given, type Measured, runLoad } from "./harness/load.ts";
import type { Peer, RunningPeer } from "./harness/peer.ts";
import { Processes } from "./harness/processes.ts";
import { untilQuiet } from "./harness/quiet.ts";
import { type Workload, workloads } from "./harness/workloads.ts";
import { peers, warpForms } from "./peers.ts";

/** What is printed. */
export type PairLine =
  | { readonly run: string; readonly side: Side; readonly measured: Measured }
  | { readonly count: Counts; readonly side: Side; readonly version: string }
  | { readonly failure: string };

export type Side = "peer" | "warp";

export interface Counts {
  readonly entities: number;
  readonly acknowledged: number;
  /** What the system itself says that it holds. */
  readonly counted: number;
}

interface Party {
  readonly side: Side;
  readonly running: RunningPeer;
  readonly given: Given;
  readonly processes: Processes;
}

/** A system that makes an entity slower than 1,000 a second has fewer of them. */
const fillSecondsMax = 10;
const againMax = 2;

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      peer: { type: "string", default: "" },
      round: { type: "string", default: "1" },
      seconds: { type: "string", default: "2" },
      workloads: { type: "string", default: "" },
      directory: { type: "string", default: "" },
    },
  });
  void endWithInput();
  const peer = peers.find(({ name }) => name === values.peer);
  if (peer === undefined) throw new Error(`there is no peer ${values.peer}`);
  const chosen = values.workloads === "" ? undefined : values.workloads.split(",");
  try {
    await measurePair(peer, {
      round: Number(values.round),
      seconds: Number(values.seconds),
      directory: values.directory,
      workloads: workloads.filter(({ name }) => chosen?.includes(name) ?? true),
    });
  } catch (thrown) {
    print({ failure: thrown instanceof Error ? thrown.message : String(thrown) });
    process.exit(1);
  }
  process.exit(0);
}

interface PairOptions {
  readonly round: number;
  readonly seconds: number;
  readonly directory: string;
  readonly workloads: typeof workloads;
}

async function measurePair(peer: Peer, options: PairOptions): Promise<void> {
  const { round, seconds, directory } = options;
  const parties: Party[] = [];
  try {
    // A peer that is a form of Warp has nothing beside it.
    const partner = warpForms.find(({ name }) => name === peer.partner && name !== peer.name);
    if (partner !== undefined) parties.push(await open("warp", partner, directory));
    parties.push(await open("peer", peer, directory));
    for (const { running, given } of parties) await fill(running, given, fillSecondsMax);
    await warmUp(peer, parties);
    for (const [index, workload] of options.workloads.entries()) {
      for (const party of (round + index) % 2 === 0 ? [...parties].reverse() : parties) {
        if (!(await untilQuiet())) console.error(`${party.side}, ${workload.name}: not at rest before it`);
        const seed = round * 100 + workloads.indexOf(workload);
        const measured = await measureOnce(party, workload, seconds, seed);
        print({ run: workload.name, side: party.side, measured });
      }
    }
    for (const { side, running, given } of parties) {
      const count = {
        entities: given.entities,
        acknowledged: given.acknowledged,
        counted: await running.count(),
      };
      print({ count, side, version: running.version });
    }
  } finally {
    for (const { side, running, processes } of parties.reverse()) {
      // What was measured is measured.
      await running.stop().catch((thrown: unknown) => console.error(`${side} does not stop: ${thrown}`));
      await processes.stop();
    }
  }
}

/** A program that is compiled while it runs is driven before it is measured. */
async function warmUp({ warmUpSeconds = 0 }: Peer, parties: readonly Party[]): Promise<void> {
  const workload = workloads.find(({ name }) => name === "mixed-256");
  const party = parties.find(({ side }) => side === "peer");
  if (warmUpSeconds === 0 || party === undefined || workload === undefined) return;
  const { running, given } = party;
  await runLoad({ peer: running, given, workload, seconds: warmUpSeconds, warmupSeconds: 0, seed: 1 });
}

async function measureOnce(
  { side, running, given }: Party,
  workload: Workload,
  seconds: number,
  seed: number,
): Promise<Measured> {
  const warmupSeconds = Math.max(0.5, seconds / 5);
  for (let again = 0; ; again++) {
    Bun.gc(true);
    const load = { peer: running, given, workload, seconds, warmupSeconds, seed: seed + 1000 * again };
    const { isStretched, ...measured } = await runLoad(load);
    if (!isStretched || again === againMax) return measured;
    console.error(`${side}, ${workload.name}: the window lasted ${measured.seconds.toFixed(1)} s; once more`);
  }
}

async function open(side: Side, peer: Peer, directory: string): Promise<Party> {
  const own = join(directory, side);
  mkdirSync(own, { recursive: true });
  chmodSync(own, 0o755);
  const processes = new Processes(directory);
  try {
    return { side, running: await peer.start({ directory: own, processes }), given: new Given(), processes };
  } catch (thrown) {
    await processes.stop();
    throw thrown;
  }
}

function print(line: PairLine): void {
  console.log(JSON.stringify(line));
}

async function endWithInput(): Promise<void> {
  for await (const _ of Bun.stdin.stream()) {
    // Nothing is said; its end is the message.
  }
  // The whole group: this process and all that it started.
  process.kill(-process.pid, "SIGKILL");
}
