/**
 * The command line as a whole: finds the verb, runs it, and turns whatever happens into an exit status.
 *
 * - Every failure reaches standard error in the one form of exit.ts; nothing but a verb's result is on standard output.
 * - The first SIGINT or SIGTERM asks the verb to stop; a second one ends the process at once.
 */
import { Command, CommanderError } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { describeFailure, type ExitCode, exitCode, NotFoundError, UsageError } from "./exit.ts";
import { openLocalTarget } from "./local-target.ts";
import { cliLogger } from "./log.ts";
import { Output, OutputClosed } from "./output.ts";
import { openServerTarget } from "./server-target.ts";
import { addVerb, type VerbContext } from "./verb.ts";
import { verbs } from "./verbs.ts";

const exitCodesHelp = `
Exit status:
  0  done
  1  failed; the line on standard error says why
  2  wrong usage; nothing was done
  3  check found damage
  4  the entity has no events
  5  refused: another seq than expected, or a command that said no
  6  an erasure is pending; the receipt says what is not done yet
  130  interrupted; what was acknowledged is durable

"warp VERB --help" shows the options of a verb, with examples.`;

/** Runs the command that the arguments (without the program's name) ask for. Never throws. */
export async function runCommand(args: readonly string[]): Promise<ExitCode> {
  const json = args.includes("--json");
  const interrupt = new AbortController();
  const endAtOnce = () => void process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  const onSignal = () => {
    endAtOnce();
    interrupt.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const output = new Output(process.stdout, json, interrupt.signal, process.env);
  // A write to a pipe that is closed is reported to the write; without these listeners it would also end the process.
  // Nobody is left to be told of what fails on standard error, and a server serves without its log.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
  let code: ExitCode = exitCode.ok;
  try {
    const program = createProgram({ ...contextOf(output, interrupt.signal, json), endAtOnce }, (ended) => {
      code = ended;
    });
    await program.parseAsync(args, { from: "user" });
    await output.flush();
  } catch (thrown) {
    // A verb whose output is closed ends as it would have, if it knew how: what it ended with stands.
    if (!(thrown instanceof OutputClosed)) code = codeOf(thrown);
    if (!isSilent(thrown)) process.stderr.write(describeFailure(usageOf(thrown), json));
  }
  return code;
}

function createProgram(context: VerbContext, onEnd: (code: ExitCode) => void): Command {
  const program = new Command("warp")
    .description("Warp, an entity-native storage engine")
    .version(manifest.version, "--version", "print the version")
    .addHelpText("after", exitCodesHelp);
  for (const verb of verbs) addVerb(program, verb, context, onEnd);
  for (const command of [program, ...program.commands]) {
    // Failures are thrown, and told in the form of all others.
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return program;
}

function contextOf(output: Output, signal: AbortSignal, json: boolean): Omit<VerbContext, "endAtOnce"> {
  return {
    output,
    errors: process.stderr,
    signal,
    async withTarget(settings, use) {
      const target =
        settings.addr === undefined
          ? await openLocalTarget(settings, cliLogger(process.stderr, json))
          : await openServerTarget(settings.addr, settings.context);
      try {
        return await use(target);
      } finally {
        await target.close();
      }
    },
  };
}

function codeOf(thrown: unknown): ExitCode {
  if (thrown instanceof NotFoundError) return exitCode.notFound;
  if (thrown instanceof UsageError) return exitCode.usage;
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCode.ok : exitCode.usage;
  return exitCode.failure;
}

/** Help and version were printed as asked; a closed output has no one to tell. */
function isSilent(thrown: unknown): boolean {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 || thrown.code === "commander.help";
  return thrown instanceof OutputClosed;
}

function usageOf(thrown: unknown): unknown {
  if (!(thrown instanceof CommanderError)) return thrown;
  return new UsageError(`${thrown.message.replace(/^error: /, "")}; see --help`);
}
