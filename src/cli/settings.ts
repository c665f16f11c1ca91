/**
 * The options that several verbs share, and how their text becomes values. Wrong text is wrong usage.
 */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { readJson } from "../core/exact-json.ts";
import { limits } from "../core/limits.ts";
import { UsageError } from "./exit.ts";
import type { TargetSettings } from "./local-target.ts";
import { toTime } from "./moment.ts";
import { sinks } from "./setting-values.ts";
import type { Expect, WriteOptions } from "./target.ts";

interface TargetOptions {
  readonly addr?: string;
  readonly data: string;
  readonly app?: string;
  readonly sinks?: Readonly<Record<string, string>>;
  readonly context?: string;
  readonly shards?: number;
  readonly mode?: "actor" | "log";
  readonly durability?: "fsync" | "os";
}

/** Where the data is and what is needed to open it. */
export function addTargetOptions(command: Command): Command {
  return command
    .addOption(
      ofVariable("WARP_ADDR", new Option("--addr <host:port>", "a server, instead of a data directory")),
    )
    .addOption(dataOption())
    .option("--app <file>", "TypeScript module that exports the aggregates")
    .option("--sinks <name=url…>", "databases that projections write to", namedSinks)
    .option("--context <name>", "name of the context; another one in the directory is refused")
    .addOption(rootKeyFileOption())
    .addOption(rootKeyCommandOption());
}

/** What is decided when the data directory is made, and how it is written. */
export function addCreateOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--shards <count>", "number of shards of a new data directory (default: 16)").argParser(
        wholeNumber(1, limits.shardsMax),
      ),
    )
    .addOption(
      new Option("--mode <mode>", "actor keeps states in memory, log appends without folding").choices([
        "actor",
        "log",
      ]),
    )
    .addOption(
      new Option("--durability <mode>", "fsync before an append counts, or leave it to the OS").choices([
        "fsync",
        "os",
      ]),
    );
}

export function dataOption(): Option {
  return ofVariable("WARP_DATA", new Option("--data <dir>", "data directory").default("./data"));
}

export function rootKeyFileOption(): Option {
  const help = "file with the root key (default: in the data directory)";
  return ofVariable("WARP_ROOT_KEY_FILE", new Option("--root-key-file <file>", help));
}

export function rootKeyCommandOption(): Option {
  const help = "shell command that prints the root key";
  return ofVariable("WARP_ROOT_KEY_COMMAND", new Option("--root-key-command <command>", help));
}

/** An option that a variable may give too. One that is set to nothing is how a shell unsets it for one command. */
export function ofVariable(name: string, option: Option): Option {
  return process.env[name] === "" ? option : option.env(name);
}

/** The settings of the options that {@link addTargetOptions} and {@link addCreateOptions} added. */
export function targetSettings(command: Command, create: boolean): TargetSettings {
  const options = command.opts<TargetOptions>();
  if (isOnServer(command)) {
    const { addr = "", context } = options;
    return { addr, dataDir: "", create: false, ...(context === undefined ? {} : { context }) };
  }
  const rootKey = rootKeyOf(command);
  return {
    dataDir: options.data,
    create,
    ...(options.app === undefined ? {} : { app: options.app }),
    ...(options.sinks === undefined ? {} : { sinks: options.sinks }),
    ...(options.context === undefined ? {} : { context: options.context }),
    ...(options.shards === undefined ? {} : { shards: options.shards }),
    ...(options.mode === undefined ? {} : { mode: options.mode }),
    ...(options.durability === undefined ? {} : { durability: options.durability }),
    ...(rootKey === undefined ? {} : { rootKey }),
  };
}

/** What the settings of a server are, and no business of its clients. */
const serverSide = ["data", "app", "sinks", "shards", "mode", "durability", "rootKeyFile", "rootKeyCommand"];

/** A server or a directory of the command line counts before those of the variables. */
function isOnServer(command: Command): boolean {
  const given = (name: string) => command.getOptionValueSource(name) === "cli";
  const isOfVariable = !given("addr");
  if (isOfVariable && (command.opts<TargetOptions>().addr === undefined || given("data"))) return false;
  const other = serverSide.find(given);
  if (other === undefined) return true;
  const address = isOfVariable ? "WARP_ADDR" : "--addr";
  throw new UsageError(`${flagOf(other)} is the server's to say and does not go with ${address}`);
}

/** Whether the option is one of {@link addTargetOptions} or {@link addCreateOptions}. */
export function isTargetOption(name: string): boolean {
  return name === "addr" || name === "context" || serverSide.includes(name);
}

/** In a shell, whose target is open: a line that names one means another. */
export function refuseTargetOptions(command: Command): void {
  const given = command.options.map((option) => option.attributeName()).filter(isTargetOption);
  const name = given.find((one) => command.getOptionValueSource(one) === "cli");
  if (name === undefined) return;
  throw new UsageError(`${flagOf(name)} is the shell's to say, where it is started, and not of a line in it`);
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** A parser of what is expected of an entity. */
export function expectation(text: string): Expect {
  if (text === "any" || text === "none" || text === "exists") return text;
  return wholeNumber(0)(text);
}

/** A parser of JSON that changes nothing silently. */
export function json(text: string): unknown {
  const read = readJson(text);
  if (read.problem !== undefined) throw new UsageError(`${text} ${read.problem}`);
  return read.value;
}

/** How a write is guarded. */
export function addWriteOptions(command: Command): Command {
  return command
    .option("--expect <what>", "any, none (no events yet), exists, or the newest seq", expectation)
    .option("--key <key>", "the call takes effect once for as long as the entity lives");
}

export function writeOptions(command: Command): WriteOptions {
  const { expect, key } = command.opts<WriteOptions>();
  return { ...(expect === undefined ? {} : { expect }), ...(key === undefined ? {} : { key }) };
}

/** Where the root key comes from: what the command line says counts before the variables, as it does for a server. */
export function rootKeyOf(command: Command): { file: string } | { command: string } | undefined {
  for (const source of ["cli", "env"]) {
    const [file, line] = ["rootKeyFile", "rootKeyCommand"].map((name): string | undefined =>
      command.getOptionValueSource(name) === source ? command.getOptionValue(name) : undefined,
    );
    if (file !== undefined && line !== undefined) {
      throw new UsageError("root-key-file and root-key-command cannot both be set");
    }
    // To the engine a relative path is relative to the data directory, to a user of a shell never.
    if (file !== undefined) return { file: resolve(file) };
    if (line !== undefined) return { command: line };
  }
  return undefined;
}

/** A parser of whole numbers from `min` to `max`. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    const upTo = max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number from ${min}${upTo}.`);
  };
}

/** A parser of "a,b,c". */
export function list(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("It must be names with commas between them.");
  return names;
}

/** A parser of "name=url name=url". What it says of wrong text is all that is said: the text may hold passwords. */
function namedSinks(text: string): Readonly<Record<string, string>> {
  try {
    return sinks(text);
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    throw new UsageError(`--sinks ${thrown.message}`);
  }
}

/** A parser of points in time; see moment.ts for what is one. */
export function time(text: string): number {
  const value = toTime(text);
  if (value !== undefined) return value;
  throw new InvalidArgumentError(
    'It must be a time such as "2001-01-13T14:56" (UTC) or "2001-01-13T14:56+01:00".',
  );
}
