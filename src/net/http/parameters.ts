/**
 * What stands in the query and the headers of a request, checked. What cannot be read is refused, never ignored.
 */
import { limits } from "../../core/limits.ts";
import type { Expect, Moment, WriteOptions } from "../protocol/outcomes.ts";
import { badRequest } from "./problem.ts";

const timeForm = /^\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:\d{2}))?$/;

/** The query's parameters, of which only `known` may occur, each once. */
export function queryOf<Name extends string>(
  request: Request,
  ...known: Name[]
): Partial<Record<Name, string>> {
  const query: Partial<Record<Name, string>> = {};
  for (const [given, value] of new URL(request.url).searchParams) {
    const name = known.find((one) => one === given);
    if (name === undefined) {
      throw badRequest(`there is no parameter ${JSON.stringify(given)} here; there is ${known.join(", ")}`);
    }
    if (query[name] !== undefined) throw badRequest(`the parameter ${name} occurs twice`);
    query[name] = value;
  }
  return query;
}

export function wholeNumber(name: string, text: string | undefined, low = 0): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= low) return value;
  throw badRequest(`${name} is a whole number from ${low}, not ${JSON.stringify(text)}`);
}

/** How many things a page has: `limit`, at most `most`, or `usual` when it is not said. */
export function pageSize(text: string | undefined, usual: number, most: number): number {
  return Math.min(most, wholeNumber("limit", text, 1) ?? usual);
}

/** `at` is a seq or a time of recording, `occurred` a time of the events' own. */
export function momentOf(at: string | undefined, occurred: string | undefined): Moment | undefined {
  if (at !== undefined && occurred !== undefined) throw badRequest("at and occurred exclude each other");
  if (occurred !== undefined) return { occurred: timeOf("occurred", occurred) };
  if (at === undefined) return undefined;
  const seq = /^\d+$/.test(at) ? wholeNumber("at", at) : undefined;
  return seq === undefined ? { recorded: timeOf("at", at) } : { seq };
}

/** RFC 3339, a date (its first moment in UTC), or ms since 1970. */
export function timeOf(name: string, text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  const time = timeForm.test(text) ? Date.parse(text.replace(" ", "T")) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  const forms = '"2026-11-22", "2026-11-22T16:00:00Z" or ms since 1970';
  throw badRequest(`${name} is a time such as ${forms}, not ${JSON.stringify(text)}`);
}

/** What the headers of a write ask for. */
export function writeOptionsOf({ headers }: Request): WriteOptions {
  const expect = expectOf(headers.get("if-match"), headers.get("if-none-match"));
  const key = keyOf(headers.get("idempotency-key"));
  return { ...(expect === undefined ? {} : { expect }), ...(key === undefined ? {} : { key }) };
}

const conditions = ["if-match", "if-none-match", "idempotency-key"];

/** For a request that knows no conditions: to do it all the same could be what was to be prevented. */
export function requireUnconditional({ headers }: Request): void {
  const given = conditions.find((name) => headers.has(name));
  if (given !== undefined) throw badRequest(`${given} does not go with this request, and nothing was done`);
}

/** The entity tag of a seq. */
export function etagOf(seq: number): string {
  return `"${seq}"`;
}

function expectOf(match: string | null, noneMatch: string | null): Expect | undefined {
  if (match !== null && noneMatch !== null) {
    throw badRequest("If-Match and If-None-Match exclude each other");
  }
  if (noneMatch !== null) {
    if (noneMatch.trim() === "*") return "none";
    throw badRequest("If-None-Match of a write is *: the entity has no events yet");
  }
  if (match === null) return undefined;
  if (match.trim() === "*") return "exists";
  const seq = Number(/^\s*"(\d+)"\s*$/.exec(match)?.[1] ?? Number.NaN);
  if (Number.isSafeInteger(seq)) return seq;
  throw badRequest(`If-Match is * or one seq in quotes such as "12", not ${match}`);
}

/** A text in quotes, as a structured field has it, or the text as it stands. */
function keyOf(header: string | null): string | undefined {
  if (header === null) return undefined;
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header.trim())?.[1];
  const key = quoted === undefined ? header.trim() : quoted.replace(/\\(["\\])/g, "$1");
  if (!/^[\x20-\x7e]+$/.test(key) || key.length > limits.callerKeyBytesMax) {
    throw badRequest(`Idempotency-Key is 1 to ${limits.callerKeyBytesMax} printable ASCII characters`);
  }
  return key;
}
