/**
 * Failures over HTTP: one closed list of codes, each with its status, as problem documents (RFC 9457).
 *
 * - The engine's codes keep their names; the few that only HTTP has are in `httpCodes`.
 * - A bug of ours says INTERNAL and nothing of its insides; what it was goes to the log.
 */
import { type ErrorCode, errorCodes, WarpError } from "../../core/errors.ts";
import { toJson } from "./json.ts";

const statusOf: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  INVALID_EVENT: 400,
  CROSS_SHARD: 400,
  CURSOR_FOREIGN: 400,
  PROTOCOL_ERROR: 400,
  UNAUTHORIZED: 401,
  UNKNOWN_COMMAND: 404,
  UNKNOWN_AGGREGATE: 404,
  UNKNOWN_PROJECTION: 404,
  QUERY_FAILED: 422,
  PROJECTION_FAILED: 422,
  KEY_EXPIRED: 409,
  ERASED: 410,
  EVENTS_DROPPED: 410,
  HELD: 423,
  EVENT_TOO_LARGE: 413,
  EVOLVE_FAILED: 422,
  COMMAND_FAILED: 422,
  KEY_REUSED: 422,
  OUTCOME_UNKNOWN: 500,
  FORMAT_UNSUPPORTED: 500,
  CONFIG_MISMATCH: 500,
  ROOT_KEY_MISSING: 500,
  ROOT_KEY_WRONG: 500,
  CORRUPT: 500,
  IO_ERROR: 500,
  APPLICATION_INVALID: 500,
  UNSUPPORTED: 501,
  OVERLOADED: 503,
  SINK_UNAVAILABLE: 503,
  CLOSED: 503,
  ENGINE_FAILED: 503,
  DIRECTORY_LOCKED: 503,
  ABORTED: 503,
  DISCONNECTED: 503,
  TIMEOUT: 504,
  DISK_FULL: 507,
};

/** What the engine returns as a value, and what only HTTP can get wrong. */
const httpCodes = {
  NOT_FOUND: 404,
  REJECTED: 409,
  CONFLICT: 412,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  FOREIGN_ORIGIN: 403,
  INTERNAL: 500,
} as const satisfies Readonly<Record<string, number>>;

export type ProblemCode = ErrorCode | keyof typeof httpCodes;

export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  /** More members of the document. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Thrown by a handler to answer with a problem. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** A request that cannot be understood. */
export function badRequest(detail: string): ProblemError {
  return new ProblemError({ code: "INVALID_ARGUMENT", detail });
}

export function statusOfCode(code: ProblemCode): number {
  return code in httpCodes ? httpCodes[code as keyof typeof httpCodes] : statusOf[code as ErrorCode];
}

export function problemResponse({ code, detail, more = {}, headers = {} }: Problem): Response {
  const status = statusOfCode(code);
  const advice = code in errorCodes ? errorCodes[code as ErrorCode] : undefined;
  const document = {
    type: `urn:warp:problem:${code.toLowerCase().replaceAll("_", "-")}`,
    title: titleOf(code),
    status,
    detail,
    code,
    ...(advice === undefined ? {} : { advice }),
    ...more,
  };
  return new Response(`${toJson(document)}\n`, {
    status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      ...(status === 503 ? { "retry-after": "1" } : {}),
      ...headers,
    },
  });
}

/** The problem that anything thrown stands for; undefined for a bug. */
export function problemOf(thrown: unknown): Problem | undefined {
  if (thrown instanceof ProblemError) return thrown.problem;
  if (!(thrown instanceof WarpError)) return undefined;
  const { code, message, details } = thrown;
  return { code, detail: message, ...(Object.keys(details).length === 0 ? {} : { more: { details } }) };
}

/** "Key reused" */
function titleOf(code: string): string {
  const words = code.toLowerCase().replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
