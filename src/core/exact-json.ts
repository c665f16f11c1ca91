/**
 * JSON text as it comes from people and files, read so that nothing is changed silently: an integer that JavaScript would
 * round and half of a surrogate pair are problems, as is text that is no JSON.
 */

/** Texts in which a value may be found that cannot be kept; all others are not walked through. */
const suspicious = /\d{16}|\\u[dD]/;

/** What the text means, or half a sentence about what is wrong with it: "is not JSON: …", "has an integer …". */
export type ExactJson =
  | { readonly value: unknown; readonly problem?: undefined }
  | { readonly problem: string };

export function readJson(text: string): ExactJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : String(error);
    return { problem: `is not JSON: ${why}` };
  }
  const problem = suspicious.test(text) ? whatIsLost(value, "") : undefined;
  return problem === undefined ? { value } : { problem };
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
