/**
 * What comes of records that a batch takes.
 */
import { toWarpError, type WarpError } from "../../core/errors.ts";
import type { FailurePolicy } from "../definition.ts";

export interface EventFailure {
  readonly entity: string;
  readonly seq: number;
  readonly type: string;
  readonly message: string;
  readonly policy: FailurePolicy;
}

/** What of the records given is in the batch now. */
export interface PassResult {
  /** Records that are done, from the first. */
  readonly done: number;
  readonly failures: readonly EventFailure[];
  /** Why it ended before the last record: the batch has to be committed first, or an event waits to be tried again. */
  readonly end: "all" | "commit" | "retry";
}

/** That a sink refused what it was given. Anything else is thrown. */
export function refusalOf(thrown: unknown): WarpError {
  const error = toWarpError(thrown, "SINK_UNAVAILABLE");
  if (error.code !== "PROJECTION_FAILED") throw error;
  return error;
}
