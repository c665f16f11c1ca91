/**
 * `warp events ENTITY`: the events of an entity, oldest or newest first.
 */
import type { StoredEvent } from "../../core/event.ts";
import { exitCode, NotFoundError, toLine, UsageError } from "../exit.ts";
import { formatTime } from "../moment.ts";
import { type Column, toJson } from "../output.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { Verb } from "../verb.ts";

interface EventsOptions {
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
  readonly reverse?: true;
  readonly follow?: true;
}

const columns: readonly Column<StoredEvent>[] = [
  { title: "seq", of: ({ seq }) => String(seq), align: "right" },
  { title: "recorded", of: ({ recordedAt }) => formatTime(recordedAt) },
  { title: "occurred", of: ({ occurredAt }) => (occurredAt === undefined ? "-" : formatTime(occurredAt)) },
  { title: "type", of: ({ type }) => type },
  { title: "data", of: ({ data, personal }) => toJson(data) + said(personal) },
];

/** Behind the data: what the event says of somebody else. */
function said(personal: unknown): string {
  if (personal === undefined) return "";
  return personal === null ? " (personal: erased)" : ` (personal: ${toJson(personal)})`;
}

export const eventsVerb: Verb = {
  name: "events",
  summary: "print the events of an entity",
  examples: [
    ["warp events alice", "all events of the entity alice, oldest first"],
    ["warp events alice --reverse --limit 10 --json", "its ten newest, newest first, one JSON object a line"],
    ["warp events alice --addr 127.0.0.1:7400 --follow", "on a server: all of them, and then those to come"],
  ],

  define(command) {
    command.argument("<entity>", "id of the entity");
    addTargetOptions(command)
      .option("--from <seq>", "first seq to print", wholeNumber(1))
      .option("--to <seq>", "last seq to print", wholeNumber(1))
      .option("--limit <count>", "print at most this many", wholeNumber(1))
      .option("--reverse", "newest first")
      .option("--follow", "go on with the events to come, until interrupted (with --addr)");
  },

  async run(command, { output, signal, withTarget }) {
    const [entity = ""] = command.args;
    const { reverse, follow, from, to, limit } = command.opts<EventsOptions>();
    const settings = targetSettings(command, false);
    if (follow === true && (reverse ?? to) !== undefined) {
      throw new UsageError("--follow goes forward and has no end");
    }
    return await withTarget(settings, async (target) => {
      if (follow === true) {
        if (!target.isShared)
          throw new UsageError("--follow needs a server (--addr): nobody else writes here");
        let first = from ?? 1;
        let left = limit ?? Number.POSITIVE_INFINITY;
        for await (const message of target.subscribe({ entity, from: "start", signal })) {
          const events = message.kind === "events" ? message.events : [];
          if (message.kind === "dropped" && message.droppedTo >= first) {
            const { droppedTo } = message;
            await output.item({ dropped: entity, droppedTo }, `dropped up to ${droppedTo}`);
          }
          if (message.kind === "erased") {
            await output.item({ erased: entity }, "erased");
            // Whoever begins under this id now is somebody else.
            first = 1;
          }
          for (const event of events.filter(({ seq }) => seq >= first).slice(0, left)) {
            await output.item(event, lineOf(event));
            left--;
          }
          await output.flush();
          if (left === 0) break;
        }
        return exitCode.ok;
      }
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

/** Without a table: its widths would be known only at the end. */
function lineOf(event: StoredEvent): string {
  return columns.map(({ of }) => toLine(of(event))).join("  ");
}
