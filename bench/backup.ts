/**
 * What backup, verifying and restoring take, and what a continuous backup costs the appends beside it:
 * `bun bench/backup.ts [--gib=0.5] [--batch=20] [--seconds=10] [--every=10000] [--rounds=3]`
 *
 * First `--gib` GiB of events are appended, backed up, verified and restored (check included). Then appends run with and
 * without a continuous backup, in turns. The files are in the page cache. Prints one JSON line.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BackupSchedule } from "../src/backup/schedule.ts";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { restoreBackup, start, verifyBackup, type Warp } from "../src/index.ts";

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "0.5" },
    /** Events of an append while the data is made; 1 for the appends that are measured. */
    batch: { type: "string", default: "20" },
    entities: { type: "string", default: "100000" },
    seconds: { type: "string", default: "10" },
    every: { type: "string", default: "10000" },
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
  const rootKey = { file: join(dataDir, "root.key") };
  const warp = await start({ context: "bench", aggregates: [ledger], dataDir, logger: quiet });
  await fill(warp, Number(values.gib) * 1024 ** 3);
  const backup = await warp.backup(target);
  const verified = await verifyBackup({ target, rootKey });
  const restored = await restoreBackup({ target, to: join(directory, "restored"), rootKey });
  rmSync(join(directory, "restored"), { recursive: true });
  const appends: { without: number[]; with: number[] } = { without: [], with: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    appends.without.push(await appendFor(warp, undefined));
    appends.with.push(await appendFor(warp, target));
  }
  await warp.close();
  const rate = (elapsedMs: number) => Math.round(backup.bytes / 1000 / elapsedMs);
  const { rows } = backup;
  console.log(
    JSON.stringify({
      bytes: backup.bytes,
      rows,
      bytesPerRow: Math.round(backup.bytes / rows),
      backupMBs: rate(backup.elapsedMs),
      verifyMBs: rate(verified.elapsedMs),
      restoreMBs: rate(restored.elapsedMs),
      appendsPerSecond: appends,
    }),
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function fill(warp: Warp, bytes: number): Promise<void> {
  let left = bytes / 130 / Number(values.batch);
  const caller = async () => {
    while (left-- > 0)
      await warp.entity(idOf(random.below(entities))).appendBatch(payments.batch(Number(values.batch)));
  };
  await Promise.all(Array.from({ length: 256 }, caller));
}

/** Appends a second. */
async function appendFor(warp: Warp, target: string | undefined): Promise<number> {
  const schedule =
    target === undefined
      ? undefined
      : new BackupSchedule({
          target,
          everyMs: Number(values.every),
          logger: quiet,
          backup: (to, options) => warp.backup(to, options),
        });
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
  await schedule?.stop();
  return perSecond;
}
