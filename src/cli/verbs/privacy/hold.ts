/**
 * `warp hold ENTITY`: keeps an entity from being erased; shows a hold, or releases it.
 */
import type { Hold } from "../../../core/receipt.ts";
import { exitCode, toLine, UsageError } from "../../exit.ts";
import { formatTime } from "../../moment.ts";
import { addTargetOptions, targetSettings, time } from "../../settings.ts";
import type { Verb } from "../../verb.ts";

interface HoldVerbOptions {
  readonly reason?: string;
  readonly by?: string;
  readonly until?: number;
  readonly release?: boolean;
}

export const holdVerb: Verb = {
  name: "hold",
  summary: "keep an entity from being erased, or release it",
  examples: [
    ["warp hold alice --reason 'claim 17/2026' --until 2030-01-01", "deletions are refused until then"],
    ["warp hold alice", "the hold that is in force"],
    ["warp hold alice --release", "deletions are let in again"],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .option("--reason <text>", "hold it, for this reason")
      .option("--by <text>", "on whose word")
      .option("--until <time>", "when the hold ends by itself (default: when it is released)", time)
      .option("--release", "end the hold");
    addTargetOptions(command);
  },

  async run(command, { output, withTarget }) {
    const [entity = ""] = command.args;
    const { reason, by, until, release } = command.opts<HoldVerbOptions>();
    if (release === true && reason !== undefined)
      throw new UsageError("--release and --reason exclude each other");
    if (reason === undefined && (by !== undefined || until !== undefined))
      throw new UsageError("a hold has a --reason");
    return await withTarget(targetSettings(command, false), async (target) => {
      if (release === true) await target.releaseHold(entity);
      const options = { ...(by === undefined ? {} : { by }), ...(until === undefined ? {} : { until }) };
      const hold =
        reason === undefined
          ? await target.currentHold(entity)
          : await target.hold(entity, { reason, ...options });
      await output.item({ entity, hold: hold ?? null }, toLine(textOf(entity, hold)));
      return exitCode.ok;
    });
  },
};

function textOf(entity: string, hold: Hold | undefined): string {
  if (hold === undefined) return `${entity} is not held`;
  const until = hold.until === undefined ? "until it is released" : `until ${formatTime(hold.until)}`;
  const by = hold.by === undefined ? "" : ` (by ${hold.by})`;
  return `${entity} is held since ${formatTime(hold.since)} ${until}: ${hold.reason}${by}`;
}
