/**
 * One row of JSON text: a line of NDJSON, or an element of a JSON array.
 *
 * Nothing is changed on the way in silently: bytes that are not UTF-8 and integers that JavaScript would round are
 * problems of the row.
 */
import { isUtf8 } from "node:buffer";
import type { Row } from "./row.ts";

const longDigits = /\d{16}/;

export function jsonRow(bytes: Buffer, line: number): Row {
  const size = bytes.length;
  if (!isUtf8(bytes)) return { line, bytes: size, value: undefined, problem: "is not UTF-8" };
  const text = bytes.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : String(error);
    return { line, bytes: size, value: undefined, problem: `is not JSON: ${why}` };
  }
  if (longDigits.test(text)) {
    const path = roundedInteger(value);
    if (path !== undefined) {
      const problem = `${path} is an integer beyond 2^53, which would be rounded; write it as a string`;
      return { line, bytes: size, value: undefined, problem };
    }
  }
  return { line, bytes: size, value };
}

/** Path of the first number that may have been an integer which no double holds exactly. */
function roundedInteger(value: unknown, path = ""): string | undefined {
  if (typeof value === "number") {
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? path || "the value" : undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const found = roundedInteger(inner, path === "" ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
