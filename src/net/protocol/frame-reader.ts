/**
 * Reads the elements of one frame in the order in which the protocol names them.
 *
 * - Nothing is built that the protocol does not ask for: what a hostile frame can make this allocate is bounded by
 *   the bytes it has, and nesting is walked only by `skip`, which has a limit.
 * - Every element that is read is accounted for; behind the last one the frame ends.
 * - A reader is reused for frame after frame; what it returns is a copy.
 */

import { KnownTexts } from "../../core/known-texts.ts";
import { TableBytes } from "../../core/table.ts";
import { protocolError } from "./protocol-error.ts";
import { skipElement } from "./skip-element.ts";
import { textOf } from "./text-of.ts";
import { tableExtension, valueExtension } from "./words.ts";

const nilFormat = 0xc0;
const two32 = 2 ** 32;

export class FrameReader {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;
  /** Elements of the frame's array that have not been read. */
  left = 0;
  /** Of the bytes, once a format asks for it that comes rarely. */
  #view: DataView | undefined;
  readonly #known = new KnownTexts(textOf);

  /** Begins the frame between `at` and `end` of `bytes`, without its length. */
  begin(bytes: Buffer, at: number, end: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.#view = undefined;
    }
    this.at = at;
    this.end = end;
    const format = bytes[at] ?? 0;
    const length = format & 0x0f;
    if ((format & 0xf0) === 0x90 && length < end - at) {
      this.at = at + 1;
      this.left = length;
    } else {
      this.left = 1;
      this.left = this.array();
    }
  }

  /** Lets go of the memory of the last frame. */
  release(): void {
    this.begin(nothing, 0, nothing.length);
  }

  /** Skips the elements that this version does not know, and checks that the frame ends there. */
  finish(): void {
    while (this.left > 0) this.skip();
    if (this.at !== this.end) throw protocolError("there are bytes behind the array of the frame");
  }

  skip(): void {
    this.#next();
    this.at = skipElement(this.bytes, this.at, this.end);
  }

  /** True, and the element is read, when it is nil or absent. */
  isNil(): boolean {
    if (this.left === 0) return true;
    if (this.bytes[this.at] !== nilFormat || this.at >= this.end) return false;
    this.at++;
    this.left--;
    return true;
  }

  bool(): boolean {
    this.#next();
    const format = this.bytes[this.at++];
    if (format === 0xc3) return true;
    if (format === 0xc2) return false;
    throw protocolError("true or false was expected");
  }

  /** A whole number from 0 to `max`. */
  whole(max = Number.MAX_SAFE_INTEGER): number {
    const { bytes, at } = this;
    const room = this.left > 0 ? this.end - at : 0;
    const first = bytes[at] ?? 0;
    if (first < 0x80 && room > 0 && first <= max) {
      this.left--;
      this.at = at + 1;
      return first;
    }
    if (first === 0xce && room > 4) {
      const value = whole32(bytes, at + 1);
      if (value <= max) {
        this.left--;
        this.at = at + 5;
        return value;
      }
    }
    const value = this.num();
    if (value >= 0 && value <= max && Math.floor(value) === value) return value;
    throw protocolError(`a whole number from 0 to ${max} was expected, not ${value}`);
  }

  /** Any number that float64 holds. */
  num(): number {
    this.#next();
    const { bytes } = this;
    const at = this.at + 1;
    const format = bytes[this.at] ?? 0;
    if (format < 0x80) {
      this.at = at;
      return format;
    }
    if (format >= 0xe0) {
      this.at = at;
      return format - 0x100;
    }
    const size = numberBytes[format - 0xca] ?? 0;
    if (size === 0 || at + size > this.end) throw protocolError("a number was expected");
    this.at = at + size;
    if (format === 0xcf) return safe(whole32(bytes, at) * two32 + whole32(bytes, at + 4));
    if (format === 0xce) return whole32(bytes, at);
    if (format === 0xcd) return whole16(bytes, at);
    if (format === 0xcc) return bytes[at] ?? 0;
    this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return numberAt(this.#view, at, format);
  }

  numOrNil(): number | undefined {
    return this.isNil() ? undefined : this.num();
  }

  wholeOrNil(max = Number.MAX_SAFE_INTEGER): number | undefined {
    return this.isNil() ? undefined : this.whole(max);
  }

  /** The length of an array, whose elements come next; the frame's array has that many more elements then. */
  array(): number {
    this.#next();
    const at = this.at + 1;
    const format = this.bytes[this.at] ?? 0;
    let length: number;
    if (format >= 0x90 && format <= 0x9f) {
      length = format & 0x0f;
      this.at = at;
    } else if (format === 0xdc && at + 2 <= this.end) {
      length = whole16(this.bytes, at);
      this.at = at + 2;
    } else if (format === 0xdd && at + 4 <= this.end) {
      length = whole32(this.bytes, at);
      this.at = at + 4;
    } else {
      throw protocolError("an array was expected");
    }
    if (length > this.end - this.at) throw protocolError("an array is longer than its frame");
    return length;
  }

  /**
   * Goes into an array within the frame: `left` counts its elements until {@link leave}, which wants what this returns.
   */
  enter(): number {
    const length = this.array();
    const outside = this.left;
    this.left = length;
    return outside;
  }

  leave(outside: number): void {
    while (this.left > 0) this.skip();
    this.left = outside;
  }

  isArray(): boolean {
    const format = this.left > 0 && this.at < this.end ? (this.bytes[this.at] ?? 0) : 0;
    return (format >= 0x90 && format <= 0x9f) || format === 0xdc || format === 0xdd;
  }

  isText(): boolean {
    const format = this.left > 0 && this.at < this.end ? (this.bytes[this.at] ?? 0) : 0;
    return (format >= 0xa0 && format <= 0xbf) || (format >= 0xd9 && format <= 0xdb);
  }

  str(): string {
    const length = this.#strHeader();
    const from = this.at;
    this.at = from + length;
    return textOf(this.bytes, from, this.at);
  }

  /** A string that comes again and again, such as an event type: decoded once. */
  knownStr(): string {
    const length = this.#strHeader();
    const from = this.at;
    this.at = from + length;
    return this.#known.get(this.bytes, from, this.at);
  }

  strOrNil(): string | undefined {
    return this.isNil() ? undefined : this.str();
  }

  knownStrOrNil(): string | undefined {
    return this.isNil() ? undefined : this.knownStr();
  }

  /** A value as it came: JSON text, or a copy of the MessagePack. */
  value(): string | Uint8Array {
    this.#next();
    const format = this.bytes[this.at] ?? 0;
    const isMsgpack = !(format >= 0xc4 && format <= 0xc6);
    const length = isMsgpack ? this.#extHeader(format) : this.#lengthAt(format - 0xc4, "a value");
    const from = this.at;
    this.at = from + length;
    return isMsgpack ? new Uint8Array(this.bytes.subarray(from, this.at)) : textOf(this.bytes, from, this.at);
  }

  /** Goes over bytes, and returns where they begin; they end at `at`. */
  span(): number {
    this.#next();
    const format = this.bytes[this.at] ?? 0;
    if (format < 0xc4 || format > 0xc6) throw protocolError("bytes were expected");
    const length = this.#lengthAt(format - 0xc4, "bytes");
    const from = this.at;
    this.at = from + length;
    return from;
  }

  /** The whole number of 32 bits at a place within bytes. */
  u32At(at: number): number {
    return whole32(this.bytes, at);
  }

  /** The text of a part of bytes. Errors: PROTOCOL_ERROR for what is no UTF-8. */
  textAt(from: number, to: number): string {
    return textOf(this.bytes, from, to);
  }

  /** The data of an append as it came: a value, or a copy of a table. */
  data(): string | Uint8Array | TableBytes {
    if (!this.#isTable()) return this.value();
    this.#next();
    const length = this.#extHeader(this.bytes[this.at] ?? 0, tableExtension);
    const from = this.at;
    this.at = from + length;
    return new TableBytes(new Uint8Array(this.bytes.subarray(from, this.at)));
  }

  /** Whether an extension of 8, 16 or 32 bits of length is next, and its type that of tables; nothing shorter is one. */
  #isTable(): boolean {
    const width = [1, 2, 4][(this.bytes[this.at] ?? 0) - 0xc7];
    const typeAt = this.at + 1 + (width ?? 0);
    return width !== undefined && typeAt < this.end && this.bytes[typeAt] === tableExtension;
  }

  #strHeader(): number {
    this.#next();
    const format = this.bytes[this.at] ?? 0;
    if (format < 0xa0 || format > 0xbf) return this.#lengthAt(format - 0xd9, "a string");
    const length = format & 0x1f;
    this.at++;
    if (length > this.end - this.at) throw protocolError("a string is longer than its frame");
    return length;
  }

  #extHeader(format: number, expected: number = valueExtension): number {
    let length: number;
    if (format >= 0xd4 && format <= 0xd8) {
      length = 1 << (format - 0xd4);
      this.at++;
    } else {
      // The type stands between the length and the bytes, so it is counted as one of them.
      length = this.#lengthAt(format - 0xc7, "a value", 1);
    }
    if (this.at + 1 + length > this.end) throw protocolError("a value is longer than its frame");
    const type = this.bytes[this.at++];
    if (type !== expected) throw protocolError(`a value has extension type ${expected}, not ${type}`);
    return length;
  }

  /** Reads a length of 8, 16 or 32 bits (`width` 0 to 2) behind a format. */
  #lengthAt(width: number, what: string, more = 0): number {
    const at = this.at + 1;
    let length: number;
    if (width === 0 && at < this.end) {
      length = this.bytes[at] ?? 0;
      this.at = at + 1;
    } else if (width === 1 && at + 2 <= this.end) {
      length = whole16(this.bytes, at);
      this.at = at + 2;
    } else if (width === 2 && at + 4 <= this.end) {
      length = whole32(this.bytes, at);
      this.at = at + 4;
    } else {
      throw protocolError(`${what} was expected`);
    }
    if (length + more > this.end - this.at) throw protocolError(`${what} is longer than its frame`);
    return length;
  }

  #next(): void {
    if (this.left === 0) throw protocolError("the frame has too few elements");
    if (this.at >= this.end) throw protocolError("the frame ends in the middle of its array");
    this.left--;
  }
}

const nothing = Buffer.of(0x90);

/** By format from float32 (0xca) to int64 (0xd3). */
const numberBytes = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8];

/** Faster than a DataView, which would have to be made for each arrival. */
function whole16(bytes: Buffer, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function whole32(bytes: Buffer, at: number): number {
  return whole16(bytes, at) * 0x10000 + whole16(bytes, at + 2);
}

/** The formats that are rare: floats, and whole numbers below 0. */
function numberAt(view: DataView, at: number, format: number): number {
  switch (format) {
    case 0xca:
      return view.getFloat32(at);
    case 0xcb:
      return view.getFloat64(at);
    case 0xd0:
      return view.getInt8(at);
    case 0xd1:
      return view.getInt16(at);
    case 0xd2:
      return view.getInt32(at);
    default:
      return safe(view.getInt32(at) * two32 + view.getUint32(at + 4));
  }
}

function safe(value: number): number {
  if (value <= Number.MAX_SAFE_INTEGER && value >= -Number.MAX_SAFE_INTEGER) return value;
  throw protocolError("a number is beyond 2^53");
}
