/**
 * Processes that end behind every step of a subject's erasure: in all shards it has happened or in none, the next start
 * completes it, and nothing of what was said of her is in any file, in plaintext or under a key that is still there.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { erasureSteps } from "../../src/core/erasure-steps.ts";
import { checkDirectory, start, type Warp } from "../../src/index.ts";
import { effort, printedSeed, seededRandom } from "../crash/seeded.ts";
import { collect } from "../engine/sample.ts";
import type { PersonalOrder, Said } from "./personal-load.ts";
import { order, personalSettings } from "./personal-sample.ts";
import { remainsOf } from "./remains.ts";
import { readableInTarget } from "./target-traces.ts";
import { readable, tracesIn } from "./traces.ts";

/** What is known of a subject. */
interface Known {
  readonly tried: string[];
  readonly said: string[];
  state: "there" | "deleting" | "deleted";
}

const loadScript = join(import.meta.dir, "personal-load.ts");
const dieAtStep = join(import.meta.dir, "die-at-step.ts");

async function run(
  load: PersonalOrder,
  step: string,
  times: number,
): Promise<{ lines: Said[]; died: boolean }> {
  const command = [process.execPath, "--preload", dieAtStep, loadScript, JSON.stringify(load)];
  const env = { ...process.env, NODE_ENV: "production", WARP_DIE_AT: `${step}:${times}` };
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit", env });
  const text = await new Response(child.stdout).text();
  await child.exited;
  const died = child.signalCode === "SIGKILL";
  expect(died || child.exitCode === 0).toBe(true);
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return {
    lines: whole
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Said),
    died,
  };
}

function take(known: Map<string, Known>, lines: readonly Said[]): void {
  for (const { line, subject, text = "" } of lines) {
    const one: Known = known.get(subject) ?? { tried: [], said: [], state: "there" };
    known.set(subject, one);
    if (line === "try") one.tried.push(text);
    else if (line === "said") one.said.push(text);
    else one.state = line;
  }
}

/** Everything that hosts say, and their states. */
async function allSaid(warp: Warp): Promise<{ texts: Set<string>; states: string }> {
  const texts = new Set<string>();
  let states = "";
  for await (const { id } of warp.entities({ prefix: "host-" })) {
    for (const { personal } of await collect(warp.entity(id).events()))
      if (personal !== null && personal !== undefined) texts.add((personal as { address: string }).address);
    states += JSON.stringify(await warp.entity(id).read());
  }
  return { texts, states };
}

/** What is wrong; what was being deleted is known afterwards. */
async function verify(warp: Warp, known: Map<string, Known>): Promise<string[]> {
  await warp.whenTidy();
  const complaints: string[] = [];
  const { texts, states } = await allSaid(warp);
  for (const [subject, one] of known) {
    const found = one.tried.filter((text) => texts.has(text)).length;
    if (one.state === "deleting") one.state = found === 0 ? "deleted" : "there";
    if (one.state === "there" && one.said.some((text) => !texts.has(text)))
      complaints.push(
        `${subject} is there, and ${one.said.length} parts of her are not all readable: ${found}`,
      );
    if (one.state === "deleted" && (found > 0 || one.tried.some((text) => states.includes(text))))
      complaints.push(`${subject} was deleted, and ${found} parts of her are readable`);
  }
  for await (const { isComplete, shard, entry } of warp.erasures())
    if (!isComplete) complaints.push(`entry ${entry} of shard ${shard} is not complete`);
  return complaints;
}

test("a process may end behind any step of a subject's erasure", async () => {
  const seed = printedSeed();
  const random = seededRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), "warp-personal-"));
  const [dataDir, target] = [join(directory, "data"), join(directory, "target")];
  const known = new Map<string, Known>();
  const killed = new Set<string>();
  // A few of them each time; three times the effort goes through all.
  const kills = effort(4);
  const first = Math.floor(random() * erasureSteps.length);
  for (let i = 0; i < kills; i++) {
    const step = erasureSteps[(first + i * 5) % erasureSteps.length] ?? "recorded";
    const load = { dataDir, target, seed: Math.floor(random() * 2 ** 31), run: `r${i}`, subjects: 4 };
    const { lines, died } = await run(load, step, 1 + Math.floor(random() * 3));
    if (died) killed.add(step);
    take(known, lines);
    const warp = await start({ ...personalSettings, aggregates: [order], dataDir });
    expect(await verify(warp, known)).toEqual([]);
    const gone = [...known].filter(([, { state }]) => state === "deleted");
    const texts = gone.flatMap(([subject, { tried }]) => [subject, ...tried]);
    await warp.backup(target);
    const all = [...readable(dataDir), ...(await readableInTarget(target, dataDir))];
    expect(tracesIn(all, texts)).toEqual([]);
    // The same scan finds who is there, in both places.
    const [there] = [...known.values()].filter(({ state }) => state === "there");
    expect(tracesIn(all, there?.said.slice(0, 1) ?? []).length).toBeGreaterThan(1);
    await warp.close();
    expect([...checkDirectory({ dataDir }), ...remainsOf(dataDir)]).toEqual([]);
  }
  expect(killed.size).toBe(Math.min(kills, erasureSteps.length));
  expect([...known.values()].filter(({ state }) => state === "deleted").length).toBeGreaterThan(0);
  rmSync(directory, { recursive: true });
}, 600_000);
