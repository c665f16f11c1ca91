/**
 * How a command ends: its exit status, and what it says on standard error when it failed.
 *
 * - The codes are API. Scripts tell "wrong usage" from "did not work" from "the data is damaged".
 * - A failure is one line `warp: CODE: message (detail=value, …)`, or with `--json` one JSON object.
 */
import { AssertionError, WarpError } from "../core/errors.ts";

export const exitCode = {
  ok: 0,
  /** The command failed; the message says why. */
  failure: 1,
  /** The command line is wrong; nothing was done. */
  usage: 2,
  /** `check` found damage. */
  damage: 3,
  /** The entity has no events. */
  notFound: 4,
  /** Another seq than expected, or a command that said no; nothing was appended. */
  refused: 5,
  /** An erasure has begun and goes on by itself, but something of the entity is still there. */
  pending: 6,
  /** Ended by SIGINT or SIGTERM; what was acknowledged is durable. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** A command line that cannot be run. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The entity that was asked for has no events. */
export class NotFoundError extends Error {
  override readonly name = "NotFoundError";
}

/** What is written to standard error for something that was thrown, with a line end. */
export function describeFailure(thrown: unknown, json: boolean): string {
  const { code, message, details } = partsOf(thrown);
  if (json) return `${JSON.stringify({ code, message, details })}\n`;
  return `warp: ${code}: ${toLine(message.replace(/\s*\n\s*/g, " "))}${describeFields(details)}\n`;
}

/** " (name=value, …)", or nothing. */
export function describeFields(fields: Readonly<Record<string, unknown>>): string {
  const known = Object.entries(fields).map(([name, value]) => `${name}=${toLine(plain(value))}`);
  return known.length === 0 ? "" : ` (${known.join(", ")})`;
}

/** Text that stays on its line and cannot steer a terminal: control characters are shown as escapes. */
export function toLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function partsOf(thrown: unknown): {
  code: string;
  message: string;
  details: Readonly<Record<string, unknown>>;
} {
  if (thrown instanceof WarpError) return thrown;
  if (thrown instanceof UsageError) return { code: "USAGE", message: thrown.message, details: {} };
  if (thrown instanceof NotFoundError) return { code: "NOT_FOUND", message: thrown.message, details: {} };
  // A bug of ours: where it happened is what a report of it needs.
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const at = thrown instanceof Error ? /\n\s*at (.*)/.exec(thrown.stack ?? "")?.[1] : undefined;
  const code = thrown instanceof AssertionError ? "ASSERTION_FAILED" : "UNEXPECTED";
  return { code, message, details: at === undefined ? {} : { at } };
}

function plain(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
}
