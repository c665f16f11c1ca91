/**
 * Where the engine says what an operator should know: a line of JSON on standard error by default.
 */

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

const discard = (): void => undefined;

export const silentLogger: Logger = { info: discard, warn: discard, error: discard };

/** Writes lines of at least `level` to standard error. */
export function jsonLogger(level: "info" | "warn" | "error" = "warn"): Logger {
  const order = { info: 0, warn: 1, error: 2 };
  const write =
    (own: keyof typeof order) =>
    (message: string, fields: LogFields = {}) => {
      if (order[own] < order[level]) return;
      // Unlike a write to the stream, this is no error for the program when nobody reads it any more.
      console.error(JSON.stringify({ time: new Date().toISOString(), level: own, message, ...fields }));
    };
  return { info: write("info"), warn: write("warn"), error: write("error") };
}
