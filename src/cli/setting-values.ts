/**
 * How the text of a setting becomes its value: the same on the command line, in a variable and in a file.
 *
 * A parser throws UsageError with half a sentence that goes on behind the setting's name: "is a size such as …".
 */
import { UsageError } from "./exit.ts";

export interface Address {
  readonly host: string;
  /** 0 lets the operating system choose. */
  readonly port: number;
}

export type Parser<Value> = (text: string) => Value;

const sizeUnits: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const timeUnits = { "": 1, ms: 1, s: 1000, min: 60_000, h: 3_600_000 };
/** A timer runs for 2^31 - 1 ms at most, and one that is to run for longer ends at once. */
const durationHoursMax = 596;

export const text: Parser<string> = (given) => {
  if (given === "") throw new UsageError("is not empty");
  return given;
};

export function oneOf<Value extends string>(...values: readonly Value[]): Parser<Value> {
  return (given) => {
    const value = values.find((known) => known === given);
    if (value === undefined) throw new UsageError(`is one of ${values.join(", ")}`);
    return value;
  };
}

export function count(low: number, high: number): Parser<number> {
  return (given) => {
    const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
    if (!(value >= low && value <= high)) throw new UsageError(`is a whole number from ${low} to ${high}`);
    return value;
  };
}

/** Bytes: "64MiB", or a plain number of bytes. */
export const size: Parser<number> = (given) => {
  const value = withUnit(given, sizeUnits);
  if (value === undefined) throw new UsageError('is a size such as "64MiB" (KiB, MiB, GiB, or bytes)');
  return value;
};

/** Milliseconds, from `low` seconds on: "500ms", "10s", or a plain number of ms. */
export function durationFrom(low: number): Parser<number> {
  return (given) => {
    const value = withUnit(given, timeUnits);
    if (value === undefined) throw new UsageError('is a time such as "10s" (ms, s, min, h)');
    if (value >= low * 1000 && value <= durationHoursMax * timeUnits.h) return value;
    throw new UsageError(`is a time from ${low}s to ${durationHoursMax}h`);
  };
}

export const duration = durationFrom(0);

/** "name=url name=url": databases by name. */
export const sinks: Parser<Readonly<Record<string, string>>> = (given) => {
  const pairs = given.split(/\s+/).filter((one) => one !== "");
  const entries = pairs.map((pair) => /^([A-Za-z]\w*)=(\w+:\/\/.+)$/.exec(pair));
  if (pairs.length === 0 || entries.includes(null)) {
    throw new UsageError(
      'is NAME=URL, several with spaces between them, such as "warehouse=postgres://db/warp"',
    );
  }
  return Object.fromEntries(entries.map((match) => [match?.[1] ?? "", match?.[2] ?? ""]));
};

/** "name,name": how a host is called, in lower case. */
export const hostNames: Parser<readonly string[]> = (given) => {
  const names = given.split(",").map((name) => name.trim().toLowerCase());
  if (names.every((name) => /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/.test(name))) return names;
  throw new UsageError('is names of hosts with commas between them, such as "bank.example,www.bank.example"');
};

/** "HOST:PORT", "[::1]:PORT", or "off". */
export const address: Parser<Address | "off"> = (given) => {
  if (given === "off") return "off";
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(given);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535)) throw new UsageError('is HOST:PORT, or "off"');
  return { host, port };
};

/** The other way round. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True when only programs on the same machine can reach it. */
export function isLoopback({ host }: Address): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function withUnit(given: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(given);
  const unit = units[match?.[2] ?? ""];
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return Number.isSafeInteger(value) ? value : undefined;
}
