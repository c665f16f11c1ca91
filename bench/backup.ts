/**
 * What backup, verifying and restoring take, and what a continuous backup costs the appends beside it:
 * `bun bench/backup.ts [--part=all|restore|beside] [--gib=0.5] [--batch=20] [--seconds=10] [--rounds=3] [--callers=256]`
 *
 * - restore: `--gib` GiB of events are appended, backed up, verified and restored.
 * - beside: after `--gib` GiB, callers append without a pause in windows of `--seconds`, four a round: without a backup,
 *   twice with one, without. Before each round backups catch up while the callers append, so that the first window finds what every
 *   other finds, with rounds of settling under way. A backup begins with its window and copies what the window before it appended; so a window with one
 *   is what every window of `--every SECONDS` is, and what slows down as the files grow slows down both kinds alike. Each window with
 *   a backup makes a pair with the one beside it without.
 *   Printed are appends per second of all windows and what each pair says a backup costs of them, with the median and the middle half
 *   of the pairs; the same by appends per second of processor time, which other load on the machine disturbs less; what the main
 *   thread had of a processor and how long it waited for one, of each second; and the share of the backup's threads in the processor
 *   time of the process (the last two on Linux, by thread and niceness).
 *
 * The files are in the page cache. Prints one JSON line a part.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { backupNiceness } from "../src/backup/work/niceness.ts";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { type BackupReport, start, type Warp } from "../src/index.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    part: { type: "string", default: "all" },
    gib: { type: "string", default: "0.5" },
    /** Events of an append while the data is made; 1 for the appends that are measured. */
    batch: { type: "string", default: "20" },
    entities: { type: "string", default: "100000" },
    seconds: { type: "string", default: "10" },
    callers: { type: "string", default: "256" },
    rounds: { type: "string", default: "3" },
  },
});
const entities = Number(values.entities);
const windowMs = Number(values.seconds) * 1000;
const payments = new Payments(100, 1);
const random = new Random(1);
const quiet = { info: () => undefined, warn: console.error, error: console.error };

const directory = scratchDirectory("bench-backup");
const dataDir = join(directory, "data");
const target = join(directory, "target");
const open = () => start({ context: "bench", aggregates: [ledger], dataDir, logger: quiet });
let warp = await open();
await fill(warp, Number(values.gib) * 1024 ** 3);
const backup = await warp.backup(target);
if (values.part !== "beside") {
  await warp.close();
  await measureRestore(backup, join(dataDir, "root.key"));
  warp = await open();
}
if (values.part !== "restore") await measureBeside(warp, target);
await warp.close();

async function fill(warp: Warp, bytes: number): Promise<void> {
  const appends = bytes / 130 / Number(values.batch);
  let next = 0;
  const caller = async () => {
    while (next < appends)
      await warp.entity(idOf(next++ % entities)).appendBatch(payments.batch(Number(values.batch)));
  };
  await Promise.all(Array.from({ length: 256 }, caller));
}

/** Each in a process of its own, as an operator has it: the memory of the engine before it would be in its way. */
async function measureRestore(backup: BackupReport, rootKeyFile: string): Promise<void> {
  const { target, bytes, rows } = backup;
  const rate = ({ elapsedMs }: { elapsedMs: number }) => Math.round(bytes / 1000 / elapsedMs);
  const verifies: number[] = [];
  const restores: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const to = join(directory, "restored");
    verifies.push(rate(await run("backup", "verify", target, "--root-key-file", rootKeyFile)));
    restores.push(rate(await run("restore", target, "--to", to, "--root-key-file", rootKeyFile)));
    rmSync(to, { recursive: true });
  }
  print({
    ...{ part: "restore", bytes, rows, bytesPerRow: Math.round(bytes / rows) },
    ...{ backupMBs: rate(backup), verifyMBs: verifies, restoreMBs: restores },
  });
}

/** The report of `warp …`. */
async function run(...args: string[]): Promise<{ elapsedMs: number }> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "../src/main.ts"), ...args, "--json"]);
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`warp ${args.join(" ")} failed`);
  return JSON.parse(text) as { elapsedMs: number };
}

/** A window of appends. */
interface Window {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  /** ms of the processors in each second, of the whole process and of the backup's threads. */
  readonly cpuMs: number;
  readonly backupCpuMs: number;
  /** ms in each second that the main thread ran, and that it was ready to and had no processor. */
  readonly mainMs: number;
  readonly mainWaitMs: number;
}

