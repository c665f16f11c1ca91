/**
 * One changed byte somewhere in the files of a data directory, and what follows from it.
 *
 * Allowed: the content is what it was; or a WarpError says which file is damaged; or `check` finds it. Never fewer events,
 * or other ones, in silence.
 */
import { cpSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkDirectory } from "../../src/check.ts";
import { type Settings, start, WarpError } from "../../src/index.ts";
import type { LoadOrder, LogLine } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";
import { loadSettings } from "../crash/settings.ts";
import { verify } from "../crash/verify.ts";
import { isMarkedIdle } from "./journal-files.ts";

export interface Sample {
  readonly home: string;
  readonly lines: readonly LogLine[];
}

/**
 * A directory that was closed, or that a killed process left with an idle journal: some of it settled, all of it in the
 * journal alone ("unsettled"), or all of it settled and nothing in a main database file ("unchecked").
 */
export async function makeSample(
  seed: number,
  how: "closed" | "killed" | "unsettled" | "unchecked",
  more: Partial<LoadOrder> = {},
): Promise<Sample> {
  const home = mkdtempSync(join(tmpdir(), "warp-flips-"));
  const dataDir = join(home, "data");
  const isUnchecked = how === "unchecked";
  const kind = { isUnsettled: how === "unsettled", isUnchecked, lingers: how !== "closed" };
  const order: LoadOrder = { dataDir, seed, run: "s", callers: 10, operations: 250, ...kind, ...more };
  return { home, lines: await loadInto(home, order) };
}

/** Loads the directory of a sample until the load is closed, or idle and then killed. */
export async function loadInto(home: string, order: LoadOrder): Promise<LogLine[]> {
  const log = join(home, `log-${order.run}`);
  const script = join(import.meta.dir, "../crash/load.ts");
  const child = Bun.spawn([process.execPath, script, JSON.stringify(order)], {
    stdout: openSync(log, "a"),
    stderr: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  });
  const isDone = () =>
    order.lingers === true &&
    readFileSync(log, "latin1").includes('"lingering"') &&
    isMarkedIdle(order.dataDir);
  while (child.exitCode === null && !isDone()) await Bun.sleep(5);
  child.kill("SIGKILL");
  await child.exited;
  return logLines(readFileSync(log, "utf8"));
}

/** Files whose bytes matter: the lock holds nothing, and the index of a WAL is made anew. */
export function filesOf(sample: Sample): string[] {
  return readdirSync(join(sample.home, "data"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^lock\.db|-shm$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(join(sample.home, "data").length + 1))
    .sort();
}

export interface Outcome {
  readonly kind: "identical" | "error" | "found" | "silent";
  readonly what: string;
}

/** Changes the content of one file of a copy, and looks. */
export function damage(sample: Sample, file: string, change: (content: Buffer) => Buffer): Promise<Outcome> {
  return openChanged(sample, (dataDir) => {
    const path = join(dataDir, file);
    writeFileSync(path, change(readFileSync(path)));
  });
}

/** Changes a copy of the directory, and looks. */
export async function openChanged(
  sample: Sample,
  change: (dataDir: string) => void,
  settings: Partial<Settings> = {},
): Promise<Outcome> {
  const copy = mkdtempSync(join(tmpdir(), "warp-flipped-"));
  try {
    const dataDir = join(copy, "data");
    cpSync(join(sample.home, "data"), dataDir, { recursive: true });
    change(dataDir);
    const found = checkFinds(dataDir);
    const opened = await open(dataDir, sample, settings);
    if (opened.kind === "silent" && found !== undefined) return { kind: "found", what: found };
    return opened;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function checkFinds(dataDir: string): string | undefined {
  try {
    for (const { severity, file, what } of checkDirectory({ dataDir })) {
      if (severity === "damage") return `${file}: ${what}`;
    }
    return undefined;
  } catch (thrown) {
    return thrown instanceof WarpError ? thrown.code : undefined;
  }
}

async function open(dataDir: string, sample: Sample, settings: Partial<Settings>): Promise<Outcome> {
  const model = new Model();
  model.take(sample.lines);
  try {
    const warp = await start({ ...loadSettings(dataDir), create: false, ...settings });
    try {
      const { complaints } = await verify(warp, model);
      if (complaints.length === 0) return { kind: "identical", what: "" };
      return { kind: "silent", what: complaints.slice(0, 3).join("; ") };
    } catch (thrown) {
      // What only settling finds fails the engine behind the start, and this is the error to look at.
      throw (await Promise.race([warp.failed, Promise.resolve(undefined)])) ?? thrown;
    } finally {
      await warp.close();
    }
  } catch (thrown) {
    if (thrown instanceof WarpError && thrown.code !== "ENGINE_FAILED" && thrown.code !== "OUTCOME_UNKNOWN") {
      return { kind: "error", what: `${thrown.code} ${JSON.stringify(thrown.details)}` };
    }
    return { kind: "silent", what: `it broke: ${thrown instanceof Error ? thrown.stack : String(thrown)}` };
  }
}
