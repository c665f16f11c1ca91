/**
 * Writes frames into one growing buffer, as MessagePack, without an intermediate value.
 *
 * - What lies before `at` is whole; `startFrame` leaves room for the length and `endFrame` fills it in.
 * - A frame that fails half-way is taken back by setting `at` to where it started.
 * - Memory that it grew out of, or left for another by `use`, is never written again.
 * - A text with a lone surrogate is written with U+FFFD in its place, by which two texts may become one. So one of a request is
 *   refused; one of a reply is not, since a server must not fail in the middle of it.
 */

import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { isTable, type TableData } from "../../core/table.ts";
import { writeUtf8 } from "../../core/utf8.ts";
import { lengthBytes, tableExtension, valueExtension } from "./words.ts";

const two32 = 2 ** 32;
/** Up to this length a loop over the characters is faster than a call into the run-time. */
const shortText = 24;
/** Longer texts are measured before room is made for them. */
const measuredFrom = 4 * 1024;
const strFormat = 0xd9;
const binFormat = 0xc4;
/** A string below this many bytes has its length in its format. */
const shortStr = 32;

export class FrameWriter {
  buffer: Buffer;
  at = 0;
  #view: DataView;
  readonly #isOfRequests: boolean;

  constructor(bytes: number, of: "requests" | "replies" = "replies") {
    this.#isOfRequests = of === "requests";
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    this.#view = new DataView(this.buffer.buffer, this.buffer.byteOffset, bytes);
  }

  get capacity(): number {
    return this.buffer.length;
  }

  /** Begins a frame of an array of `length` (at most 15) elements; returns what {@link endFrame} wants. */
  startFrame(length: number): number {
    this.#room(lengthBytes + 1);
    const start = this.at;
    this.buffer[start + lengthBytes] = 0x90 | length;
    this.at = start + lengthBytes + 1;
    return start;
  }

  /** Errors: EVENT_TOO_LARGE, and the frame is taken back. */
  endFrame(start: number): void {
    const length = this.at - start - lengthBytes;
    if (length > limits.frameBytesMax) {
      this.at = start;
      throw new WarpError(
        "EVENT_TOO_LARGE",
        `one request or reply takes at most ${limits.frameBytesMax} bytes`,
        {
          limit: "frameBytesMax",
          bytes: length,
        },
      );
    }
    this.#view.setUint32(start, length);
  }

  /** Goes on at the start of another piece of memory. */
  use(buffer: Buffer): void {
    this.buffer = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    this.at = 0;
  }

  /** Drops the bytes before `from`. */
  compact(from: number): void {
    this.buffer.copyWithin(0, from, this.at);
    this.at -= from;
  }

  nil(): void {
    this.#room(1);
    this.buffer[this.at++] = 0xc0;
  }

  bool(value: boolean): void {
    this.#room(1);
    this.buffer[this.at++] = value ? 0xc3 : 0xc2;
  }

  /** A whole number from 0 to 2^53, in the shortest format; anything else as float64. */
  num(value: number): void {
    this.#room(9);
    const { buffer, at } = this;
    if (!(value >= 0 && value < two32 && Math.floor(value) === value) || (value === 0 && 1 / value < 0)) {
      this.#largeNum(value);
    } else if (value < 0x80) {
      buffer[at] = value;
      this.at = at + 1;
    } else if (value < 0x100) {
      buffer[at] = 0xcc;
      buffer[at + 1] = value;
      this.at = at + 2;
    } else if (value < 0x10000) {
      buffer[at] = 0xcd;
      buffer[at + 1] = value >>> 8;
      buffer[at + 2] = value & 0xff;
      this.at = at + 3;
    } else {
      buffer[at] = 0xce;
      this.#view.setUint32(at + 1, value);
      this.at = at + 5;
    }
  }

