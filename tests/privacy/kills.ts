/**
 * Processes that end in the middle of erasures, at every named step, and again while the next start finishes them.
 *
 *   bun tests/privacy/kills.ts --kills 300 [--seed N]
 *
 * - Many callers write, give entities short lives and erase them, beside a projection and backups; the process dies as
 *   `SIGKILL` ends it when a step was done a few times (die-at-step.ts). Some starts are killed as well.
 * - Then the directory is opened: erasures are completed without anybody's doing, everybody else is untouched, late
 *   repeats from before an erasure are answered ERASED, and nothing of who is gone is in any file of the directory, of the
 *   projection or of the backup, in plaintext or under a key that is still there.
 * - The same scan finds those who are not gone, in each of these places.
 */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ErasureStep, erasureSteps } from "../../src/core/erasure-steps.ts";
import { start, type Warp, WarpError } from "../../src/index.ts";
import { checkDirectory } from "../crash/check-directory.ts";
import type { LoadOrder, LogLine } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";
import { perform } from "../crash/operations.ts";
import { seededRandom } from "../crash/seeded.ts";
import { loadSettings } from "../crash/settings.ts";
import { verify } from "../crash/verify.ts";
import { remainsOf } from "./remains.ts";
import { readableInTarget } from "./target-traces.ts";
import { readable, tracesIn } from "./traces.ts";

const killsPerDirectory = 6;
const operationsMax = 1500;
const application = join(import.meta.dir, "application.ts");
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
  async openAndVerify(): Promise<string[]> {
    try {
      const { aggregates: _, ...settings } = loadSettings(this.#data);
      const warp = await start({ ...settings, application });
      const complaints = [...this.#model.complaints, ...(await this.#look(warp))];
      await warp.close();
      if (complaints.length === 0) complaints.push(...checkDirectory(this.#data), ...remainsOf(this.#data));
      return complaints;
    } catch (thrown) {
      const code = thrown instanceof WarpError ? `${thrown.code} ${JSON.stringify(thrown.details)} ` : "";
      return [`the directory does not open or read: ${code}${thrown}`];
    }
  }

  async #look(warp: Warp): Promise<string[]> {
    const model = this.#model;
    await warp.whenTidy();
    const { complaints, events } = await verify(warp, model);
    this.events = events;
    this.erased = model.erasures.size;
    for await (const { isComplete, shard, entry } of warp.erasures())
      if (!isComplete) complaints.push(`entry ${entry} of shard ${shard} is not complete`);
    complaints.push(...(await lateRepeats(warp, model)));
    await caughtUp(warp);
    const all = [...readable(this.#data)];
    complaints.push(...tracesIn(all, model.buriedTexts), ...notFound(all, model));
    if (!existsSync(this.#target)) return complaints;
    await warp.backup(this.#target);
    const inTarget = await readableInTarget(this.#target, this.#data);
    return [...complaints, ...tracesIn(inTarget, model.buriedTexts), ...notFound(inTarget, model)];
  }
}

/** A write from before an erasure that comes late: it meets ERASED, whether it was answered then or not. */
async function lateRepeats(warp: Warp, model: Model): Promise<string[]> {
  const complaints: string[] = [];
  for (const operation of model.buriedOperations) {
    const answer = await perform(warp, operation).then(
      (done) => JSON.stringify(done),
      (thrown: { code?: string }) => thrown.code,
    );
    if (answer !== "ERASED") complaints.push(`${operation.op} was repeated after an erasure: ${answer}`);
  }
  return complaints;
}

/** Waits until the projection has every event, so that a scan of its files means something. */
async function caughtUp(warp: Warp): Promise<void> {
  const after = Array.from({ length: warp.shards }, (_, shard) => ({
    shard,
    position: warp.feed.committed(shard),
  }));
  await warp.query("SELECT count(*) FROM mark", [], { after, timeoutMs: 60_000 });
}

/** The scan can fail: whoever is there is found in everything that was read, at least once in some place. */
function notFound(
  all: Iterable<{ readonly where: string; readonly bytes: Uint8Array }>,
  model: Model,
): string[] {
  const there = [...model.operations.values()].filter(({ status }) => status === "there");
  const sample = there
    .slice(0, 20)
    .flatMap(({ operation: { op, parts } }) => [`"op":"${op}"`, parts[0]?.[0] ?? op]);
  const bytes = [...all].map((one) => Buffer.from(one.bytes.buffer, one.bytes.byteOffset, one.bytes.length));
  return sample
    .filter((text) => !bytes.some((content) => content.includes(text)))
    .map((text) => `${text} is there, and the scan does not find it`);
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
