/**
 * `warp append ENTITY TYPE [DATA]`: appends one event, or with `--batch` those of a file, all or none.
 */
import { WarpError } from "../../core/errors.ts";
import type { NewEvent } from "../../core/event.ts";
import { UsageError } from "../exit.ts";
import { toTime } from "../moment.ts";
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
import { printOutcome } from "./append/outcome.ts";

interface AppendOptions {
  readonly batch?: string;
  readonly occurredAt?: number;
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
      "warp append alice --batch events.ndjson",
      'the events of a file, {"type", "data", "occurredAt"?} a line',
    ],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .argument("[type]", "type of the event")
      .argument("[data]", "its data, as JSON (default: null)")
      .option("--batch <file>", 'append the events of this file, all or none; "-" is standard input')
      .option("--occurred-at <time>", "when it happened, if that is not now", time);
    addWriteOptions(addCreateOptions(addTargetOptions(command)));
  },

  async run(command, { output, withTarget }) {
    const [entity = "", type, data] = command.args;
    const { batch, occurredAt } = command.opts<AppendOptions>();
    const events =
      batch === undefined ? [oneEvent(type, data, occurredAt)] : await readBatch(batch, type, occurredAt);
    return await withTarget(targetSettings(command, true), async (target) => {
      return await printOutcome(output, entity, await target.append(entity, events, writeOptions(command)));
    });
  },
};

function oneEvent(
  type: string | undefined,
  data: string | undefined,
  occurredAt: number | undefined,
): NewEvent {
  if (type === undefined) throw new UsageError("the type of the event is missing, or --batch");
  const event = { type, data: data === undefined ? null : json(data) };
  return occurredAt === undefined ? event : { ...event, occurredAt };
}

async function readBatch(
  path: string,
  type: string | undefined,
  occurredAt: number | undefined,
): Promise<NewEvent[]> {
  if (type !== undefined || occurredAt !== undefined) {
    throw new UsageError("with --batch, types and times are in the file");
  }
  const text = await (path === "-" ? Bun.stdin : Bun.file(path)).text();
  const lines = text.split("\n");
  return lines.flatMap((line, i) => (line.trim() === "" ? [] : [eventOf(line, i + 1)]));
}

function eventOf(line: string, number: number): NewEvent {
  const where = `line ${number}`;
  const value = parse(line, where);
  if (typeof value !== "object" || value === null || !("type" in value) || typeof value.type !== "string") {
    throw invalid(`${where} is no event: {"type": "…", "data": …}`);
  }
  const data = "data" in value ? value.data : null;
  if (!("occurredAt" in value)) return { type: value.type, data };
  const occurredAt = toTime(value.occurredAt, "ms");
  if (occurredAt === undefined) throw invalid(`occurredAt of ${where} is no time`);
  return { type: value.type, data, occurredAt };
}

function parse(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (thrown) {
    throw invalid(`${where} is no JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

function invalid(message: string): WarpError {
  return new WarpError("INVALID_EVENT", message);
}
