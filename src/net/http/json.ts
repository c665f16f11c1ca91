/**
 * Values as JSON text, also those that JSON has no form for: a bigint is its decimal digits and bytes are base64, both
 * as strings; NaN and infinities are their names.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value, plain) ?? "null";
}

/** An answer with a JSON body. */
export function jsonResponse(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return jsonTextResponse(toJson(value), status, headers);
}

/** The same when the text is there already. */
export function jsonTextResponse(
  text: string,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(`${text}\n`, {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  });
}

function plain(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}
