/**
 * Every setting of the server, and where its value comes from.
 *
 * - One name, three spellings: `--max-connections`, `WARP_MAX_CONNECTIONS`, and `max-connections` in the file.
 * - The command line counts before the variables, they before the file, and the file before the default.
 * - A name in the file that is no setting is refused: a misspelt limit must not pass for a limit.
 * - Paths in the file are relative to the file; all others to the working directory.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { builtInPrefix } from "../../../application.ts";
import { isTargetUrl } from "../../../backup/target/target.ts";
import { limits } from "../../../core/limits.ts";
import { UsageError } from "../../exit.ts";
import {
  type Address,
  address,
  count,
  duration,
  durationFrom,
  formatAddress,
  hostNames,
  oneOf,
  type Parser,
  sinks,
  size,
  text,
} from "../../setting-values.ts";

interface Setting<Value, Default> {
  readonly parse: Parser<Value>;
  readonly byDefault: Default;
  /** What stands for the value in help. */
  readonly value: string;
  readonly help: string;
  readonly isPath?: true;
  /** It may hold a password: its value is in no message. */
  readonly isSecret?: true;
}

function setting<Value>(value: string, help: string, parse: Parser<Value>): Setting<Value, undefined>;
function setting<Value>(
  value: string,
  help: string,
  parse: Parser<Value>,
  byDefault: Value,
): Setting<Value, Value>;
function setting<Value>(
  value: string,
  help: string,
  parse: Parser<Value>,
  byDefault?: Value,
): Setting<Value, Value | undefined> {
  return { value, help, parse, byDefault };
}

function secret<Value>(value: string, help: string, parse: Parser<Value>): Setting<Value, undefined> {
  return { value, help, parse, byDefault: undefined, isSecret: true };
}

function path(value: string, help: string): Setting<string, undefined>;
function path(value: string, help: string, byDefault: string): Setting<string, string>;
function path(value: string, help: string, byDefault?: string): Setting<string, string | undefined> {
  return { value, help, parse: text, byDefault, isPath: true };
}

const local = (port: number): Address => ({ host: "127.0.0.1", port });

export const serverSettings = {
  data: path("dir", "data directory; made when there is none", "./data"),
  context: setting("name", "name of the context; another one in the directory is refused", text),
  shards: setting("count", "shards of a new data directory, 16 by default", count(1, limits.shardsMax)),
  app: path("file", "TypeScript module that exports the aggregates and projections"),
  sinks: secret(
    "name=url …",
    "databases that projections write to: postgres://… or http://… (rqlite)",
    sinks,
  ),
  mode: setting(
    "mode",
    "actor keeps states in memory, log appends without folding",
    oneOf("actor", "log"),
    "actor",
  ),
  durability: setting(
    "mode",
    "fsync before an append counts, or leave it to the OS",
    oneOf("fsync", "os"),
    "fsync",
  ),
  rootKeyFile: path("file", "file with the root key (default: WARP_ROOT_KEY, or in the data directory)"),
  rootKeyCommand: secret("command", "shell command that prints the root key", text),
  listen: setting<Address | "off">(
    "host:port",
    "where clients connect; port 0 takes any",
    address,
    local(7400),
  ),
  http: setting<Address | "off">(
    "host:port",
    "where HTTP is answered; port 0 takes any",
    address,
    local(7401),
  ),
  httpNames: setting(
    "name,name",
    "names that HTTP on this machine's own address is also called by, as behind a proxy that passes them on",
    hostNames,
  ),
  maxConnections: setting("count", "client connections at most", count(1, 1_000_000), 20_000),
  maxBody: setting("size", "one HTTP request's body at most", size, 16 * 1024 ** 2),
  memoryResident: setting("size", "memory for entities that are kept at hand", size, limits.residentBytes),
  memoryTail: setting("size", "memory for records that are not settled, per writer", size, limits.arenaBytes),
  journalSegment: setting("size", "size of a journal segment", size, limits.segmentBytes),
  journalSegments: setting("count", "journal segments at most", count(2, 1024), limits.segmentsMax),
  settleBytes: setting(
    "size",
    "settle when this much waits (default: a quarter of the tail, and a quarter more while writes are small)",
    size,
  ),
  settleDelay: setting("time", "settle at the latest after this", duration, limits.settleDelayMs),
  writers: setting("count", "shard writer threads (default: one per two processors)", count(1, 32)),
  backup: path("dir", "back up into this directory, again and again"),
  every: setting("time", "from the end of one backup to the next", durationFrom(1), 10_000),
  drainTimeout: setting("time", "a stopping server waits so long for requests under way", duration, 10_000),
  logLevel: setting("level", "what is logged", oneOf("info", "warn", "error"), "info"),
} as const satisfies Readonly<Record<string, Setting<unknown, unknown>>>;

export type SettingName = keyof typeof serverSettings;
export type ServerSettings = {
  readonly [Name in SettingName]: (typeof serverSettings)[Name] extends Setting<infer Value, infer Default>
    ? Value | Default
    : never;
};

export const settingNames = Object.keys(serverSettings) as SettingName[];

