/**
 * The crash campaign: processes are killed at random moments, and after each kill the directory is opened and compared
 * with what callers were told.
 *
 *   bun tests/crash/campaign.ts --kills 500 [--seed N]
 *
 * - A directory lives through several kills, so that the ring of segments turns and recovery meets the remains of recoveries.
 * - What is killed: the making of a directory, recovery, the load, the close. Which and when follows from the seed; the
 *   moment within it also from the machine, so a failure leaves its directory and log behind.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start, WarpError } from "../../src/index.ts";
import { tracesOf } from "../privacy/traces.ts";
import { checkDirectory } from "./check-directory.ts";
import type { LoadOrder, LogLine } from "./load.ts";
import { logLines, Model } from "./model.ts";
import { seededRandom } from "./seeded.ts";
import { loadSettings } from "./settings.ts";
import { repeatKeyed, verify } from "./verify.ts";

const killsPerDirectory = 8;
const loadScript = join(import.meta.dir, "load.ts");

export interface CampaignResult {
  readonly kills: number;
  readonly events: number;
  /** Kills by what was under way. */
  readonly during: Readonly<Record<string, number>>;
  readonly complaints: readonly string[];
}

export async function runCampaign(seed: number, kills: number): Promise<CampaignResult> {
  const random = seededRandom(seed);
  const during: Record<string, number> = {};
  const complaints: string[] = [];
  let done = 0;
  let events = 0;
  while (done < kills && complaints.length === 0) {
    const directory = mkdtempSync(join(tmpdir(), "warp-crash-"));
    const model = new Model();
    for (
      let round = 0;
      round < killsPerDirectory && done < kills && complaints.length === 0;
      round++, done++
    ) {
      const killed = await killOnce(directory, random, `r${round}`);
      model.take(killed.lines);
      during[killed.during] = (during[killed.during] ?? 0) + 1;
      const verified = await openAndVerify(directory, model, random);
      events += verified.events;
      const found = [...model.complaints, ...verified.complaints];
      complaints.push(
        ...found.slice(0, 12).map((one) => `kill ${done} (${killed.during}): ${one} [${directory}]`),
      );
    }
    if (complaints.length === 0) rmSync(directory, { recursive: true });
  }
  return { kills: done, events, during, complaints };
}

interface Killed {
  readonly lines: LogLine[];
  readonly during: string;
}

async function killOnce(directory: string, random: () => number, run: string): Promise<Killed> {
  const kind = random();
  const order: LoadOrder = {
    dataDir: join(directory, "data"),
    seed: Math.floor(random() * 2 ** 31),
    run,
    callers: 1 + Math.floor(random() ** 2 * 60),
    operations: kind < 0.2 ? 200 + Math.floor(random() * 2000) : 0,
    pauses: random() < 0.3,
  };
  const mark = kind < 0.2 ? "closing" : kind < 0.4 ? "opening" : "open";
  const delayMs = random() ** 2 * (mark === "open" ? 900 : 60);
  const log = join(directory, `${run}.log`);
  const output = openSync(log, "a");
  const child = Bun.spawn([process.execPath, loadScript, JSON.stringify(order)], {
    stdout: output,
    stderr: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  });
  closeSync(output);
  await waitForMark(log, mark, child);
  const until = performance.now() + delayMs;
  while (performance.now() < until && child.exitCode === null) await Bun.sleep(1);
  child.kill("SIGKILL");
  await child.exited;
  const lines = logLines(readFileSync(log, "utf8"));
  const marks = lines.flatMap((line) => ("mark" in line ? [line.mark] : []));
  return { lines, during: marks.at(-1) ?? "nothing" };
}

async function waitForMark(log: string, mark: string, child: Bun.Subprocess): Promise<void> {
  const line = `{"mark":"${mark}"}`;
  const file = openSync(log, "r");
  const piece = Buffer.alloc(64 * 1024);
  let text = "";
  while (child.exitCode === null) {
    const length = readSync(file, piece);
    // What came before may have held the beginning of the line.
    text = text.slice(-line.length) + piece.toString("latin1", 0, length);
    if (text.includes(line)) break;
    if (length < piece.length) await Bun.sleep(1);
  }
  closeSync(file);
}

/** What the next start finds. */
export async function openAndVerify(
  directory: string,
  model: Model,
  random: () => number,
): Promise<{ complaints: string[]; events: number }> {
  try {
    const warp = await start(loadSettings(join(directory, "data")));
    const verified = await verify(warp, model);
    const keyed = model.answeredKeyed();
    const sample = keyed.filter(() => random() < 40 / keyed.length);
    const complaints = [...verified.complaints, ...(await repeatKeyed(warp, model, sample))];
    await warp.whenTidy();
    complaints.push(...tracesOf(join(directory, "data"), model.buriedTexts));
    await warp.close();
    if (complaints.length === 0) complaints.push(...checkDirectory(join(directory, "data")));
    return { complaints, events: verified.events };
  } catch (thrown) {
    const code = thrown instanceof WarpError ? `${thrown.code} ${JSON.stringify(thrown.details)} ` : "";
    return { complaints: [`the directory does not open or read: ${code}${thrown}`], events: 0 };
  }
}

if (import.meta.main) {
  const value = (name: string) => process.argv[process.argv.indexOf(name) + 1];
  const seed = process.argv.includes("--seed") ? Number(value("--seed")) : Date.now() % 2 ** 31;
  const kills = process.argv.includes("--kills") ? Number(value("--kills")) : 100;
  console.log(`seed ${seed}`);
  const result = await runCampaign(seed, kills);
  console.log(JSON.stringify(result, undefined, 2));
  process.exit(result.complaints.length === 0 ? 0 : 1);
}
