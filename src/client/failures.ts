/**
 * The ends of a call that the client says itself, since no answer did.
 */
import { toWarpError, WarpError } from "../core/errors.ts";
import type { Request } from "./sending/requests.ts";

export function aborted(signal: AbortSignal): WarpError {
  return new WarpError("ABORTED", "the caller gave up waiting", {}, signal.reason);
}

/** `lost` is why there is no connection. */
export function noConnection(withinMs: number, lost: WarpError | undefined): WarpError {
  const why = lost?.message ?? "there was no answer";
  return new WarpError("DISCONNECTED", `no connection within ${withinMs} ms: ${why}`, {}, lost);
}

/** The connection is gone that it was sent on, and it is not sent on another. */
export function cutOff(lost: WarpError): WarpError {
  const message = `the connection was lost before the answer: ${lost.message}`;
  return new WarpError("DISCONNECTED", message, { outcome: "unknown" }, lost);
}

/** Says whether what it changes may have happened. */
export function tooLate(request: Request, isConnected: boolean, lost: WarpError | undefined): WarpError {
  const outcome = request.wasSent && request.changesSomething ? "unknown" : "none";
  if (isConnected) return new WarpError("TIMEOUT", "the server did not answer in time", { outcome });
  const why = lost?.message ?? "it does not answer";
  return new WarpError("DISCONNECTED", `the server was not reached in time: ${why}`, { outcome }, lost);
}

/** Its connection was refused after it was sent, or the next one was, or its answer cannot be read: what it changes may have happened. */
export function refused(request: Request, error: WarpError): WarpError {
  if (!request.changesSomething) return error;
  return new WarpError(error.code, error.message, { ...error.details, outcome: "unknown" }, error);
}

/** The server's answer. To a repeat it says nothing of what was sent before, which may have happened. */
export function answeredWith(request: Request, error: WarpError): WarpError {
  return request.isRepeat ? refused(request, error) : error;
}

/** There is something from the server, but what it says cannot be read. */
export function unreadable(what: string, thrown: unknown): WarpError {
  const { message } = toWarpError(thrown, "PROTOCOL_ERROR");
  return new WarpError("PROTOCOL_ERROR", `${what} cannot be read: ${message}`, {}, thrown);
}