  #largeNum(value: number): void {
    const view = this.#view;
    const { at } = this;
    const isWhole = value >= two32 && value <= Number.MAX_SAFE_INTEGER && Math.floor(value) === value;
    this.buffer[at] = isWhole ? 0xcf : 0xcb;
    if (isWhole) {
      view.setUint32(at + 1, Math.floor(value / two32));
      view.setUint32(at + 5, value >>> 0);
    } else {
      view.setFloat64(at + 1, value);
    }
    this.at = at + 9;
  }

  numOrNil(value: number | undefined): void {
    if (value === undefined) this.nil();
    else this.num(value);
  }

  array(length: number): void {
    this.#room(5);
    if (length < 16) {
      this.buffer[this.at++] = 0x90 | length;
    } else if (length < 0x10000) {
      this.buffer[this.at] = 0xdc;
      this.#view.setUint16(this.at + 1, length);
      this.at += 3;
    } else {
      this.buffer[this.at] = 0xdd;
      this.#view.setUint32(this.at + 1, length);
      this.at += 5;
    }
  }

  /** Bytes that are MessagePack already. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Begins bytes whose length is not known yet; returns what {@link endBytes} wants. */
  startBytes(): number {
    this.#room(5);
    this.buffer[this.at] = binFormat + 2;
    this.at += 5;
    return this.at;
  }

  endBytes(start: number): void {
    this.#view.setUint32(start - 4, this.at - start);
  }

  /** The UTF-8 of a text, and nothing that tells its length, which is returned. */
  utf8(text: string): number {
    this.#room(text.length * 3);
    const length = writeUtf8(this.buffer, text, this.at);
    this.at += length;
    return length;
  }

  /** Four bytes without a format, as they stand in bytes. */
  u32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.at, value);
    this.at += 4;
  }

  /** Errors, of requests: INVALID_ARGUMENT for a text with a lone surrogate. */
  str(text: string): void {
    const { length } = text;
    this.#room(length * 3 + 5);
    if (length <= shortText) {
      const { buffer, at } = this;
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit >= 0x80) break;
        buffer[at + 1 + i] = unit;
      }
      if (i === length) {
        buffer[at] = 0xa0 | length;
        this.at = at + 1 + length;
        return;
      }
    }
    if (this.#isOfRequests && !text.isWellFormed())
      throw new WarpError("INVALID_ARGUMENT", "a text has a lone surrogate, which UTF-8 cannot hold");
    this.#text(text, strFormat, shortStr);
  }

  strOrNil(text: string | undefined): void {
    if (text === undefined) this.nil();
    else this.str(text);
  }

  /** A value: JSON text as `bin`, MessagePack as `ext`. */
  value(encoded: string | Uint8Array): void {
    const { length } = encoded;
    if (typeof encoded === "string") {
      this.#room((length > measuredFrom ? Buffer.byteLength(encoded) : length * 3) + 5);
      this.#text(encoded, binFormat, 0);
      return;
    }
    this.#room(length + 6);
    this.buffer[this.at] = 0xc9;
    this.#view.setUint32(this.at + 1, length);
    this.buffer[this.at + 5] = valueExtension;
    this.buffer.set(encoded, this.at + 6);
    this.at += 6 + length;
  }

  /** The data of an append: a value, or a table as `ext`. */
  data(encoded: string | Uint8Array | TableData): void {
    if (!isTable(encoded)) {
      this.value(encoded);
      return;
    }
    this.#room(encoded.bytesMax + 6);
    const from = this.at + 6;
    const end = encoded.write(this.buffer, this.#view, from);
    this.buffer[this.at] = 0xc9;
    this.#view.setUint32(this.at + 1, end - from);
    this.buffer[this.at + 5] = tableExtension;
    this.at = end;
  }

  valueOrNil(encoded: string | Uint8Array | undefined): void {
    if (encoded === undefined) this.nil();
    else this.value(encoded);
  }

  /** Leaves room for the header that fits if all is ASCII, and moves the text when it was not. */
  #text(text: string, format: number, shortest: number): void {
    const { at, buffer } = this;
    const guess = headerBytes(text.length, shortest);
    const length = writeUtf8(buffer, text, at + guess);
    const size = headerBytes(length, shortest);
    if (size !== guess) buffer.copyWithin(at + size, at + guess, at + guess + length);
    const view = this.#view;
    // The formats for 8, 16 and 32 bits of length follow each other.
    if (size === 1) {
      buffer[at] = 0xa0 | length;
    } else if (size === 2) {
      buffer[at] = format;
      buffer[at + 1] = length;
    } else if (size === 3) {
      buffer[at] = format + 1;
      view.setUint16(at + 1, length);
    } else {
      buffer[at] = format + 2;
      view.setUint32(at + 1, length);
    }
    this.at = at + size + length;
  }

  #room(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.at + bytes));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.length);
  }
}

/** Bytes of the header of a text: its format, and its length unless that is below `shortest`. */
function headerBytes(length: number, shortest: number): number {
  if (length < shortest) return 1;
  if (length < 0x100) return 2;
  return length < 0x10000 ? 3 : 5;
}
