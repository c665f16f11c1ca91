/**
 * `warp append ENTITY TYPE [DATA]`: appends one event, or with `--batch` those of a file, all or none.
 */
import { isUtf8 } from "node:buffer";
import { toWarpError, WarpError } from "../../core/errors.ts";
import type { NewEvent, Personal } from "../../core/event.ts";
import { readJson } from "../../core/exact-json.ts";
import { UsageError } from "../exit.ts";
import { toTime } from "../moment.ts";
import { printOutcome } from "../output.ts";
import {
  addCreateOptions,
  addTargetOptions,
  addWriteOptions,
  json,
  targetSettings,
  time,
  writeOptions,
} from "../settings.ts";
import type { Verb } from "../verb.ts";

interface AppendOptions {
  readonly batch?: string;
  readonly occurredAt?: number;
  readonly subject?: string;
  readonly personal?: string;
}

export const appendVerb: Verb = {
  name: "append",
  summary: "append an event, or several at once, to an entity",
  examples: [
    [
      "warp append alice Credited '{\"cents\":5000}' --key salary-2026-11",
      "one event, however often it is run",
    ],
    ["warp append alice Noted --expect none", "only if alice has no events yet"],
    [
      'warp append order-1 Shipped --subject customer-2 --personal \'{"address":"Elm Street 1"}\'',
      "with data about somebody else, which goes with her",
    ],
    [
      "warp append alice --batch events.ndjson",
      'the events of a file, {"type", "data", "occurredAt"?, "personal"?} a line',
    ],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .argument("[type]", "type of the event")
      .argument("[data]", "its data, as JSON (default: null)")
      .option("--batch <file>", 'append the events of this file, all or none; "-" is standard input')
      .option("--occurred-at <time>", "when it happened, if that is not now", time)
      .option("--subject <id>", "whom --personal is about")
      .option("--personal <data>", "data about the subject, as JSON: unreadable once she is deleted");
    addWriteOptions(addCreateOptions(addTargetOptions(command)));
  },

  async run(command, { output, withTarget }) {
    const [entity = "", type, data] = command.args;
    const { batch, ...options } = command.opts<AppendOptions>();
    const events =
      batch === undefined ? [oneEvent(type, data, options)] : await readBatch(batch, type, options);
    return await withTarget(targetSettings(command, true), async (target) => {
      return await printOutcome(output, entity, await target.append(entity, events, writeOptions(command)));
    });
  },
};

function oneEvent(
  type: string | undefined,
  data: string | undefined,
  { occurredAt, subject, personal }: AppendOptions,
): NewEvent {
  if (type === undefined) throw new UsageError("the type of the event is missing, or --batch");
  if ((subject === undefined) !== (personal === undefined))
    throw new UsageError("--subject and --personal go together");
  const said =
    subject === undefined || personal === undefined ? {} : { personal: { subject, data: json(personal) } };
  const event = { type, data: data === undefined ? null : json(data), ...said };
  return occurredAt === undefined ? event : { ...event, occurredAt };
}

const eventOptions = ["occurredAt", "subject", "personal"];

async function readBatch(path: string, type: string | undefined, given: AppendOptions): Promise<NewEvent[]> {
  if (type !== undefined || Object.keys(given).some((name) => eventOptions.includes(name))) {
    throw new UsageError("with --batch, types, times and personal data are in the file");
  }
  const lines = (await readText(path)).split("\n");
  return lines.flatMap((line, i) => (line.trim() === "" ? [] : [eventOf(line, i + 1)]));
}

/** The text of a file, or of standard input. A byte order mark is left out. */
async function readText(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = Buffer.from(await (path === "-" ? Bun.stdin : Bun.file(path)).arrayBuffer());
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  const lines = bytes.toString("latin1").split("\n");
  const at = lines.findIndex((line) => !isUtf8(Buffer.from(line, "latin1")));
  throw invalid(`line ${at + 1} is not UTF-8`);
}

function eventOf(line: string, number: number): NewEvent {
  const where = `line ${number}`;
  const read = readJson(line);
  if (read.problem !== undefined) throw invalid(`${where} ${read.problem}`);
  const { value } = read;
  if (typeof value !== "object" || value === null || !("type" in value) || typeof value.type !== "string") {
    throw invalid(`${where} is no event: {"type": "…", "data": …}`);
  }
  const data = "data" in value ? value.data : null;
  // What is no { subject, data } is refused where it is appended.
  const said = "personal" in value ? { personal: value.personal as Personal } : {};
  if (!("occurredAt" in value)) return { type: value.type, data, ...said };
  const occurredAt = toTime(value.occurredAt, "ms");
  if (occurredAt === undefined) throw invalid(`occurredAt of ${where} is no time`);
  return { type: value.type, data, occurredAt, ...said };
}

function invalid(message: string): WarpError {
  return new WarpError("INVALID_EVENT", message);
}
