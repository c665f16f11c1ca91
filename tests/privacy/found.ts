/**
 * What the next start finds in a directory whose process ended in the middle of erasures, compared with what the callers
 * of that process know:
 *
 * - erasures are completed without anybody's doing, everybody else is untouched, late repeats from before an erasure are
 *   answered ERASED;
 * - nothing of who is gone is in any file of the directory, of the projection or of the backup, in plaintext or under a key
 *   that is still there, and the same scan finds those who are not gone;
 * - in the files no key and no row of who is gone remains, and `check` finds nothing.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { start, type Warp, WarpError } from "../../src/index.ts";
import { checkDirectory } from "../crash/check-directory.ts";
import { type Model, textsOf } from "../crash/model.ts";
import { perform } from "../crash/operations.ts";
import { loadSettings } from "../crash/settings.ts";
import { verify } from "../crash/verify.ts";
import { remainsOf } from "./remains.ts";
import { readableInTarget } from "./target-traces.ts";
import { readable, tracesIn } from "./traces.ts";

/** What the processes open that are killed, and who looks at what they left. */
export const application = join(import.meta.dir, "application.ts");

export interface Found {
  readonly complaints: readonly string[];
  readonly events: number;
}

/** Opens, looks and closes. A target that is there is backed up into. */
export async function lookAt(dataDir: string, target: string, model: Model): Promise<Found> {
  try {
    const { aggregates: _, ...settings } = loadSettings(dataDir);
    const warp = await start({ ...settings, application });
    const { complaints, events } = await look(warp, dataDir, target, model);
    await warp.close();
    if (complaints.length === 0) complaints.push(...checkDirectory(dataDir), ...remainsOf(dataDir));
    return { complaints: [...model.complaints, ...complaints], events };
  } catch (thrown) {
    const code = thrown instanceof WarpError ? `${thrown.code} ${JSON.stringify(thrown.details)} ` : "";
    return { complaints: [`the directory does not open or read: ${code}${thrown}`], events: 0 };
  }
}

async function look(
  warp: Warp,
  dataDir: string,
  target: string,
  model: Model,
): Promise<{ complaints: string[]; events: number }> {
  await warp.whenTidy();
  const { complaints, events } = await verify(warp, model);
  for await (const { isComplete, shard, entry } of warp.erasures())
    if (!isComplete) complaints.push(`entry ${entry} of shard ${shard} is not complete`);
  complaints.push(...(await lateRepeats(warp, model)));
  await caughtUp(warp);
  const all = [...readable(dataDir)];
  complaints.push(...tracesIn(all, model.buriedTexts), ...notFound(all, model));
  if (!existsSync(target)) return { complaints, events };
  await warp.backup(target);
  const inTarget = await readableInTarget(target, dataDir);
  complaints.push(...tracesIn(inTarget, model.buriedTexts), ...notFound(inTarget, model));
  return { complaints, events };
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
  await warp.query("SELECT count(*) FROM mark", [], { after, timeoutMs: 240_000 });
}

/** The scan can fail: whoever is there is found in everything that was read, at least once in some place. */
export function notFound(
  all: Iterable<{ readonly where: string; readonly bytes: Uint8Array }>,
  model: Model,
): string[] {
  const there = [...model.operations.values()].filter(({ status }) => status === "there");
  const sample = there
    .slice(0, 20)
    .flatMap(({ operation: { op, parts } }) => [textsOf(op), [parts[0]?.[0] ?? op]]);
  const bytes = [...all].map((one) => Buffer.from(one.bytes.buffer, one.bytes.byteOffset, one.bytes.length));
  return sample
    .filter((texts) => !texts.some((text) => bytes.some((content) => content.includes(text))))
    .map(([text]) => `${text} is there, and the scan does not find it`);
}
