/**
 * The keys above the entity keys: one root key that the operator holds, and period keys wrapped by it.
 *
 * - The root key comes from a file, an environment variable or a command, and is never written but once: to the
 *   default file, when a data directory is made.
 * - An existing directory never gets a new root key or keyring: that would make its data unreadable for good.
 * - `keyring.json` is replaced as a whole, atomically. It holds no key that is not wrapped.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { keyBytes, open, seal } from "./aead.ts";
import { WarpError } from "./errors.ts";
import { randomBytesPooled } from "./random.ts";
import { replaceFile } from "./replace-file.ts";

/** Where the root key comes from: 32 bytes as base64 or hex text. */
export type RootKeySource =
  /** A file; relative paths are relative to the data directory. */
  | { readonly file: string }
  /** The name of an environment variable. */
  | { readonly env: string }
  /** A command for `sh -c` that prints it. */
  | { readonly command: string };

export interface KeyringOptions {
  readonly dataDir: string;
  readonly context: string;
  /** Default: `WARP_ROOT_KEY` if it is set, otherwise the file `root.key` in the data directory. */
  readonly rootKey?: RootKeySource | undefined;
  /** True when the data directory is being made: a missing default file and keyring are created. */
  readonly create: boolean;
}

export interface PeriodKey {
  readonly period: number;
  readonly key: Uint8Array;
}

export interface Keyring {
  /** The period key that wraps what is new. */
  readonly current: PeriodKey;
  /** All period keys, oldest first. */
  readonly periods: readonly PeriodKey[];
  /** What ids are hashed with in ledgers and backups (erasure.ts); stays the same for as long as the context lives. */
  readonly idHashKey: Uint8Array;
  /** The key of a period; undefined when the keyring has none, because it was destroyed or never was. */
  keyOf(period: number): Uint8Array | undefined;
}

/** A period is two bytes in a vault's slot. */
const periodMax = 65_535;
const keyringFormat = 1;
const keyringName = "keyring.json";
const rootKeyName = "root.key";
const commandTimeoutMs = 30_000;

/** `keyring.json`: every key in it is wrapped by the root key. */
export interface KeyringFile {
  readonly format: number;
  /** Base64 of the sealed key; associated data `warp id hash key|CONTEXT`. */
  readonly idHashKey: string;
  readonly periods: readonly {
    readonly number: number;
    readonly createdAt: string;
    readonly wrapped: string;
  }[];
}

/**
 * Reads the keyring of a data directory, or makes it.
 * Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG, FORMAT_UNSUPPORTED, CORRUPT.
 */
export function openKeyring(options: KeyringOptions): Keyring {
  const path = join(options.dataDir, keyringName);
  const exists = existsSync(path);
  if (!exists && !options.create) {
    throw new WarpError("ROOT_KEY_MISSING", `${path} is missing; without it the data cannot be read`, {
      file: path,
    });
  }
  if (!exists) mkdirSync(options.dataDir, { recursive: true });
  const root = readRootKey(options, !exists);
  if (!exists) replaceFile(path, firstKeyring(root, options.context));
  return unlockKeyring(readKeyringFile(path), root, options.context, path);
}

/** The keys of a keyring file. `path` is for errors: ROOT_KEY_WRONG, CORRUPT. */
export function unlockKeyring(file: KeyringFile, root: Uint8Array, context: string, path: string): Keyring {
  const periods = unwrapPeriods(file, path, root, context);
  const idHashKey = open(root, Buffer.from(file.idHashKey, "base64"), associatedOfIdHash(context));
  if (idHashKey?.length === keyBytes) return keyringOf(periods, idHashKey);
  const why = `${path} is damaged: its key for hashes of ids does not open`;
  throw new WarpError("CORRUPT", why, { file: path });
}

/** `keyring.json` of a data directory, as it stands. Errors: CORRUPT, FORMAT_UNSUPPORTED. */
export function readKeyring(dataDir: string): KeyringFile {
  return readKeyringFile(join(dataDir, keyringName));
}

