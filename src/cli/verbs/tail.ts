/**
 * `warp tail`: what is appended, from anywhere in the past on, as it becomes durable.
 */
import type { StoredEvent } from "../../core/event.ts";
import { exitCode, toLine, UsageError } from "../exit.ts";
import { formatTime, toTime } from "../moment.ts";
import { toJson } from "../output.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { SubscriptionQuery } from "../target.ts";
import type { Verb } from "../verb.ts";

interface TailOptions {
  readonly prefix?: string;
  readonly type?: string[];
  readonly from?: string;
  readonly limit?: number;
  readonly once?: true;
  readonly marks?: true;
  readonly stored?: true;
}

export const tailVerb: Verb = {
  name: "tail",
  summary: "print events as they are appended",
  examples: [
    ["warp tail --addr 127.0.0.1:7400", "on a server: everything that is appended from now on"],
    ["warp tail alice --from start --addr 127.0.0.1:7400", "the events of alice, and then those to come"],
    ["warp tail --prefix order- --type Paid --from 2026-11-01 --addr 127.0.0.1:7400", "payments since a day"],
    ["warp tail --from start --once --marks --json", "all there is, and the cursor to go on from"],
  ],

  define(command) {
    command.argument("[entity]", "only the events of this entity");
    addTargetOptions(command)
      .option("--prefix <text>", "only entities whose ids begin so")
      .option("--type <type...>", "only events of these types")
      .option("--from <where>", "start, end, a cursor, or a time of recording (default: end)")
      .option("--limit <count>", "end after this many events", wholeNumber(1))
      .option("--once", "end when everything there is has been printed")
      .option("--marks", "also print cursors, when everything there is has been printed")
      .option("--stored", "events as they were stored, not in the newest version of their types");
  },

  async run(command, { output, errors, signal, withTarget }) {
    const [entity] = command.args;
    const options = command.opts<TailOptions>();
    const { limit = Number.POSITIVE_INFINITY, once, marks } = options;
    const warn = (reason: string) =>
      errors.write(output.json ? `${JSON.stringify({ warning: reason })}\n` : `warp: ${reason}; going on\n`);
    const query = queryOf(entity, options, signal, warn);
    return await withTarget(targetSettings(command, false), async (target) => {
      let left = limit;
      for await (const message of target.subscribe(query)) {
        if (message.kind === "events") {
          for (const event of message.events.slice(0, left)) await output.item(event, lineOf(event));
          left -= message.events.length;
        } else if (message.kind === "erased") {
          await output.item({ erased: message.entity }, `erased  ${toLine(message.entity)}`);
        } else if (message.kind === "dropped") {
          const { entity: of, droppedTo } = message;
          await output.item({ dropped: of, droppedTo }, `dropped  ${toLine(of)}  up to ${droppedTo}`);
        } else {
          const { cursor } = message;
          if (marks === true) await output.item({ caughtUp: cursor }, `caught up  ${cursor}`);
          // Nobody else writes to a directory that this process holds.
          if (once === true || !target.isShared) break;
        }
        await output.flush();
        if (left <= 0) break;
      }
      return exitCode.ok;
    });
  },
};

function queryOf(
  entity: string | undefined,
  { prefix, type: types, from = "end", stored }: TailOptions,
  signal: AbortSignal,
  tell: (reason: string) => void,
): SubscriptionQuery {
  if (entity !== undefined && prefix !== undefined) throw new UsageError("an entity or --prefix, not both");
  const time = from === "start" || from === "end" ? undefined : toTime(from);
  const onInterrupted = ({ code, message }: { code: string; message: string }) => tell(`${code}: ${message}`);
  return { entity, prefix, types, stored, from: time === undefined ? from : { time }, signal, onInterrupted };
}

export function lineOf({ entity, seq, recordedAt, type, data }: StoredEvent): string {
  return [formatTime(recordedAt), entity, String(seq), type, toJson(data)].map(toLine).join("  ");
}
