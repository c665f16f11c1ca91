/**
 * The closed list of failures that Warp reports, and the class that carries one.
 *
 * An expected outcome of a write (another seq than expected, a rejection, a duplicate) is a returned value and
 * never one of these. The code is API, the message is not. `advice` says what the caller can do: `retry` the same
 * call later, `fix` the input or the set-up, or `stop`: only a restart or an operator helps.
 */

export const errorCodes = {
  INVALID_ARGUMENT: "fix",
  INVALID_EVENT: "fix",
  EVENT_TOO_LARGE: "fix",
  EVOLVE_FAILED: "fix",
  COMMAND_FAILED: "fix",
  UNKNOWN_COMMAND: "fix",
  UNKNOWN_AGGREGATE: "fix",
  KEY_REUSED: "fix",
  KEY_EXPIRED: "stop",
  ERASED: "fix",
  EVENTS_DROPPED: "fix",
  HELD: "fix",
  CROSS_SHARD: "fix",
  CURSOR_FOREIGN: "fix",
  OVERLOADED: "retry",
  CLOSED: "stop",
  OUTCOME_UNKNOWN: "stop",
  ENGINE_FAILED: "stop",
  DIRECTORY_LOCKED: "stop",
  FORMAT_UNSUPPORTED: "stop",
  CONFIG_MISMATCH: "fix",
  ROOT_KEY_MISSING: "fix",
  ROOT_KEY_WRONG: "fix",
  CORRUPT: "stop",
  DISK_FULL: "stop",
  IO_ERROR: "stop",
  APPLICATION_INVALID: "fix",
  PROJECTION_FAILED: "fix",
  UNKNOWN_PROJECTION: "fix",
  SINK_UNAVAILABLE: "retry",
  QUERY_FAILED: "fix",
  ABORTED: "retry",
  TIMEOUT: "retry",
  PROTOCOL_ERROR: "fix",
  UNSUPPORTED: "fix",
  UNAUTHORIZED: "fix",
  DISCONNECTED: "retry",
} as const satisfies Record<string, "retry" | "fix" | "stop">;

export type ErrorCode = keyof typeof errorCodes;

/** What is known beyond the sentence: `file` and `offset` of damage, the limit that was passed, the current seq. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** A failure with a code from {@link errorCodes}. */
export class WarpError extends Error {
  override readonly name = "WarpError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  /** `retry` the same call, `fix` the input, or `stop`. */
  get advice(): "retry" | "fix" | "stop" {
    return errorCodes[this.code];
  }

  /** A form that survives `postMessage` and msgpack. */
  toWire(): { code: ErrorCode; message: string; details: ErrorDetails } {
    return { code: this.code, message: this.message, details: this.details };
  }

  static fromWire(wire: { code: ErrorCode; message: string; details: ErrorDetails }): WarpError {
    return new WarpError(wire.code, wire.message, wire.details);
  }
}

/**
 * Turns anything thrown into a {@link WarpError}. A disk error keeps its system code in `details.errno`, and its message names
 * the file or object of `details`.
 */
export function toWarpError(thrown: unknown, fallback: ErrorCode, details: ErrorDetails = {}): WarpError {
  if (thrown instanceof WarpError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const errno = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (errno === undefined) return new WarpError(fallback, message, details, thrown);
  const full = errno === "ENOSPC" || errno === "EDQUOT" || errno === "SQLITE_FULL";
  const code = full ? "DISK_FULL" : fallback;
  return new WarpError(code, naming(details.object ?? details.file, message), { ...details, errno }, thrown);
}

function naming(place: unknown, message: string): string {
  return typeof place !== "string" || message.includes(place) ? message : `${place}: ${message}`;
}

/** A broken promise of this code itself, never of its input or its disk: the process or Worker stops. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
