/**
 * How much memory a state takes, roughly: enough to decide which actors leave memory, at a bounded cost.
 *
 * Large arrays and objects are judged by their first elements. What is shared between states is counted every time.
 */

const sampled = 16;
const depthMax = 4;

/** Bytes, on the engine that Bun uses: a cell is 16 bytes and a slot 8. */
export function estimateBytes(value: unknown, depth = 0): number {
  if (typeof value === "string") return 24 + value.length;
  if (typeof value !== "object" || value === null) return 0;
  if (ArrayBuffer.isView(value)) return 64 + value.byteLength;
  if (value instanceof Map || value instanceof Set) return 96 + value.size * 64;
  if (depth === depthMax) return 64;
  const elements = Array.isArray(value) ? value : Object.values(value);
  const looked = Math.min(elements.length, sampled);
  let bytes = 0;
  for (let i = 0; i < looked; i++) bytes += 8 + estimateBytes(elements[i], depth + 1);
  return 32 + (looked === 0 ? 0 : Math.round((bytes / looked) * elements.length));
}
