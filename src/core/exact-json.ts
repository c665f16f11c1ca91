/**
 * JSON text as it comes from people, files and HTTP, read so that nothing is changed silently: a number that JavaScript would
 * round and half of a surrogate pair are problems, as is text that is no JSON.
 */

import { limits } from "./limits.ts";

/** Texts in which a value may be found that cannot be kept; all others are not walked through. */
const suspicious = /\d{16}|[eE][+-]?\d{3}|\\u[dD]/;

/** Stands for a number that is not what its text says. */
const changed = Symbol("changed");

/** What the text means, or half a sentence about what is wrong with it: "is not JSON: …", "has a number …". */
export type ExactJson =
  | { readonly value: unknown; readonly problem?: undefined }
  | {
      readonly problem: string;
      /** It is JSON, but of a value that could not be kept. */
      readonly isJson: boolean;
    };

export function readJson(text: string): ExactJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : String(error);
    return { problem: `is not JSON: ${why}`, isJson: false };
  }
  const problem =
    suspicious.test(text) && isShallow(value, limits.dataDepthMax + 1) ? lostOf(text) : undefined;
  return problem === undefined ? { value } : { problem, isJson: true };
}

/** What is nested deeper than data may be is refused for that, by whoever takes it. */
function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((inner) => isShallow(inner, depth - 1));
}

function lostOf(text: string): string | undefined {
  return whatIsLost(JSON.parse(text, mark), "");
}

/** https://tc39.es/proposal-json-parse-with-source/ */
function mark(_: string, value: unknown, { source }: { readonly source?: string } = {}): unknown {
  return typeof value === "number" && source !== undefined && isChanged(value, source) ? changed : value;
}

/** Fractions are approximate by nature; whole numbers have to be the same, and what is too large or too small is something else. */
function isChanged(value: number, source: string): boolean {
  if (!Number.isFinite(value)) return true;
  if (value === 0) return /^[^eE]*[1-9]/.test(source);
  // An exponent says that not every digit is meant.
  if (!Number.isInteger(value) || Number.isSafeInteger(value) || /[eE]/.test(source)) return false;
  const whole = source.replace(/\.0+$/, "");
  return whole.includes(".") || BigInt(whole) !== BigInt(value);
}

/** What could not be kept of a value, with its path. */
function whatIsLost(value: unknown, path: string): string | undefined {
  const name = path === "" ? "the value" : path;
  if (value === changed) return `has a number as ${name} that would be rounded; write it as a string`;
  if (typeof value === "string" && !value.isWellFormed()) return `has a lone surrogate in ${name}`;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (!key.isWellFormed()) return `has a lone surrogate in a key of ${name}`;
    const lost = whatIsLost(inner, path === "" ? key : `${path}.${key}`);
    if (lost !== undefined) return lost;
  }
  return undefined;
}
