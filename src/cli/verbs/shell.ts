/**
 * `warp shell`: verbs typed one after the other against one target, with history and completion.
 *
 * - The target is the shell's: a line that names another one is refused, and not run on this one.
 * - Ctrl-C ends the verb that runs, or drops the line being typed; Ctrl-D or "exit" ends the shell.
 * - When standard input is no terminal it is a list of verbs; the exit status is that of the last one that failed.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { Command, CommanderError } from "commander";
import { describeFailure, type ExitCode, exitCode, NotFoundError, UsageError } from "../exit.ts";
import { Output, OutputClosed } from "../output.ts";
import {
  addCreateOptions,
  addTargetOptions,
  isTargetOption,
  refuseTargetOptions,
  targetSettings,
} from "../settings.ts";
import type { Target } from "../target.ts";
import { addVerb, type Verb, type VerbContext } from "../verb.ts";
import { appendVerb } from "./append.ts";
import { entitiesVerb } from "./entities.ts";
import { eventsVerb } from "./events.ts";
import { getVerb } from "./get.ts";
import { importVerb } from "./import.ts";
import { sendVerb } from "./send.ts";
import { complete } from "./shell/complete.ts";
import { History, historyMax } from "./shell/history.ts";
import { wordsOf } from "./shell/words.ts";

const shellVerbs: readonly Verb[] = [getVerb, eventsVerb, appendVerb, sendVerb, entitiesVerb, importVerb];
const shellWords = ["help", "exit"];

export const shellVerb: Verb = {
  name: "shell",
  summary: "type verbs one after the other, with history and completion",
  endsBySignal: true,
  examples: [
    ["warp shell --addr 127.0.0.1:7400", "against a server"],
    ["warp shell --data ./data --app banking.ts", "against a data directory, which is locked meanwhile"],
  ],

  define(command) {
    addCreateOptions(addTargetOptions(command));
  },

  async run(command, context) {
    return await context.withTarget(targetSettings(command, true), (target) =>
      new Shell(target, context).run(),
    );
  },
};

class Shell {
  private readonly target: Target;
  private readonly context: VerbContext;
  private readonly reader: Interface;
  private readonly isTerminal = process.stdin.isTTY === true;
  private readonly history: History;
  private running: AbortController | undefined;
  private code: ExitCode = exitCode.ok;

  constructor(target: Target, context: VerbContext) {
    this.target = target;
    this.context = context;
    this.history = new History(historyFile, (why) => {
      const warning = `the lines typed are not kept: ${why}`;
      const { errors, output } = context;
      errors.write(output.json ? `${JSON.stringify({ warning })}\n` : `warp: ${warning}\n`);
    });
    this.reader = createInterface({
      input: process.stdin,
      output: this.isTerminal ? process.stderr : undefined,
      terminal: this.isTerminal,
      prompt: "warp> ",
      history: this.isTerminal ? this.history.read() : [],
      historySize: historyMax,
      removeHistoryDuplicates: true,
      completer: (line: string, done: (error?: null | Error, found?: [string[], string]) => void) => {
        complete(line, shellVerbs, shellWords, optionsOf, target).then(
          (found) => done(null, found),
          // A server that does not answer is told when a verb is run; a key press is no place for it.
          () => done(null, [[], line]),
        );
      },
    });
  }

  async run(): Promise<ExitCode> {
    const { reader } = this;
    reader.on("SIGINT", () => this.interrupt());
    if (this.isTerminal) reader.on("history", (lines: string[]) => this.history.write(lines));
    this.context.signal.addEventListener("abort", () => {
      this.running?.abort();
      reader.close();
    });
    this.prompt();
    for await (const line of reader) {
      if (line.trim() === "exit") break;
      await this.runLine(line);
      this.prompt();
    }
    reader.close();
    return this.isTerminal ? exitCode.ok : this.code;
  }

  private prompt(): void {
    if (this.isTerminal && !this.context.signal.aborted) this.reader.prompt();
  }

  private interrupt(): void {
    if (this.running !== undefined) {
      this.running.abort();
      return;
    }
    process.stderr.write("^C\n");
    // What was typed is dropped; the terminal shows a fresh line.
    this.reader.write(null, { ctrl: true, name: "e" });
    this.reader.write(null, { ctrl: true, name: "u" });
    this.reader.prompt();
  }

  private async runLine(line: string): Promise<void> {
    const running = new AbortController();
    this.running = running;
    let json = false;
    try {
      const words = wordsOf(line);
      if (words.length === 0) return;
      json = words.includes("--json");
      const output = new Output(process.stdout, json, running.signal, process.env);
      const program = programOf(
        {
          output,
          errors: this.context.errors,
          signal: running.signal,
          endAtOnce: this.context.endAtOnce,
          withTarget: (_settings, use) => use(this.target),
        },
        (code) => this.note(code),
      );
      await program.parseAsync(words, { from: "user" });
      await output.flush();
    } catch (thrown) {
      if (thrown instanceof CommanderError && thrown.exitCode === 0) return;
      // The lines to come may write; that nobody reads what they print is no failure of theirs.
      if (thrown instanceof OutputClosed) return;
      this.note(codeOf(thrown));
      process.stderr.write(describeFailure(usageOf(thrown), json));
    } finally {
      this.running = undefined;
    }
  }

  private note(code: ExitCode): void {
    if (code !== exitCode.ok) this.code = code;
  }
}

function programOf(context: VerbContext, onEnd: (code: ExitCode) => void): Command {
  const program = new Command("").usage("VERB [options]").helpCommand("help [verb]");
  for (const verb of shellVerbs) addVerb(program, verb, context, onEnd);
  for (const command of [program, ...program.commands]) {
    command.hook("preAction", (_, ofLine) => refuseTargetOptions(ofLine));
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return program;
}

function optionsOf(name: string): string[] {
  const verb = shellVerbs.find((one) => one.name === name);
  if (verb === undefined) return [];
  const command = new Command(name);
  verb.define(command);
  const own = command.options.filter((option) => !isTargetOption(option.attributeName()));
  return [...own.map(({ long }) => long ?? ""), "--json"];
}

function codeOf(thrown: unknown): ExitCode {
  if (thrown instanceof NotFoundError) return exitCode.notFound;
  return thrown instanceof UsageError || thrown instanceof CommanderError ? exitCode.usage : exitCode.failure;
}

function usageOf(thrown: unknown): unknown {
  if (!(thrown instanceof CommanderError)) return thrown;
  return new UsageError(`${thrown.message.replace(/^error: /, "")}; see help`);
}

function historyFile(): string {
  return process.env.WARP_HISTORY || join(homedir(), ".warp_history");
}
