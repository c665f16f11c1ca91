/**
 * The bodies of writes: JSON, or one JSON event a line, in UTF-8.
 *
 * Text that is not well-formed is refused, never repaired: something else would be stored than was sent.
 *
 * JSON has to be declared. A page of another site can send a body without asking only as a form or as plain text, so
 * that rule also keeps such pages out.
 */
import type { NewEvent, Personal } from "../../core/event.ts";
import { readStrictUtf8 } from "../../core/utf8.ts";
import { timeOf } from "./parameters.ts";
import { badRequest, ProblemError } from "./problem.ts";

const byteOrderMark = "\ufeff";

/** One event, `{ "events": [...] }`, or a line for each. */
export async function readEvents(request: Request): Promise<NewEvent[]> {
  if (mediaTypeOf(request) === "ndjson") {
    const lines = (await textOf(request)).split("\n").filter((line) => line.trim() !== "");
    return lines.map((line, i) => toEvent(parseJson(line, `line ${i + 1}`), `line ${i + 1}`));
  }
  const body = parseJson(await textOf(request), "the body");
  if (!isRecord(body)) throw badRequest('the body is an event, or {"events": [...]}');
  if (!("events" in body)) return [toEvent(body, "the body")];
  const { events, ...others } = body;
  if (!Array.isArray(events) || Object.keys(others).length > 0) {
    throw badRequest('a batch is {"events": [...]} and nothing else');
  }
  return events.map((event, i) => toEvent(event, `events[${i}]`));
}

/** Any JSON value; undefined without a body. */
export async function readInput(request: Request): Promise<unknown> {
  const text = await textOf(request);
  if (text === "") return undefined;
  if (mediaTypeOf(request) !== "json") throw unsupported("application/json");
  return parseJson(text, "the body");
}

async function textOf(request: Request): Promise<string> {
  const bytes = Buffer.from(await request.arrayBuffer());
  const text = readStrictUtf8(bytes, 0, bytes.length);
  if (text === undefined) throw badRequest("the body is not well-formed UTF-8");
  return text.startsWith(byteOrderMark) ? text.slice(1) : text;
}

function toEvent(value: unknown, where: string): NewEvent {
  if (!isRecord(value) || typeof value.type !== "string") {
    throw invalidEvent(`${where} is no event: {"type": "…", "data": …}`);
  }
  const { type, data = null, occurredAt, personal, ...others } = value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalidEvent(`${where} has a field ${JSON.stringify(unknown)}`);
  const event =
    personal === undefined ? { type, data } : { type, data, personal: toPersonal(personal, where) };
  if (occurredAt === undefined || occurredAt === null) return event;
  if (typeof occurredAt !== "number" && typeof occurredAt !== "string") {
    throw invalidEvent(`occurredAt of ${where} is ms since 1970 or a time such as "2026-11-22T16:00:00Z"`);
  }
  const time = typeof occurredAt === "number" ? occurredAt : timeOf(`occurredAt of ${where}`, occurredAt);
  return { ...event, occurredAt: time };
}

function toPersonal(value: unknown, where: string): Personal {
  if (
    isRecord(value) &&
    typeof value.subject === "string" &&
    Object.keys(value).length === 2 &&
    "data" in value
  )
    return { subject: value.subject, data: value.data };
  throw invalidEvent(`personal of ${where} is {"subject": "…", "data": …}`);
}

function mediaTypeOf(request: Request): "json" | "ndjson" {
  const [type = "", ...parameters] = (request.headers.get("content-type") ?? "").toLowerCase().split(";");
  for (const parameter of parameters) {
    const charset = /^\s*charset\s*=\s*"?([^"]*?)"?\s*$/.exec(parameter)?.[1];
    if (charset !== undefined && charset !== "utf-8" && charset !== "utf8")
      throw unsupported("application/json or application/x-ndjson, in UTF-8");
  }
  const given = type.trim();
  if (given === "application/json" || /^application\/[\w.-]+\+json$/.test(given)) return "json";
  if (given === "application/x-ndjson" || given === "application/ndjson") return "ndjson";
  throw unsupported("application/json or application/x-ndjson");
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw badRequest(`${where} is no JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalidEvent(detail: string): ProblemError {
  return new ProblemError({ code: "INVALID_EVENT", detail });
}

function unsupported(wanted: string): ProblemError {
  return new ProblemError({ code: "UNSUPPORTED_MEDIA_TYPE", detail: `Content-Type has to be ${wanted}` });
}
