/**
 * `warp get ENTITY`: the state of an entity, now or at a moment of its history.
 */
import { InvalidArgumentError, Option } from "commander";
import { droppedType } from "../../core/dropped.ts";
import { WarpError } from "../../core/errors.ts";
import { exitCode, NotFoundError } from "../exit.ts";
import { formatTime } from "../moment.ts";
import { toJson } from "../output.ts";
import { addTargetOptions, targetSettings, time, wholeNumber } from "../settings.ts";
import type { Moment, Target } from "../target.ts";
import type { Verb } from "../verb.ts";

interface GetOptions {
  readonly at?: Moment;
  readonly occurredAt?: number;
  readonly aggregate?: string;
}

export const getVerb: Verb = {
  name: "get",
  summary: "print the state of an entity, now or at an earlier moment",
  examples: [
    ["warp get alice", "the newest state of the entity alice"],
    ["warp get alice --at 12 --json", "its state after event 12, as JSON"],
    [
      "warp get DFW --app flights.ts --occurred-at 2001-02-01",
      "what had happened by then, by the events' own time",
    ],
  ],

  define(command) {
    command.argument("<entity>", "id of the entity");
    addTargetOptions(command)
      .option("--at <seq|time>", "as it was after this event, or at this time of recording", momentOf)
      .addOption(
        new Option("--occurred-at <time>", "with the events that had happened by then")
          .argParser(time)
          .conflicts("at"),
      )
      .option("--aggregate <name>", "this aggregate only (default: all)");
  },

  async run(command, { output, withTarget }) {
    const [entity = ""] = command.args;
    const { at, occurredAt, aggregate } = command.opts<GetOptions>();
    const moment: Moment | undefined = occurredAt === undefined ? at : { occurred: occurredAt };
    return await withTarget(targetSettings(command, false), async (target) => {
      const names = aggregatesOf(target, aggregate);
      const seq = await target.seq(entity);
      if (seq === 0) throw new NotFoundError(`the entity ${JSON.stringify(entity)} has no events`);
      const dropped = await droppedTo(target, entity);
      if (moment !== undefined && "seq" in moment && moment.seq > seq) {
        const why = `${JSON.stringify(entity)} is at seq ${seq}; digits alone are a seq, a time is written as "2001-01-13T14:56"`;
        throw new WarpError("INVALID_ARGUMENT", why, { seq });
      }
      const gap = dropped === 0 ? "" : `\nevents 1 to ${dropped} were dropped by retention`;
      for (const name of names) {
        // Others may append meanwhile: each state goes with its own seq.
        const { state, ...when } =
          moment === undefined
            ? await target.snapshot(entity, name)
            : { at: moment, state: await target.stateAt(entity, name, moment) };
        const title = `${entity} ${name} ${momentText("at" in when ? when.at : when)}`;
        const text = `${output.bold(title)}${gap}\n${toJson(state, 2)}`;
        const droppedTo = dropped === 0 ? {} : { droppedTo: dropped };
        await output.item({ entity, ...when, ...droppedTo, aggregate: name, state }, text);
      }
      return exitCode.ok;
    });
  },
};

/** The newest seq of what retention has dropped; 0 when the history is whole. */
async function droppedTo(target: Target, entity: string): Promise<number> {
  for await (const { type, seq } of target.events(entity, { limit: 1 }))
    return type === droppedType ? seq : 0;
  return 0;
}

/** Digits alone are a seq; anything else is a time. */
function momentOf(text: string): Moment {
  if (/^\d+$/.test(text)) return { seq: wholeNumber(0)(text) };
  try {
    return { recorded: time(text) };
  } catch {
    throw new InvalidArgumentError('It must be a seq such as 12, or a time such as "2001-01-13T14:56".');
  }
}

function aggregatesOf(target: Target, name: string | undefined): readonly string[] {
  if (name === undefined) return target.aggregates;
  if (target.aggregates.includes(name)) return [name];
  const known = target.aggregates.join(", ");
  throw new WarpError("UNKNOWN_AGGREGATE", `there is no aggregate "${name}"; there is ${known}`, {
    aggregate: name,
  });
}

function momentText(moment: Moment): string {
  if ("seq" in moment) return `at seq ${moment.seq}`;
  if ("recorded" in moment) return `as recorded by ${formatTime(moment.recorded)}`;
  return `as of ${formatTime(moment.occurred)}`;
}
