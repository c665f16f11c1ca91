/**
 * What a verb of the command line is: its arguments and options, and what it does with them.
 */
import type { Command } from "commander";
import { type ExitCode, exitCode } from "./exit.ts";
import type { TargetSettings } from "./local-target.ts";
import type { Output } from "./output.ts";
import type { ProgressStream } from "./progress.ts";
import type { Target } from "./target.ts";

/** What a verb may touch of the world besides its target. */
export interface VerbContext {
  readonly output: Output;
  /** Standard error, for progress and warnings. */
  readonly errors: ProgressStream;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** From now on the first signal ends the process: for what only reads, and does not let go of the thread. */
  endAtOnce(): void;
  /** Opens the target that the options name, and closes it whatever `use` does. */
  withTarget<Result>(settings: TargetSettings, use: (target: Target) => Promise<Result>): Promise<Result>;
}

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** Command lines that work as they stand, each with what it does. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  /** A signal is how it ends well, with status 0. */
  readonly endsBySignal?: true;
  /** What it has begun it ends, whatever comes, and its status says so. A second signal ends the process. */
  readonly endsRegardless?: true;
  /** Adds arguments and options to the verb's command, which has `--json` already. */
  define(command: Command): void;
  /** Runs with the parsed command; throws UsageError when its options contradict each other. */
  run(command: Command, context: VerbContext): Promise<ExitCode>;
}

/** Makes a verb a command of the program; `onEnd` hears of its exit status. */
export function addVerb(
  program: Command,
  verb: Verb,
  context: VerbContext,
  onEnd: (code: ExitCode) => void,
): void {
  const command = program.command(verb.name).description(verb.summary);
  verb.define(command);
  command.option("--json", "print one JSON object a line, and failures as JSON");
  const examples = verb.examples.map(([line, does]) => `  ${line}\n      ${does}`);
  command.addHelpText("after", `\nExamples:\n${examples.join("\n")}`);
  command.action(async () => {
    const code = await verb.run(command, context);
    const isAsked = verb.endsBySignal === true || verb.endsRegardless === true;
    const isInterrupted = code === exitCode.ok && context.signal.aborted && !isAsked;
    onEnd(isInterrupted ? exitCode.interrupted : code);
  });
}