/** A setting with its value and the place that set it. */
export interface Sourced {
  readonly name: SettingName;
  readonly value: unknown;
  /** `--name`, `WARP_NAME`, the file, or `default`. */
  readonly from: string;
}

export interface SettingSources {
  /** Values of the command line, as text. */
  readonly flags: Readonly<Partial<Record<string, unknown>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A TOML file. */
  readonly file: string | undefined;
}

/** "max-connections" */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** "WARP_MAX_CONNECTIONS" */
export function variableOf(name: string): string {
  return `WARP_${kebab(name).replaceAll("-", "_").toUpperCase()}`;
}

/** The value of every setting and where it is from. Throws UsageError for what cannot be read. */
export function resolveServerSettings(sources: SettingSources): Sourced[] {
  const file = sources.file === undefined ? new Map<string, string>() : readSettingsFile(sources.file);
  const resolved = settingNames.map((name) => resolveSetting(name, sources, file));
  return withoutOutrankedKey(resolved);
}

/** The values alone. */
export function valuesOf(sourced: readonly Sourced[]): ServerSettings {
  return Object.fromEntries(sourced.map(({ name, value }) => [name, value])) as ServerSettings;
}

/** What everybody may see of a setting: of databases their names, of other secrets that they are set. */
export function shownValue({ name, value }: Sourced): string {
  const isHidden = isSecret(name) && typeof value === "string";
  return isHidden ? "(not shown)" : formatSetting(value);
}

/** A value as it is shown, in a form that can be given back. */
export function formatSetting(value: unknown): string {
  if (value === undefined) return "-";
  if (Array.isArray(value)) return value.join(",");
  if (typeof value === "object" && value !== null) {
    // A database may have any name, but it has no number.
    const isAddress = "port" in value && typeof value.port === "number";
    return isAddress ? formatAddress(value as Address) : Object.keys(value).join(" ");
  }
  return String(value);
}

function resolveSetting(
  name: SettingName,
  sources: SettingSources,
  file: ReadonlyMap<string, string>,
): Sourced {
  const flag = sources.flags[name];
  if (flag !== undefined) return parsed(name, String(flag), `--${kebab(name)}`);
  const variable = variableOf(name);
  // A variable that is set to nothing is how a shell unsets it for one command.
  const inEnvironment = sources.environment[variable];
  if (inEnvironment !== undefined && inEnvironment !== "") return parsed(name, inEnvironment, variable);
  const inFile = file.get(kebab(name));
  if (inFile !== undefined) return parsed(name, inFile, sources.file ?? "file");
  return { name, value: serverSettings[name].byDefault, from: "default" };
}

function parsed(name: SettingName, given: string, from: string): Sourced {
  try {
    const value = serverSettings[name].parse(given);
    // To the engine some paths are relative to the data directory, to a user of a shell none.
    return { name, value: typeof value === "string" ? absolute(name, value) : value, from };
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    const where = from.startsWith("--") || from.startsWith("WARP_") ? from : `${from}: ${kebab(name)}`;
    const not = isSecret(name) ? "" : `, not ${JSON.stringify(given)}`;
    throw new UsageError(`${where} ${thrown.message}${not}`);
  }
}

function isSecret(name: SettingName): boolean {
  const own: Setting<unknown, unknown> = serverSettings[name];
  return own.isSecret === true;
}

/** The path of a setting that is one, from a folder, by default the working directory. */
function absolute(name: SettingName, value: string, folder = "."): string {
  const own: Setting<unknown, unknown> = serverSettings[name];
  const isNoPath =
    (name === "app" && value.startsWith(builtInPrefix)) || (name === "backup" && isTargetUrl(value));
  if (own.isPath !== true || isNoPath) return value;
  return resolve(folder, value);
}

function readSettingsFile(file: string): Map<string, string> {
  let content: object;
  try {
    content = Bun.TOML.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    throw new UsageError(`${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  const known = new Map(settingNames.map((name) => [kebab(name), name]));
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(content)) {
    const own = known.get(name);
    if (own === undefined) throw new UsageError(`${file}: there is no setting ${JSON.stringify(name)}`);
    if (typeof value !== "string" && typeof value !== "number") {
      throw new UsageError(`${file}: ${name} is a text or a number`);
    }
    if (value === "") throw new UsageError(`${file}: ${name} is empty`);
    values.set(name, absolute(own, String(value), dirname(file)));
  }
  return values;
}

/** Of the two sources of a root key, the one that was set closer to the command line; both in one place contradict. */
function withoutOutrankedKey(resolved: readonly Sourced[]): Sourced[] {
  const [file, command] = (["rootKeyFile", "rootKeyCommand"] as const).map((name) =>
    resolved.find((one) => one.name === name && one.value !== undefined),
  );
  if (file === undefined || command === undefined) return [...resolved];
  const rank = ({ from }: Sourced) => (from.startsWith("--") ? 0 : from.startsWith("WARP_") ? 1 : 2);
  if (rank(file) === rank(command)) {
    throw new UsageError("root-key-file and root-key-command cannot both be set");
  }
  const dropped = rank(file) < rank(command) ? command : file;
  return resolved.map((one) => (one === dropped ? { ...one, value: undefined, from: "default" } : one));
}
