/**
 * What may be said of a handler's failure where it outlives the event: in the log, and in the row of an entity that is held back.
 *
 * A message of the application, or of the JavaScript engine, may hold values of the event, which may be personal and would stay
 * when their entity is erased. So of those the kind and the place in the application are told, and no message.
 */
import { WarpError } from "../../core/errors.ts";

export function failureText(thrown: unknown): string {
  // Those of tables and columns name no values.
  if (thrown instanceof WarpError && thrown.code === "PROJECTION_FAILED") return thrown.message;
  if (thrown instanceof WarpError) return thrown.code;
  if (!(thrown instanceof Error)) return `a ${typeof thrown} was thrown`;
  const place = /[^\s(/\\]+\.[cm]?[jt]s:\d+:\d+/.exec(placesOf(thrown))?.[0];
  return place === undefined ? thrown.name : `${thrown.name} at ${place}`;
}

/** The stack without the message, which may be of several lines and look like anything. */
function placesOf({ stack = "", message }: Error): string {
  const at = stack.indexOf(message);
  return at < 0 ? stack : stack.slice(at + message.length);
}
