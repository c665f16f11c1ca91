/**
 * What backup, verifying and restoring take, and what a continuous backup costs the appends beside it:
 * `bun bench/backup.ts [--part=all|restore|beside] [--gib=0.5] [--batch=20] [--seconds=10] [--rounds=3] [--callers=256]`
 *
 * - restore: `--gib` GiB of events are appended, backed up, verified and restored.
 * - beside: after `--gib` GiB, callers append without a pause in windows of `--seconds`, four a round: without a backup, twice
 *   with one, without. A backup begins with its window and copies what the window before it appended; so a window with one
 *   is what every window of `--every SECONDS` is, and what slows down as the files grow slows down both kinds alike.
 *   Printed are appends per second of all windows and what each round says a backup costs of them; the same by appends per
 *   second of processor time, which other load on the machine disturbs less; and the share of the backup's threads in
 *   the processor time of the process (on Linux, by their niceness).
 *
 * The files are in the page cache. Prints one JSON line a part.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { backupNiceness } from "../src/backup/work/niceness.ts";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { type BackupReport, start, type Warp } from "../src/index.ts";

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
const payments = new Payments(100, 1);
const random = new Random(1);
const quiet = { info: () => undefined, warn: console.error, error: console.error };

const directory = mkdtempSync(join(tmpdir(), "warp-bench-backup-"));
try {
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
} finally {
  rmSync(directory, { recursive: true, force: true });
}

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
  /** ms of the processors, of the whole process and of the backup's threads. */
  readonly cpuMs: number;
  readonly backupCpuMs: number;
}

async function measureBeside(warp: Warp, target: string): Promise<void> {
  await appendFor(warp);
  await warp.backup(target);
  const without: Window[] = [];
  const beside: Window[] = [];
  const costs: number[] = [];
  const cpuCosts: number[] = [];
  const copied: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const windows: Window[] = [];
    for (const hasBackup of [false, true, true, false]) {
      const backup = hasBackup ? warp.backup(target, { settle: false }) : undefined;
      windows.push(await appendFor(warp));
      copied.push((await backup)?.bytes ?? 0);
    }
    await warp.backup(target);
    const [a, b, c, d] = windows as [Window, Window, Window, Window];
    without.push(a, d);
    beside.push(b, c);
    costs.push(1 - (b.perSecond + c.perSecond) / (a.perSecond + d.perSecond));
    cpuCosts.push(1 - (b.perCpuSecond + c.perCpuSecond) / (a.perCpuSecond + d.perCpuSecond));
  }
  const backupBytes = copied.filter((bytes) => bytes > 0);
  const share = beside.map(({ cpuMs, backupCpuMs }) => percent(backupCpuMs / cpuMs));
  print({
    ...{ part: "beside", callers: Number(values.callers), seconds: Number(values.seconds) },
    without: without.map(({ perSecond }) => perSecond),
    with: beside.map(({ perSecond }) => perSecond),
    costPercent: costs.map(percent),
    medianCostPercent: percent(median(costs)),
    cpuCostPercent: cpuCosts.map(percent),
    medianCpuCostPercent: percent(median(cpuCosts)),
    backupMB: backupBytes.map((bytes) => Math.round(bytes / 1e5) / 10),
    backupCpuMs: beside.map(({ backupCpuMs }) => backupCpuMs),
    ...(process.platform === "linux" ? { cpuSharePercent: share } : {}),
  });
}

async function appendFor(warp: Warp): Promise<Window> {
  const cpu = cpuNow();
  const begun = performance.now();
  const end = begun + Number(values.seconds) * 1000;
  let appends = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await warp.entity(idOf(random.below(entities))).append({ type: "Paid", data: payments.data() });
      appends++;
    }
  };
  await Promise.all(Array.from({ length: Number(values.callers) }, caller));
  const perSecond = Math.round((appends / (performance.now() - begun)) * 1000);
  const now = cpuNow();
  const cpuMs = now.all - cpu.all;
  const perCpuSecond = Math.round((appends / cpuMs) * 1000);
  return { perSecond, perCpuSecond, cpuMs, backupCpuMs: now.backup - cpu.backup };
}

/** Processor time so far, ms. */
function cpuNow(): { all: number; backup: number } {
  const { user, system } = process.cpuUsage();
  const all = (user + system) / 1000;
  if (process.platform !== "linux") return { all, backup: 0 };
  let backup = 0;
  for (const thread of readdirSync("/proc/self/task")) {
    // proc(5): behind the name, fields 14 and 15 are ticks of user and system time, of 10 ms; 19 is the niceness.
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
    if (Number(fields[16]) === backupNiceness) backup += (Number(fields[11]) + Number(fields[12])) * 10;
  }
  return { all, backup };
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (
    ((sorted[Math.floor((sorted.length - 1) / 2)] ?? 0) + (sorted[Math.floor(sorted.length / 2)] ?? 0)) / 2
  );
}

function percent(share: number): number {
  return Math.round(share * 1000) / 10;
}

function print(result: object): void {
  console.log(JSON.stringify(result));
}
