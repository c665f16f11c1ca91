/**
 * Processes that end in the middle of erasures, at every named step, and again while the next start finishes them.
 *
 *   bun tests/privacy/kills.ts --kills 300 [--seed N]
 *
 * - Many callers write, give entities short lives and erase them, beside a projection and backups; the process dies as
 *   `SIGKILL` ends it when a step was done a few times (die-at-step.ts). Some starts are killed as well.
 * - Then the directory is opened and compared with what callers know (found.ts).
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ErasureStep, erasureSteps } from "../../src/core/erasure-steps.ts";
import type { LoadOrder, LogLine } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";
import { seededRandom } from "../crash/seeded.ts";
import { application, lookAt } from "./found.ts";

const killsPerDirectory = 6;
const operationsMax = 1500;
const loadScript = join(import.meta.dir, "../crash/load.ts");
const dieAtStep = join(import.meta.dir, "die-at-step.ts");

export interface KillsResult {
  /** Processes that died, by the step behind which they did. */
  readonly killed: Readonly<Record<string, number>>;
  /** Processes that ended by themselves, as the step did not come often enough. */
  readonly survived: number;
  readonly events: number;
  readonly erased: number;
  readonly complaints: readonly string[];
}

/** Kills at each step in turn, in an order that follows from the seed. */
export async function killAtSteps(seed: number, kills: number): Promise<KillsResult> {
  const random = seededRandom(seed);
  const result = { killed: {} as Record<string, number>, survived: 0, events: 0, erased: 0 };
  const complaints: string[] = [];
  let steps: ErasureStep[] = [];
  for (let done = 0; done < kills && complaints.length === 0; ) {
    const life = new Life(random);
    for (let i = 0; i < killsPerDirectory && done < kills && complaints.length === 0; i++, done++) {
      if (steps.length === 0) steps = shuffled(erasureSteps, random);
      const step = steps.pop() ?? "recorded";
      const ends = [await life.run(step, 1 + Math.floor(random() ** 2 * 5))];
      // Whoever starts next may die as well: while it finishes what was left, or in erasures of its own.
      if (random() < 0.4) ends.push(await life.run(shuffled(erasureSteps, random)[0] ?? "key", 1));
      for (const end of ends) {
        if (end === undefined) result.survived++;
        else result.killed[end] = (result.killed[end] ?? 0) + 1;
      }
      const found = await life.openAndVerify();
      complaints.push(
        ...found.slice(0, 12).map((one) => `${ends.join(" and ")}: ${one} [${life.directory}]`),
      );
    }
    result.events += life.events;
    result.erased += life.erased;
    if (complaints.length === 0) rmSync(life.directory, { recursive: true });
  }
  return { ...result, complaints };
}

/** A directory, what callers of its processes know, and a target that it is backed up into. */
class Life {
  readonly directory = mkdtempSync(join(tmpdir(), "warp-erasures-"));
  events = 0;
  erased = 0;
  readonly #random: () => number;
  readonly #model = new Model();
  readonly #data = join(this.directory, "data");
  readonly #target = join(this.directory, "target");
  #runs = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Loads until the process dies behind a step; undefined when it did not. */
  async run(step: ErasureStep, times: number): Promise<ErasureStep | undefined> {
    const random = this.#random;
    const run = `r${this.#runs++}`;
    const order: LoadOrder = {
      dataDir: this.#data,
      seed: Math.floor(random() * 2 ** 31),
      run,
      callers: 2 + Math.floor(random() ** 2 * 30),
      operations: operationsMax,
      lives: 0.1 + random() * 0.3,
      application,
      ...(random() < 0.6 ? { target: this.#target } : {}),
      pauses: random() < 0.3,
    };
    const log = join(this.directory, `${run}.log`);
    const output = openSync(log, "a");
    const command = [process.execPath, "--preload", dieAtStep, loadScript, JSON.stringify(order)];
    const env = { ...process.env, NODE_ENV: "production", WARP_DIE_AT: `${step}:${times}` };
    const child = Bun.spawn(command, { stdout: output, stderr: "inherit", env });
    closeSync(output);
    await child.exited;
    const lines: LogLine[] = logLines(readFileSync(log, "utf8"));
    this.#model.take(lines);
    if (child.signalCode === "SIGKILL") return step;
    if (child.exitCode !== 0) this.#model.complaints.push(`${run} ended with ${child.exitCode}`);
    return undefined;
  }

  /** What the next start finds. */
  async openAndVerify(): Promise<readonly string[]> {
    const { complaints, events } = await lookAt(this.#data, this.#target, this.#model);
    this.events = events;
    this.erased = this.#model.erasures.size;
    return complaints;
  }
}

function shuffled<Value>(values: readonly Value[], random: () => number): Value[] {
  return values
    .map((value) => ({ value, rank: random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value);
}

if (import.meta.main) {
  const value = (name: string) => process.argv[process.argv.indexOf(name) + 1];
  const seed = process.argv.includes("--seed") ? Number(value("--seed")) : Date.now() % 2 ** 31;
  const kills = process.argv.includes("--kills") ? Number(value("--kills")) : 100;
  console.log(`seed ${seed}`);
  const result = await killAtSteps(seed, kills);
  console.log(JSON.stringify(result, undefined, 2));
  process.exit(result.complaints.length === 0 ? 0 : 1);
}
