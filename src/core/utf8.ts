/**
 * Text in and out of bytes, as UTF-8, where it is done for every append.
 *
 * `write` and `toString` of a Buffer look their encoding up by name at each call; the methods that they then call are there
 * under their own names, on Bun and on Node, and take half the time for a text of 100 bytes. The declarations lack them.
 */
import { isUtf8 } from "node:buffer";

interface Utf8Buffer {
  utf8Write(text: string, at: number): number;
  utf8Slice(from: number, to: number): string;
}

/** Writes `text` at `at`, as far as the buffer has room for whole characters; returns the bytes it took. */
export function writeUtf8(buffer: Buffer, text: string, at: number): number {
  return (buffer as Buffer & Utf8Buffer).utf8Write(text, at);
}

/** The text of the bytes from `from` up to `to`; what is no UTF-8 is read as U+FFFD. */
export function readUtf8(buffer: Buffer, from: number, to: number): string {
  return (buffer as Buffer & Utf8Buffer).utf8Slice(from, to);
}

/** As {@link readUtf8}; undefined for what is no UTF-8. */
export function readStrictUtf8(buffer: Buffer, from: number, to: number): string | undefined {
  const text = readUtf8(buffer, from, to);
  // What is no UTF-8 is read as U+FFFD, which may also stand there as itself.
  return text.includes("\ufffd") && !isUtf8(buffer.subarray(from, to)) ? undefined : text;
}
