/**
 * Where the processor time of a run goes, function by function: `bun bench/profile.ts [--top=20] [--for=8] -- [options of warp bench]`.
 *
 * - It runs `warp bench` with those options, samples all processors with Linux' `perf` for some seconds in the middle, and names the compiled
 *   JavaScript by the dump that the runtime writes. It needs `perf` and the right to use it.
 * - Of the main thread of each process it prints the functions by their own time, inlined ones included, and what native code and
 *   the kernel did by the JavaScript function that called them; of all threads their shares.
 * - Sampling and the dump take some time themselves: it is for shares, not for rates.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { JitDump } from "./profile/jit-dump.ts";
import { type Frame, type Sample, samplesOf } from "./profile/samples.ts";
import { scratchDirectory } from "./scratch.ts";

const hz = 2999;
/** Until the load runs as it will: the engine's start, its entities, the warm-up and what the compilers do. */
const beforeSeconds = 10;

const { values, positionals } = parseArgs({
  options: { top: { type: "string", default: "20" }, for: { type: "string", default: "8" } },
  allowPositionals: true,
});
const top = Number(values.top);
const sampledSeconds = Number(values.for);

const directory = scratchDirectory("profile");
await profile();

async function profile(): Promise<void> {
  const seconds = String(beforeSeconds + sampledSeconds);
  const command = [process.execPath, join(import.meta.dir, "../src/main.ts"), "bench"];
  const bench = Bun.spawn([...command, ...positionals, "--seconds", seconds, "--yardstick", "0"], {
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, BUN_JSC_useJITDump: "true", BUN_JSC_jitDumpDirectory: directory },
  });
  const output = new Response(bench.stdout).text();
  await Bun.sleep(beforeSeconds * 1000);
  const roles = new Map([[bench.pid, "warp bench"]]);
  for (const child of childrenOf(bench.pid)) roles.set(child, "warp serve");
  const data = join(directory, "perf.data");
  const clock = ["-k", "CLOCK_MONOTONIC", "-F", String(hz), "-a", "-g"];
  await run(["perf", "record", "-q", ...clock, "-o", data, "--", "sleep", String(sampledSeconds)]);
  console.log(await output);
  if ((await bench.exited) !== 0) throw new Error("warp bench failed");
  const text = await run(["perf", "script", "-i", data, "-F", "pid,tid,time,ip,sym,dso"]);
  const samples = [...samplesOf(text)].filter(({ pid }) => roles.has(pid));
  for (const [pid, role] of roles) report(role, pid, samples);
}

async function run(command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [text, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${command.slice(0, 2).join(" ")} failed: ${complaint}`);
  return text;
}

function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const tid of readdirSync(`/proc/${pid}/task`))
    children.push(
      ...readFileSync(`/proc/${pid}/task/${tid}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  return children;
}

/** A process may have begun again in its own place, and then writes a second dump. */
function dumpOf(pid: number): JitDump | undefined {
  const dumps = readdirSync(directory).filter((name) => name.endsWith(`-${pid}.dump`));
  const newest = dumps.sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1);
  return newest === undefined ? undefined : new JitDump(join(directory, newest));
}

function report(role: string, pid: number, samples: readonly Sample[]): void {
  const own = samples.filter((sample) => sample.pid === pid);
  const main = own.filter(({ tid }) => tid === pid);
  const microseconds = (count: number): string => ((count / (sampledSeconds * hz)) * 100).toFixed(0);
  console.log(
    `\n${role}: ${microseconds(own.length)} % of one processor, its main thread ${microseconds(main.length)} %`,
  );
  const dump = dumpOf(pid);
  const selves = new Map<string, number>();
  const below = new Map<string, number>();
  for (const { frames, at } of main) {
    const [inner] = frames;
    if (inner === undefined) continue;
    const nameOf = ({ address }: Frame): string | undefined => dump?.nameAt(address, at);
    const name = nameOf(inner);
    if (name !== undefined) {
      count(selves, name);
      continue;
    }
    const caller = frames.map(nameOf).find((one) => one !== undefined) ?? "no JavaScript";
    const where = inner.object.includes("kernel") ? "kernel" : "native";
    count(below, `${where} below ${caller}`);
  }
  print("JavaScript, own time", selves, main.length);
  print("native code and kernel", below, main.length);
}

function count(counts: Map<string, number>, name: string): void {
  // The compiler's tier and its number for the function tell nothing here.
  const short = name.replaceAll(/JSC-\w+: |#[\w$]{6}(?=$)/g, "");
  counts.set(short, (counts.get(short) ?? 0) + 1);
}

function print(title: string, counts: ReadonlyMap<string, number>, all: number): void {
  const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
  const percent = (of: number): string => `${((of / all) * 100).toFixed(1).padStart(5)} %`;
  console.log(`  ${percent(total)}  ${title}`);
  const largest = [...counts].sort(([, a], [, b]) => b - a).slice(0, top);
  for (const [name, samples] of largest) console.log(`    ${percent(samples)}  ${name}`);
}
