/**
 * `warp events ENTITY`: the events of an entity, oldest or newest first.
 */
import type { StoredEvent } from "../../core/event.ts";
import { exitCode, NotFoundError } from "../exit.ts";
import { formatTime } from "../moment.ts";
import { type Column, toJson } from "../output.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { Verb } from "../verb.ts";

interface EventsOptions {
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
  readonly reverse?: true;
}

const columns: readonly Column<StoredEvent>[] = [
  { title: "seq", of: ({ seq }) => String(seq), align: "right" },
  { title: "recorded", of: ({ recordedAt }) => formatTime(recordedAt) },
  { title: "occurred", of: ({ occurredAt }) => (occurredAt === undefined ? "-" : formatTime(occurredAt)) },
  { title: "type", of: ({ type }) => type },
  { title: "data", of: ({ data }) => toJson(data) },
];

export const eventsVerb: Verb = {
  name: "events",
  summary: "print the events of an entity",
  examples: [
    ["warp events alice", "all events of the entity alice, oldest first"],
    ["warp events alice --reverse --limit 10 --json", "its ten newest, newest first, one JSON object a line"],
  ],

  define(command) {
    command.argument("<entity>", "id of the entity");
    addTargetOptions(command)
      .option("--from <seq>", "first seq to print", wholeNumber(1))
      .option("--to <seq>", "last seq to print", wholeNumber(1))
      .option("--limit <count>", "print at most this many", wholeNumber(1))
      .option("--reverse", "newest first");
  },

  async run(command, { output, withTarget }) {
    const [entity = ""] = command.args;
    const { reverse, ...range } = command.opts<EventsOptions>();
    const { from, to, limit } = range;
    return await withTarget(targetSettings(command, false), async (target) => {
      const events = target.events(entity, {
        direction: reverse === true ? "backward" : "forward",
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(limit === undefined ? {} : { limit }),
      });
      const count = await output.table(events, columns);
      if (count > 0 || (await target.seq(entity)) > 0) return exitCode.ok;
      throw new NotFoundError(`the entity ${JSON.stringify(entity)} has no events`);
    });
  },
};
