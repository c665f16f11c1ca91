/**
 * What PostgreSQL's failures mean here. https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import { type ErrorCode, WarpError } from "../../core/errors.ts";

/** Connections, rollbacks that ask for another try, resources, an administrator who stops it, and the system under it. */
const passing = /^(?:08|40|53|55P03|57P|58)/;
/** Ended by `statement_timeout`. */
const cancelled = "57014";

/** The table, or the schema around it, is not there. */
export function isMissing(thrown: unknown): boolean {
  return /^(?:42P01|3F000)$/.test(
    thrown instanceof WarpError ? String(thrown.details.state) : stateOf(thrown),
  );
}

/**
 * `refused` is the code for what the server will always refuse. Its message may quote values of rows (`invalid input syntax for type
 * integer: "…"`), so only who asked a query is told it; what is kept of a projection's failure is the state.
 */
export function failure(thrown: unknown, refused: ErrorCode): WarpError {
  if (thrown instanceof WarpError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const state = stateOf(thrown);
  if (state === cancelled)
    return new WarpError("TIMEOUT", `PostgreSQL ended it: ${message}`, { state }, thrown);
  if (state === "" || passing.test(state)) {
    return new WarpError("SINK_UNAVAILABLE", `PostgreSQL cannot be used now: ${message}`, { state }, thrown);
  }
  const why = refused === "PROJECTION_FAILED" ? `SQLSTATE ${state}` : message;
  return new WarpError(refused, `PostgreSQL refused: ${why}`, { state }, thrown);
}

function stateOf(thrown: unknown): string {
  return thrown instanceof Error && "errno" in thrown ? String(thrown.errno ?? "") : "";
}
