/**
 * What a program may set of its connection, with the defaults, checked once.
 */
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { guarded } from "./callback.ts";

export interface ConnectSettings {
  /** `HOST:PORT`; the port is 7400 when it is left out. An IPv6 host stands in brackets. */
  readonly address: string;
  /** Refuses to work on another context than this. */
  readonly context?: string | undefined;
  readonly token?: string | undefined;
  /** How the server's logs call this client. */
  readonly name?: string | undefined;
  /** How long a call may take, reconnecting included; 100 to 3,600,000 ms, 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** How long `connect` tries before it gives up; by default as long as a call. */
  readonly connectTimeoutMs?: number | undefined;
  /** Called when a connection is lost and when there is one again. What it throws is a warning of the process. */
  readonly onConnection?: ((state: "connected" | "lost", reason: string) => void) | undefined;
}

export interface ResolvedConnect {
  readonly host: string;
  readonly port: number;
  readonly context: string | undefined;
  readonly token: string | undefined;
  readonly name: string | undefined;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Does not throw. */
  readonly onConnection: (state: "connected" | "lost", reason: string) => void;
}

const defaultPort = 7400;

/** Errors: INVALID_ARGUMENT. */
export function resolveConnect(given: ConnectSettings): ResolvedConnect {
  const { context, token, name } = given;
  const onConnection = guarded("onConnection", given.onConnection);
  const timeoutMs = requireTimeout(given.timeoutMs ?? 30_000);
  const connectTimeoutMs = requireTimeout(given.connectTimeoutMs ?? timeoutMs);
  for (const text of [context, token, name]) requireHelloText(text);
  return { ...parseAddress(given.address), context, token, name, timeoutMs, connectTimeoutMs, onConnection };
}

/** What a call waits beyond the time that it gives the server. */
export const answerMs = 5000;
/** What a call may wait. */
export const callMsMax = 3_600_000;

export function requireTimeout(timeoutMs: number): number {
  if (timeoutMs >= 1 && timeoutMs <= callMsMax) return timeoutMs;
  throw new WarpError("INVALID_ARGUMENT", `timeoutMs is 1 to ${callMsMax}, not ${String(timeoutMs)}`);
}

/** What is told by hello is refused before there is a connection. */
function requireHelloText(text: string | undefined): void {
  if (text === undefined) return;
  const most = limits.helloTextBytesMax;
  if (text.isWellFormed() && Buffer.byteLength(text) <= most) return;
  const message = `context, token and name have at most ${most} bytes of UTF-8 and no lone surrogate, which it cannot hold`;
  throw new WarpError("INVALID_ARGUMENT", message);
}

/** `host`, `host:port`, `[v6]` or `[v6]:port`. Errors: INVALID_ARGUMENT. */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(String(address));
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new WarpError("INVALID_ARGUMENT", `an address is HOST:PORT, not ${JSON.stringify(address)}`);
}