/** Gives a new data directory the keyring of another one, whose root key it will need. */
export function writeKeyring(dataDir: string, file: KeyringFile): void {
  replaceFile(join(dataDir, keyringName), `${JSON.stringify(file, undefined, 2)}\n`);
}

/**
 * Adds a period, which wraps what is new; on the disk when it returns. The root key must open those that are there.
 * Errors: ROOT_KEY_WRONG, CORRUPT, INVALID_ARGUMENT.
 */
export function addPeriod(of: Pick<KeyringOptions, "dataDir" | "context">, root: Uint8Array): PeriodKey {
  const path = join(of.dataDir, keyringName);
  const file = readKeyringFile(path);
  unlockKeyring(file, root, of.context, path);
  const number = (file.periods.at(-1)?.number ?? 0) + 1;
  if (number > periodMax) {
    throw new WarpError("INVALID_ARGUMENT", `a context has at most ${periodMax} periods`, {
      limit: periodMax,
    });
  }
  const key = randomBytesPooled(keyBytes);
  const wrapped = seal(root, key, associatedOf(of.context, number)).toString("base64");
  const added = { number, createdAt: new Date().toISOString(), wrapped };
  replaceKeyring(path, { ...file, periods: [...file.periods, added] });
  return { period: number, key };
}

/** Destroys every period but the newest. What they wrap can never be read again. */
export function dropOldPeriods(dataDir: string): void {
  const path = join(dataDir, keyringName);
  const file = readKeyringFile(path);
  replaceKeyring(path, { ...file, periods: file.periods.slice(-1) });
}

/** The old file's bytes are written over, as far as the file system lets anybody: they held wrapped keys. */
function replaceKeyring(path: string, file: KeyringFile): void {
  const old = openSync(path, "r+");
  try {
    const { size } = fstatSync(old);
    replaceFile(path, textOf(file));
    writeSync(old, Buffer.alloc(size), 0, size, 0);
    fsyncSync(old);
  } finally {
    closeSync(old);
  }
}

function textOf(file: KeyringFile): string {
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

function keyringOf(periods: readonly PeriodKey[], idHashKey: Uint8Array): Keyring {
  const byNumber = new Map(periods.map(({ period, key }) => [period, key]));
  const current = periods.at(-1);
  if (current === undefined)
    throw new WarpError("CORRUPT", `${keyringName} names no period`, { file: keyringName });
  return { current, periods, idHashKey, keyOf: (period) => byNumber.get(period) };
}

function firstKeyring(root: Uint8Array, context: string): string {
  const wrapped = seal(root, randomBytesPooled(keyBytes), associatedOf(context, 1)).toString("base64");
  const idHashKey = seal(root, randomBytesPooled(keyBytes), associatedOfIdHash(context)).toString("base64");
  const file: KeyringFile = {
    format: keyringFormat,
    idHashKey,
    periods: [{ number: 1, createdAt: new Date().toISOString(), wrapped }],
  };
  return textOf(file);
}

function unwrapPeriods(file: KeyringFile, path: string, root: Uint8Array, context: string): PeriodKey[] {
  return file.periods.map(({ number, wrapped }) => {
    const key = open(root, Buffer.from(wrapped, "base64"), associatedOf(context, number));
    if (key?.length === keyBytes) return { period: number, key };
    throw new WarpError(
      "ROOT_KEY_WRONG",
      `the root key does not open period ${number} of ${path}: it is another key, or the file is of another context`,
      { file: path, period: number },
    );
  });
}

function associatedOf(context: string, period: number): Buffer {
  return Buffer.from(`warp period key|${context}|${period}`);
}

function associatedOfIdHash(context: string): Buffer {
  return Buffer.from(`warp id hash key|${context}`);
}

function readKeyringFile(path: string): KeyringFile {
  const damaged = (why: string) => new WarpError("CORRUPT", `${path} is damaged: ${why}`, { file: path });
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : String(error));
  }
  const file = parsed as Partial<KeyringFile> | null;
  if (typeof file !== "object" || file === null) throw damaged("it is not an object");
  if (file.format !== keyringFormat) {
    throw new WarpError(
      "FORMAT_UNSUPPORTED",
      `${path} has format ${file.format}, known is ${keyringFormat}`,
      {
        file: path,
        format: file.format,
      },
    );
  }
  const periods = Array.isArray(file.periods) ? file.periods : [];
  const isWhole = periods.every(
    (period, i) =>
      Number.isSafeInteger(period?.number) &&
      period.number > (periods[i - 1]?.number ?? 0) &&
      typeof period.wrapped === "string",
  );
  if (!isWhole || periods.length === 0) throw damaged("its periods are not a rising list");
  if (typeof file.idHashKey !== "string") throw damaged("it has no key for hashes of ids");
  return { format: keyringFormat, idHashKey: file.idHashKey, periods };
}