async function measureBeside(warp: Warp, target: string): Promise<void> {
  const without: Window[] = [];
  const beside: Window[] = [];
  const costs: number[] = [];
  const cpuCosts: number[] = [];
  const copied: number[] = [];
  await appendFor(warp, windowMs);
  for (let round = 0; round < Number(values.rounds); round++) {
    // Each copies what was appended during the one before.
    for (let backups = 0; backups < 3; backups++)
      await appendFor(warp, warp.backup(target, { settle: false }));
    const windows: Window[] = [];
    for (const hasBackup of [false, true, true, false]) {
      const backup = hasBackup ? warp.backup(target, { settle: false }) : undefined;
      windows.push(await appendFor(warp, windowMs));
      if (backup !== undefined) copied.push((await backup).bytes);
    }
    const [a, b, c, d] = windows as [Window, Window, Window, Window];
    without.push(a, d);
    beside.push(b, c);
    for (const [alone, loaded] of [
      [a, b],
      [d, c],
    ] as const) {
      costs.push(1 - loaded.perSecond / alone.perSecond);
      cpuCosts.push(1 - loaded.perCpuSecond / alone.perCpuSecond);
    }
  }
  const share = beside.map(({ cpuMs, backupCpuMs }) => percent(backupCpuMs / cpuMs));
  const middle = (windows: readonly Window[], of: (window: Window) => number) =>
    Math.round(quantile(windows.map(of), 0.5));
  print({
    ...{ part: "beside", callers: Number(values.callers), seconds: Number(values.seconds) },
    without: without.map(({ perSecond }) => perSecond),
    with: beside.map(({ perSecond }) => perSecond),
    costPercent: costs.map(percent),
    medianCostPercent: percent(quantile(costs, 0.5)),
    middleHalfPercent: [percent(quantile(costs, 0.25)), percent(quantile(costs, 0.75))],
    cpuCostPercent: cpuCosts.map(percent),
    medianCpuCostPercent: percent(quantile(cpuCosts, 0.5)),
    backupMB: copied.map((bytes) => Math.round(bytes / 1e5) / 10),
    ...(process.platform === "linux" && {
      cpuSharePercent: share,
      mainMs: [middle(without, ({ mainMs }) => mainMs), middle(beside, ({ mainMs }) => mainMs)],
      mainWaitMs: [
        middle(without, ({ mainWaitMs }) => mainWaitMs),
        middle(beside, ({ mainWaitMs }) => mainWaitMs),
      ],
    }),
  });
}

/** For so many ms, or until something is done. */
async function appendFor(warp: Warp, time: number | Promise<unknown>): Promise<Window> {
  const before = timesNow();
  const begun = performance.now();
  let end = begun + (typeof time === "number" ? time : Number.POSITIVE_INFINITY);
  if (typeof time !== "number") {
    void time.finally(() => {
      end = 0;
    });
  }
  let appends = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await warp.entity(idOf(random.below(entities))).append({ type: "Paid", data: payments.data() });
      appends++;
    }
  };
  await Promise.all(Array.from({ length: Number(values.callers) }, caller));
  const seconds = (performance.now() - begun) / 1000;
  const now = timesNow();
  const eachSecond = (of: keyof Times) => (now[of] - before[of]) / seconds;
  return {
    perSecond: Math.round(appends / seconds),
    perCpuSecond: Math.round((appends / (now.all - before.all)) * 1000),
    cpuMs: eachSecond("all"),
    backupCpuMs: eachSecond("backup"),
    mainMs: eachSecond("main"),
    mainWaitMs: eachSecond("mainWait"),
  };
}

/** Times so far, ms. */
interface Times {
  readonly all: number;
  readonly backup: number;
  readonly main: number;
  readonly mainWait: number;
}

function timesNow(): Times {
  const { user, system } = process.cpuUsage();
  const all = (user + system) / 1000;
  if (process.platform !== "linux") return { all, backup: 0, main: 0, mainWait: 0 };
  let backup = 0;
  for (const thread of readdirSync("/proc/self/task")) {
    // proc(5): behind the name, field 19 is the niceness.
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
    if (Number(fields[16]) === backupNiceness) backup += scheduled(thread).ran;
  }
  const { ran, waited } = scheduled(String(process.pid));
  return { all, backup, main: ran, mainWait: waited };
}

/** How long a thread ran, and how long it was ready to run and waited for a processor, ms. */
function scheduled(thread: string): { ran: number; waited: number } {
  const [ran, waited] = readFileSync(`/proc/self/task/${thread}/schedstat`, "latin1").split(" ");
  return { ran: Number(ran) / 1e6, waited: Number(waited) / 1e6 };
}

/** The value below which this share of the numbers is, between the two nearest. */
function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? 0;
  return low + ((sorted[Math.ceil(at)] ?? 0) - low) * (at - Math.floor(at));
}

function percent(share: number): number {
  return Math.round(share * 1000) / 10;
}

function print(result: object): void {
  console.log(JSON.stringify(result));
}
