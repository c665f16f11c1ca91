/**
 * One row of JSON text: a line of NDJSON, or an element of a JSON array.
 *
 * Nothing is changed silently on the way in: bytes that are not UTF-8, integers that JavaScript would round and halves
 * of surrogate pairs are problems of the row.
 */
import { isUtf8 } from "node:buffer";
import type { Row } from "./row.ts";

/** Texts in which a value may be found that cannot be kept; all others are not walked through. */
const suspicious = /\d{16}|\\u[dD]/;

export function jsonRow(bytes: Buffer, line: number): Row {
  const wrong = (problem: string): Row => ({ line, bytes: bytes.length, value: undefined, problem });
  if (!isUtf8(bytes)) return wrong("is not UTF-8");
  const text = bytes.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : String(error);
    return wrong(`is not JSON: ${why}`);
  }
  const problem = suspicious.test(text) ? whatIsLost(value, "") : undefined;
  return problem === undefined ? { line, bytes: bytes.length, value } : wrong(problem);
}

/** What could not be kept of a value, with its path. */
function whatIsLost(value: unknown, path: string): string | undefined {
  const name = path === "" ? "the value" : path;
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return `has an integer beyond 2^53 as ${name}, which would be rounded; write it as a string`;
  }
  if (typeof value === "string" && !value.isWellFormed()) return `has a lone surrogate in ${name}`;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (!key.isWellFormed()) return `has a lone surrogate in a key of ${name}`;
    const lost = whatIsLost(inner, path === "" ? key : `${path}.${key}`);
    if (lost !== undefined) return lost;
  }
  return undefined;
}
