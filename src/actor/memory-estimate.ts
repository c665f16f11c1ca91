/**
 * How much memory a state takes, roughly: enough to decide which actors leave memory, at a bounded cost.
 *
 * So many values are looked at and no more. While there are fewer, all of them are; else elements are judged by some that are
 * spread over all of them, and each gets its share of what may be looked at. What is shared between states is counted every time.
 */

/** Values that one estimate looks at. */
const valuesMax = 512;
/** Of elements that are too many, so many may be looked at for each that is. */
const valuesPerElement = 8;

/** Values that the innermost estimate has looked at. */
let looked = 0;

/** Bytes, on the engine that Bun uses: a cell is 16 bytes and a slot 8. */
export function estimateBytes(value: unknown): number {
  return estimate(value, valuesMax);
}

function estimate(value: unknown, valuesLeft: number): number {
  looked = 1;
  if (typeof value === "string") return 24 + value.length;
  if (typeof value !== "object" || value === null) return 0;
  if (ArrayBuffer.isView(value)) return 64 + value.byteLength;
  const isTable = value instanceof Map || value instanceof Set;
  const own = isTable ? 96 + value.size * 56 : 32;
  const elements = isTable ? [...value.values()] : Array.isArray(value) ? value : Object.values(value);
  const { length } = elements;
  const left = valuesLeft - 1;
  const looks = length <= left ? length : Math.ceil(left / valuesPerElement);
  if (looks === 0) return own + length * 8;
  let used = 1;
  let bytes = 0;
  for (let i = 0; i < looks; i++) {
    const share = Math.floor((valuesLeft - used) / (looks - i));
    bytes += 8 + estimate(elements[Math.floor(((i + 0.5) * length) / looks)], share);
    used += looked;
  }
  looked = used;
  return own + Math.round((bytes / looks) * length);
}
