/**
 * `warp backup TARGET` and `warp backup verify TARGET`.
 */
import type { Command } from "commander";
import { type VerifyReport, verifyBackup } from "../../backup/restore.ts";
import { WarpError } from "../../core/errors.ts";
import { describeFailure, type ExitCode, exitCode, UsageError } from "../exit.ts";
import { formatTime } from "../moment.ts";
import { formatBytes, formatCount, formatDuration, formatErased, ProgressMeter } from "../progress.ts";
import { addTargetOptions, rootKeyOf, targetSettings } from "../settings.ts";
import type { Verb, VerbContext } from "../verb.ts";

export const backupVerb: Verb = {
  name: "backup",
  summary: "back up a context, or verify a backup",
  endsRegardless: true,
  examples: [
    ["warp backup ../backups/banking", "adds what is new since the last backup there"],
    ["warp backup --addr 127.0.0.1:7400", "has a server back up into the target it was started with"],
    [
      "warp backup verify ../backups/banking --root-key-file root.key",
      "reads everything back and decrypts it",
    ],
  ],

  define(command) {
    command
      .argument(
        "[target]",
        'directory that holds the backup, not needed with --addr; or "verify", and the directory behind it',
      )
      .argument("[directory]", "the backup to verify");
    addTargetOptions(command);
  },

  async run(command, context) {
    const [first, second] = command.args;
    if (first === "verify" && second !== undefined) {
      return await verify(second, command, context);
    }
    if (first === "verify") throw new UsageError("name the backup to verify");
    if (second !== undefined) throw new UsageError(`there is no "backup ${first}"; there is "backup verify"`);
    const meter = new ProgressMeter(context.errors, context.output.json);
    return await context.withTarget(targetSettings(command, false), async (target) => {
      let bytes = 0;
      const report = await target.backup(first, (added) => {
        bytes += added;
        meter.update({ bytes, bytesTotal: undefined });
      });
      meter.clear();
      const { elapsedMs, segments } = report;
      const added = `${formatBytes(report.bytes)} in ${formatCount(segments)} segments`;
      await context.output.item(
        report,
        `backed up to ${report.target}: ${added}, ${formatDuration(elapsedMs)}`,
      );
      return exitCode.ok;
    });
  },
};

async function verify(directory: string, command: Command, context: VerbContext): Promise<ExitCode> {
  const meter = new ProgressMeter(context.errors, context.output.json);
  const rootKey = rootKeyOf(command) ?? (process.env.WARP_ROOT_KEY ? { env: "WARP_ROOT_KEY" } : undefined);
  try {
    const report = await verifyBackup({
      target: directory,
      rootKey,
      onProgress: ({ done, total }) => meter.update({ bytes: done, bytesTotal: total }),
    });
    meter.clear();
    await context.output.item(report, sentenceOf(report));
    return exitCode.ok;
  } catch (thrown) {
    meter.clear();
    if (!(thrown instanceof WarpError && damageCodes.has(thrown.code))) throw thrown;
    context.errors.write(describeFailure(thrown, context.output.json));
    return exitCode.damage;
  }
}

/** A target with one of these cannot be restored from as it is. */
const damageCodes: ReadonlySet<string> = new Set(["CORRUPT", "EVENTS_DROPPED"]);

function sentenceOf(report: VerifyReport): string {
  const { target, context, entities, erased, erasedSubjects, bytes, elapsedMs, decrypted, lastRecordedAt } =
    report;
  const newest =
    lastRecordedAt === 0 ? "nothing was recorded yet" : `the newest recorded ${formatTime(lastRecordedAt)}`;
  const how = decrypted ? "everything decrypts" : "nothing was decrypted: no root key was given";
  return (
    `${target}: no damage found; context ${context}, ${formatCount(entities)} entities, ` +
    `${formatErased(erased, erasedSubjects)}, ${formatBytes(bytes)}, ${newest}; ${how} (${formatDuration(elapsedMs)})`
  );
}
