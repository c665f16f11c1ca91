/**
 * What a command decides: events, nothing, or a rejection.
 *
 * - A rejection is an outcome, not an error: it is returned, stored under the caller's key and repeated.
 * - Deciding is synchronous and returns data. A command that throws, returns a Promise or something that is no event
 *   is a bug of the application (COMMAND_FAILED); nothing is appended.
 */
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { eventTypeProblem } from "./event-type.ts";
import { isJsonData } from "./json-data.ts";

/** A command's no. Made by {@link reject}. */
export class Rejection {
  /** For programs, such as `INSUFFICIENT_FUNDS`. */
  readonly code: string;
  /** JSON data that explains it. */
  readonly details: unknown;

  constructor(code: string, details: unknown) {
    this.code = code;
    this.details = details;
  }
}

/** Returned by a command that refuses. `details` is JSON data; `null` when there is none. */
export function reject(code: string, details: unknown = null): Rejection {
  return new Rejection(code, details);
}

/** What a command may return: an event, events, nothing, or a rejection. */
export type Decision<Event = NewEvent> = Event | readonly Event[] | Rejection | undefined;

/** Where a decision is made, for messages. */
export interface CommandPlace {
  readonly aggregate: string;
  readonly command: string;
  readonly entity: string;
}

/**
 * Runs a command and brings what it returns into one form: the events (their data unchecked) or the rejection.
 * Throws COMMAND_FAILED with the cause.
 */
export function decide(
  run: (state: unknown, input: unknown) => unknown,
  state: unknown,
  input: unknown,
  place: CommandPlace,
): readonly NewEvent[] | Rejection {
  let returned: unknown;
  try {
    returned = run(state, input);
  } catch (thrown) {
    throw failed(place, `threw: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
  const problem = problemOf(returned);
  if (problem !== undefined) throw failed(place, problem);
  if (returned === undefined || returned === null) return [];
  if (returned instanceof Rejection) return returned;
  return (Array.isArray(returned) ? returned : [returned]) as readonly NewEvent[];
}

function problemOf(returned: unknown): string | undefined {
  if (returned === undefined || returned === null) return undefined;
  if (returned instanceof Rejection) return rejectionProblem(returned);
  if (returned instanceof Promise) return promiseProblem(returned);
  if (!Array.isArray(returned)) return eventProblem(returned);
  for (const event of returned) {
    const problem = eventProblem(event);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function eventProblem(event: unknown): string | undefined {
  if (typeof event !== "object" || event === null) return `returned ${typeof event}, which is no event`;
  const problem = eventTypeProblem((event as { type?: unknown }).type);
  return problem === undefined ? undefined : `returned an event whose type ${problem}`;
}

function promiseProblem(returned: Promise<unknown>): string {
  // Its own failure would otherwise be reported as unhandled, beside the one that is thrown here.
  returned.catch(() => undefined);
  return "returned a Promise: decide on the state alone, and call others before or after";
}

/** What is wrong with what a function returned that may return nothing or a rejection; undefined when nothing is. */
export function outcomeProblem(returned: unknown): string | undefined {
  if (returned === undefined || returned === null) return undefined;
  if (returned instanceof Rejection) return rejectionProblem(returned);
  if (returned instanceof Promise) return promiseProblem(returned);
  return `returned ${typeof returned}, which is neither nothing nor a rejection`;
}

function rejectionProblem({ code, details }: Rejection): string | undefined {
  if (typeof code !== "string" || code === "") return "rejected without a code";
  // A rejection is told, and stored under a key, as UTF-8.
  const isData = isJsonData(details) && !hasLoneSurrogate(JSON.stringify([code, details]));
  return isData ? undefined : `rejected with ${code} and details that are not JSON data`;
}

/** JSON escapes them, and nothing else from there. */
function hasLoneSurrogate(json: string): boolean {
  return /(?<!\\)(?:\\\\)*\\ud/.test(json);
}

function failed(place: CommandPlace, why: string, cause?: unknown): WarpError {
  const { aggregate, command, entity } = place;
  const message = `command ${command} of ${aggregate} on entity ${JSON.stringify(entity)} ${why}`;
  return new WarpError("COMMAND_FAILED", message, { aggregate, command, entity }, cause);
}
