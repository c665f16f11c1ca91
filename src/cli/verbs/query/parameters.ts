/**
 * The parameters of a query as text: JSON if it is that, else text. Whole numbers are what a column of whole numbers can
 * hold: 64 bits, and none is rounded.
 */
import { InvalidArgumentError } from "commander";
import type { QueryParam } from "../../target.ts";

const integer = /^-?(?:0|[1-9]\d*)$/;
const bits = 64;

export function paramOf(text: string): QueryParam {
  const trimmed = text.trim();
  if (integer.test(trimmed)) return integerOf(trimmed);
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Text that is no JSON is a text.
  }
  const isPlain = value === null || ["string", "number", "boolean"].includes(typeof value);
  return isPlain ? (value as QueryParam) : text;
}

function integerOf(text: string): number | bigint {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  const exact = BigInt(text);
  if (BigInt.asIntN(bits, exact) === exact) return exact;
  throw new InvalidArgumentError(`A whole number has ${bits} bits; in quotes it is a text.`);
}
