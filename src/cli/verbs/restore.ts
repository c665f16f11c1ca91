/**
 * `warp restore TARGET --to DIR`: makes a new data directory of a backup.
 */
import { restoreBackup } from "../../backup/restore.ts";
import { WarpError } from "../../core/errors.ts";
import { exitCode } from "../exit.ts";
import { formatTime } from "../moment.ts";
import {
  formatBytes,
  formatCount,
  formatCounted,
  formatDuration,
  formatErased,
  ProgressMeter,
} from "../progress.ts";
import { rootKeyCommandOption, rootKeyFileOption, rootKeyOf, time } from "../settings.ts";
import type { Verb } from "../verb.ts";

interface RestoreVerbOptions {
  readonly to: string;
  readonly at?: number;
  readonly entity?: string;
}

export const restoreVerb: Verb = {
  name: "restore",
  summary: "make a new data directory of a backup",
  endsRegardless: true,
  examples: [
    ["warp restore ../backups/banking --to ./restored --root-key-file root.key", "everything that is in it"],
    [
      'warp restore ../backups/banking --to ./noon --at "2026-11-24T12:00" --root-key-file root.key',
      "as it was at noon (UTC); what was erased since stays erased",
    ],
    [
      "warp restore ../backups/banking --to ./alice --entity alice --root-key-file root.key",
      "the entity alice alone",
    ],
  ],

  define(command) {
    command
      .argument("<target>", "directory that holds the backup")
      .requiredOption("--to <dir>", "the new data directory; it must not exist, or be empty")
      .option("--at <time>", "nothing that was recorded later", time)
      .option("--entity <id>", "this entity alone")
      .addOption(rootKeyFileOption().default(undefined, "WARP_ROOT_KEY"))
      .addOption(rootKeyCommandOption());
  },

  async run(command, { output, errors }) {
    const [target = ""] = command.args;
    const { to, at, entity } = command.opts<RestoreVerbOptions>();
    const rootKey = rootKeyOf(command) ?? (process.env.WARP_ROOT_KEY ? { env: "WARP_ROOT_KEY" } : undefined);
    if (rootKey === undefined) {
      const why =
        "a backup does not contain the root key; name it with --root-key-file, --root-key-command or WARP_ROOT_KEY";
      throw new WarpError("ROOT_KEY_MISSING", why);
    }
    const meter = new ProgressMeter(errors, output.json);
    try {
      const report = await restoreBackup({
        target,
        to,
        rootKey,
        at,
        entity,
        onProgress: ({ done, total }) => meter.update({ bytes: done, bytesTotal: total }),
      });
      meter.clear();
      const { dataDir, entities, events, bytes, elapsedMs, lastRecordedAt, erased, erasedSubjects } = report;
      const { withoutKey, unreadableHolds } = report;
      const newest = lastRecordedAt === 0 ? "" : `, up to ${formatTime(lastRecordedAt)}`;
      const text =
        `restored to ${dataDir}: ${formatCount(entities)} entities, ${formatCount(events)} events${newest}; ` +
        `left out: ${formatErased(erased, erasedSubjects)} (${formatBytes(bytes)}, ${formatDuration(elapsedMs)})`;
      const lines = [text];
      if (withoutKey > 0)
        lines.push(
          `also left out: ${formatCounted(withoutKey, "damaged key")}, with all that stands under it`,
        );
      if (unreadableHolds > 0)
        lines.push(`${formatCounted(unreadableHolds, "hold")} cannot be read: in force until released`);
      await output.item(report, lines.join("\n"));
      return exitCode.ok;
    } finally {
      meter.clear();
    }
  },
};
