/**
 * Strings that come again and again in bytes (event types, commands, aggregates), found by their bytes instead of
 * being decoded again. A fixed number of places; a newcomer takes the place of whoever has it.
 */

const places = 256;
const lengthMax = 48;

interface Known {
  readonly bytes: Uint8Array;
  readonly text: string;
}

export class KnownTexts {
  readonly #places: (Known | undefined)[] = new Array(places).fill(undefined);
  readonly #decode: (buffer: Buffer, from: number, to: number) => string;

  /** `decode` makes the text of bytes that are not known; what it throws, `get` throws. */
  constructor(decode: (buffer: Buffer, from: number, to: number) => string) {
    this.#decode = decode;
  }

  /** The text of the bytes between `from` and `to`. */
  get(buffer: Buffer, from: number, to: number): string {
    const length = to - from;
    if (length === 0 || length > lengthMax) return this.#decode(buffer, from, to);
    const mixed =
      (buffer[from] ?? 0) * 31 + (buffer[to - 1] ?? 0) * 7 + (buffer[from + (length >> 1)] ?? 0) + length;
    const place = mixed & (places - 1);
    const known = this.#places[place];
    if (known !== undefined && isSame(known.bytes, buffer, from, length)) return known.text;
    const text = this.#decode(buffer, from, to);
    this.#places[place] = { bytes: Uint8Array.from(buffer.subarray(from, to)), text };
    return text;
  }
}

function isSame(known: Uint8Array, buffer: Buffer, from: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== buffer[from + i]) return false;
  return true;
}