/** As {@link readRootKey}, for a thread with other things to do: a command may take its time. */
export async function readRootKeyAside(
  options: Pick<KeyringOptions, "rootKey" | "dataDir">,
): Promise<Uint8Array> {
  const source = sourceOf(options);
  if (source === undefined || !("command" in source)) return readRootKey(options);
  const run = Bun.spawn(["sh", "-c", source.command], {
    stdin: "ignore",
    stderr: "pipe",
    timeout: commandTimeoutMs,
  });
  const [output, errors] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  return rootKeyOfCommand(await run.exited, output, errors);
}

function sourceOf({ rootKey }: Pick<KeyringOptions, "rootKey">): RootKeySource | undefined {
  return rootKey ?? (process.env.WARP_ROOT_KEY ? { env: "WARP_ROOT_KEY" } : undefined);
}

function rootKeyOfCommand(status: number | null, output: string, errors: string): Uint8Array {
  if (status === 0) return parseRootKey(output, "the output of the root key command");
  throw missing(`the root key command failed: ${errors.trim() || `exit ${status}`}`);
}

/** The root key from where it is kept. Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG. */
export function readRootKey(options: Pick<KeyringOptions, "rootKey" | "dataDir">, isNew = false): Uint8Array {
  const source = sourceOf(options);
  if (source === undefined) return readDefaultFile(join(options.dataDir, rootKeyName), isNew);
  if ("file" in source) return readKeyFile(join(isAbsolute(source.file) ? "" : options.dataDir, source.file));
  if ("env" in source) {
    const text = process.env[source.env];
    if (!text) throw missing(`the environment variable ${source.env} is not set`);
    return parseRootKey(text, `the environment variable ${source.env}`);
  }
  const run = Bun.spawnSync(["sh", "-c", source.command], {
    stdin: "ignore",
    stderr: "pipe",
    timeout: commandTimeoutMs,
  });
  return rootKeyOfCommand(run.exitCode, run.stdout.toString(), run.stderr.toString());
}

function readDefaultFile(path: string, isNew: boolean): Uint8Array {
  if (isNew && !existsSync(path)) {
    replaceFile(path, `${randomBytesPooled(keyBytes).toString("base64")}\n`, 0o600);
  }
  return readKeyFile(path);
}

function readKeyFile(path: string): Uint8Array {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw missing(
      `the root key file ${path} cannot be read: ${error instanceof Error ? error.message : error}`,
    );
  }
  return parseRootKey(text, path);
}

function isAbsolute(path: string): boolean {
  return path.startsWith("/");
}

/** 32 bytes out of 64 hex digits or base64 text. */
function parseRootKey(text: string, source: string): Uint8Array {
  const trimmed = text.trim();
  const isHex = /^[0-9a-f]{64}$/i.test(trimmed);
  const isBase64 = /^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed);
  if (isHex) return Buffer.from(trimmed, "hex");
  if (isBase64) return Buffer.from(trimmed, "base64");
  throw new WarpError("ROOT_KEY_WRONG", `${source} is not 32 bytes in base64 or hex`);
}

function missing(why: string): WarpError {
  return new WarpError("ROOT_KEY_MISSING", why);
}
