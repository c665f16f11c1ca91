/**
 * Power failures: a load is recorded, and the states that a disk could be left in are opened by the real engine.
 *
 *   bun tests/crash/power-loss.ts --states 300 [--seed N] [--durability os]
 *
 * - The recorded process begins either with no directory or with one that a killed process left.
 * - Under "fsync" every append acknowledged before the failure must be there. Under "os" some must be missing in some
 *   state, which shows that this test can find a loss; nothing may be damaged or invented in either.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start, WarpError } from "../../src/index.ts";
import { tracesOf } from "../privacy/traces.ts";
import { Disk } from "./disk.ts";
import type { LoadOrder, LogLine } from "./load.ts";
import { logLines, Model } from "./model.ts";
import { seededRandom } from "./seeded.ts";
import { loadSettings } from "./settings.ts";
import { type TracedCall, traced } from "./trace.ts";
import { repeatKeyed, verify } from "./verify.ts";

const loadScript = join(import.meta.dir, "load.ts");

export interface PowerLossResult {
  readonly states: number;
  readonly events: number;
  readonly calls: number;
  /** Acknowledged operations that were missing, over all states. */
  readonly lost: number;
  readonly complaints: readonly string[];
}

export interface PowerLossOrder {
  readonly seed: number;
  readonly states: number;
  readonly durability: "fsync" | "os";
  /** True begins with a directory that a killed process left, false with none. */
  readonly isUsed: boolean;
}

export async function failPower(order: PowerLossOrder): Promise<PowerLossResult> {
  const { seed, states, durability } = order;
  const random = seededRandom(seed);
  const home = mkdtempSync(join(tmpdir(), "warp-power-"));
  const [base, root] = [join(home, "base"), join(home, "run")];
  mkdirSync(root);
  const dataDir = join(root, "data");
  const load: LoadOrder = { dataDir, seed, run: "a", callers: 12, operations: 0, durability };
  const former = order.isUsed ? await killedLoad(load, home, random) : [];
  cpSync(root, base, { recursive: true });
  const second = { ...load, seed: seed + 1, run: "b", operations: 700, callers: 16, pauses: true };
  const calls = await traced([process.execPath, loadScript, JSON.stringify(second)], root);
  rmSync(root, { recursive: true });
  cpSync(base, root, { recursive: true });

  const complaints: string[] = [];
  let events = 0;
  let lost = 0;
  let done = 0;
  const lastLine = calls.at(-1)?.end ?? 0;
  for (; done < states && complaints.length === 0; done++) {
    const until = Math.floor(random() * (lastLine + 2));
    const state = join(home, `state-${done}`);
    writeState(calls, until, root, state, random);
    const result = await openState(state, [...former, ...said(calls, until)], durability);
    complaints.push(
      ...result.complaints.slice(0, 12).map((one) => `line ${until} of ${lastLine}: ${one} [${state}]`),
    );
    events += result.events;
    lost += result.lost;
    if (complaints.length === 0) rmSync(state, { recursive: true, force: true });
  }
  if (complaints.length === 0) rmSync(home, { recursive: true });
  return { states: done, events, calls: calls.length, lost, complaints };
}

function writeState(
  calls: readonly TracedCall[],
  until: number,
  root: string,
  target: string,
  random: () => number,
): void {
  const disk = new Disk(root);
  for (const call of calls) if (call.start <= until) disk.apply(call, until);
  disk.write(target, random);
}

/** What callers were told, and what they had tried, when the power failed. */
function said(calls: readonly TracedCall[], until: number): LogLine[] {
  const text = calls.map((call) => (call.kind === "said" && call.start <= until ? call.text : "")).join("");
  return logLines(text);
}

async function openState(
  state: string,
  lines: readonly LogLine[],
  durability: "fsync" | "os",
): Promise<{ complaints: string[]; events: number; lost: number }> {
  const model = new Model();
  model.take(lines);
  const dataDir = join(state, "data");
  const complaints = [...model.complaints];
  const isLossy = durability === "os";
  try {
    const warp = await start({ ...loadSettings(dataDir), durability });
    const verified = await verify(warp, model, isLossy);
    complaints.push(...verified.complaints, ...(await repeatKeyed(warp, model, [])));
    await warp.whenTidy();
    complaints.push(...tracesOf(dataDir, model.buriedTexts));
    await warp.close();
    // What was found once is there for good, and new writes have not disturbed it.
    const again = await start({ ...loadSettings(dataDir), durability });
    complaints.push(...(await verify(again, model)).complaints);
    await again.close();
    return { ...verified, complaints };
  } catch (thrown) {
    const code = thrown instanceof WarpError ? `${thrown.code} ${JSON.stringify(thrown.details)} ` : "";
    const stack = thrown instanceof Error && code === "" ? thrown.stack : String(thrown);
    return {
      complaints: [...complaints, `the directory does not open or read: ${code}${stack}`],
      events: 0,
      lost: 0,
    };
  }
}

/** Loads until some hundred operations are done, kills, and returns what was said. */
async function killedLoad(order: LoadOrder, home: string, random: () => number): Promise<LogLine[]> {
  const log = join(home, "former.log");
  const child = Bun.spawn([process.execPath, loadScript, JSON.stringify(order)], {
    stdout: openSync(log, "a"),
    stderr: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  });
  const enough = 30_000 + random() * 100_000;
  while (child.exitCode === null && (existsSync(log) ? Bun.file(log).size : 0) < enough) await Bun.sleep(1);
  child.kill("SIGKILL");
  await child.exited;
  return logLines(readFileSync(log, "utf8"));
}

if (import.meta.main) {
  const value = (name: string) => process.argv[process.argv.indexOf(name) + 1];
  const has = (name: string) => process.argv.includes(name);
  const seed = has("--seed") ? Number(value("--seed")) : Date.now() % 2 ** 31;
  const states = has("--states") ? Number(value("--states")) : 100;
  const durability = value("--durability") === "os" ? "os" : "fsync";
  for (let at = 0, round = 0; at < states; at += 50, round++) {
    const order = { seed: seed + round, states: 50, durability, isUsed: round % 3 !== 2 } as const;
    const result = await failPower(order);
    console.log(JSON.stringify({ ...order, ...result }, undefined, 2));
    if (result.complaints.length > 0) process.exit(1);
  }
}
