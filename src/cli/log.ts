/**
 * What the engine has to say while a command runs, on standard error: warnings and errors, in the command's own form.
 */
import type { LogFields, Logger } from "../core/logger.ts";
import { describeFields } from "./exit.ts";

export function cliLogger(stream: { write(text: string): unknown }, json: boolean): Logger {
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      const line = json
        ? JSON.stringify({ level, message, ...fields })
        : `warp: ${level}: ${message}${describeFields(fields)}`;
      stream.write(`${line}\n`);
    };
  return { info: () => undefined, warn: write("warning"), error: write("error") };
}
