/**
 * `warp keys status` and `warp keys rotate`: the period keys that wrap the keys of entities.
 */
import { resolve } from "node:path";
import { readIdentity } from "../../../core/data-directory.ts";
import type { PeriodStatus } from "../../../core/period-status.ts";
import { periodStatus } from "../../../privacy/rotation.ts";
import { exitCode, UsageError } from "../../exit.ts";
import { formatCount, formatDuration } from "../../progress.ts";
import { addTargetOptions, targetSettings } from "../../settings.ts";
import type { TargetSettings } from "../../local-target.ts";
import type { Verb, VerbContext } from "../../verb.ts";

export const keysVerb: Verb = {
  name: "keys",
  summary: "show the period keys, or replace them",
  examples: [
    ["warp keys status", "the periods, and how many keys of entities each wraps"],
    ["warp keys rotate", "wraps all of them by a new period and destroys the old"],
    ["warp keys rotate --addr 127.0.0.1:7400", "the same on a running server, beside its clients"],
  ],

  define(command) {
    command.argument("<status|rotate>", "what to do");
    addTargetOptions(command);
  },

  async run(command, context) {
    const [action] = command.args;
    const settings = targetSettings(command, false);
    if (action === "rotate") {
      return await context.withTarget({ ...settings, mode: "log" }, async (target) => {
        const report = await target.rotateKeys();
        const { period, keys, elapsedMs } = report;
        const text = `period ${period} wraps ${formatCount(keys)} keys; the periods before are destroyed (${formatDuration(elapsedMs)})`;
        await context.output.item(report, text);
        return exitCode.ok;
      });
    }
    if (action !== "status") throw new UsageError("it is keys status, or keys rotate");
    const periods = await statusOf(settings, context);
    await context.output.table(
      (async function* () {
        yield* periods;
      })(),
      [
        { title: "period", of: ({ period }) => String(period), align: "right" },
        { title: "since", of: ({ createdAt }) => createdAt },
        { title: "keys", of: ({ keys }) => formatCount(keys), align: "right" },
        { title: "", of: ({ isCurrent }) => (isCurrent ? "current" : "old") },
      ],
    );
    return exitCode.ok;
  },
};

/** A directory is only looked at: who has it open is not disturbed, and no key is needed. */
async function statusOf(
  settings: TargetSettings,
  { withTarget }: VerbContext,
): Promise<readonly PeriodStatus[]> {
  if (settings.addr !== undefined) return await withTarget(settings, (target) => target.keysStatus());
  const dataDir = resolve(settings.dataDir);
  return await periodStatus({ dataDir, shards: readIdentity(dataDir).shards });
}
