/**
 * Strings that come again and again in frames (event types, commands, aggregates), found by their bytes instead of
 * being decoded again. A fixed number of places; a newcomer takes the place of whoever has it.
 */
import { textOf } from "./text-of.ts";

const places = 256;
const lengthMax = 48;

interface Known {
  readonly bytes: Uint8Array;
  readonly text: string;
}

export class KnownTexts {
  readonly #places: (Known | undefined)[] = new Array(places).fill(undefined);

  /** The text of the UTF-8 between `from` and `to`. Errors: PROTOCOL_ERROR for what is no UTF-8. */
  get(buffer: Buffer, from: number, to: number): string {
    const length = to - from;
    if (length === 0 || length > lengthMax) return textOf(buffer, from, to);
    const mixed =
      (buffer[from] ?? 0) * 31 + (buffer[to - 1] ?? 0) * 7 + (buffer[from + (length >> 1)] ?? 0) + length;
    const place = mixed & (places - 1);
    const known = this.#places[place];
    if (known !== undefined && isSame(known.bytes, buffer, from, length)) return known.text;
    const text = textOf(buffer, from, to);
    this.#places[place] = { bytes: Uint8Array.from(buffer.subarray(from, to)), text };
    return text;
  }
}

function isSame(known: Uint8Array, buffer: Buffer, from: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== buffer[from + i]) return false;
  return true;
}
