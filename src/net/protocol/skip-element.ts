/**
 * Walks over one MessagePack element without building anything: how foreign bytes are checked before a general decoder,
 * which would believe every length in them, sees them.
 *
 * - Every element takes a byte, so there are no more elements than bytes, and every length must fit in what is left.
 * - Nesting is limited. Keys of maps are strings, and none is `__proto__`.
 */
import { limits } from "../../core/limits.ts";
import { protocolError } from "./protocol-error.ts";

/** Lengths of the fixed formats from 0xc0 on, behind the format; -1 where a length is read. */
const sizes: readonly number[] = [
  0, -2, 0, 0, -1, -1, -1, -1, -1, -1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17, -1, -1, -1, -1, -1, -1,
  -1,
];
const protoKey = Buffer.from("__proto__");

/** The offset behind the element at `at`, which may have `around` levels around what may be nested. Errors: PROTOCOL_ERROR. */
export function skipElement(bytes: Uint8Array, at: number, end: number, around = 0): number {
  return skip(bytes, at, end, -around);
}

function skip(bytes: Uint8Array, at: number, end: number, depth: number): number {
  if (at >= end) throw protocolError("the bytes end in the middle of an element");
  const format = bytes[at] ?? 0;
  if (format < 0x80 || format >= 0xe0) return at + 1;
  if (format < 0x90) return skipMap(bytes, at + 1, end, format & 0x0f, depth);
  if (format < 0xa0) return skipArray(bytes, at + 1, end, format & 0x0f, depth);
  if (format < 0xc0) return within(at + 1 + (format & 0x1f), end);
  const size = sizes[format - 0xc0] ?? -2;
  if (size >= 0) return within(at + 1 + size, end);
  if (size === -2) throw protocolError("0xc1 is no MessagePack format");
  switch (format) {
    case 0xdc:
      return skipArray(bytes, at + 3, end, length16(bytes, at + 1, end), depth);
    case 0xdd:
      return skipArray(bytes, at + 5, end, length32(bytes, at + 1, end), depth);
    case 0xde:
      return skipMap(bytes, at + 3, end, length16(bytes, at + 1, end), depth);
    case 0xdf:
      return skipMap(bytes, at + 5, end, length32(bytes, at + 1, end), depth);
    default:
      return skipBytes(bytes, at, end, format);
  }
}

/** bin, ext and str with a length of 8, 16 or 32 bits. */
function skipBytes(bytes: Uint8Array, at: number, end: number, format: number): number {
  const isExt = format >= 0xc7 && format <= 0xc9;
  const width = format >= 0xd9 ? format - 0xd9 : (format - 0xc4) % 3;
  const type = isExt ? 1 : 0;
  if (width === 0) return within(at + 2 + type + length8(bytes, at + 1, end), end);
  if (width === 1) return within(at + 3 + type + length16(bytes, at + 1, end), end);
  return within(at + 5 + type + length32(bytes, at + 1, end), end);
}

function skipArray(bytes: Uint8Array, at: number, end: number, length: number, depth: number): number {
  enter(at, end, length, depth);
  let next = at;
  for (let i = 0; i < length; i++) next = skip(bytes, next, end, depth + 1);
  return next;
}

function skipMap(bytes: Uint8Array, at: number, end: number, length: number, depth: number): number {
  enter(at, end, length * 2, depth);
  let next = at;
  for (let i = 0; i < length; i++) {
    const key = next;
    const format = bytes[key] ?? 0;
    const isText = (format >= 0xa0 && format < 0xc0) || (format >= 0xd9 && format <= 0xdb);
    if (!isText) throw protocolError("a key of a map is not a string");
    next = skip(bytes, key, end, depth + 1);
    const length = protoKey.length;
    if (next - key > length && isProto(bytes, next - length)) {
      const isWhole =
        format >= 0xa0 && format < 0xc0 ? (format & 0x1f) === length : lengthOf(bytes, key, next) === length;
      if (isWhole) throw protocolError("__proto__ is no key");
    }
    next = skip(bytes, next, end, depth + 1);
  }
  return next;
}

function isProto(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < protoKey.length; i++) if (bytes[at + i] !== protoKey[i]) return false;
  return true;
}

/** Bytes of the text of a str 8, 16 or 32 that lies between `at` and `end`. */
function lengthOf(bytes: Uint8Array, at: number, end: number): number {
  const header = bytes[at] === 0xd9 ? 2 : bytes[at] === 0xda ? 3 : 5;
  return end - at - header;
}

function enter(at: number, end: number, elements: number, depth: number): void {
  if (depth >= limits.dataDepthMax) throw protocolError(`nested deeper than ${limits.dataDepthMax}`);
  if (elements > end - at) throw protocolError("more elements than bytes");
}

function within(at: number, end: number): number {
  if (at > end) throw protocolError("the bytes end in the middle of an element");
  return at;
}

function length8(bytes: Uint8Array, at: number, end: number): number {
  within(at + 1, end);
  return bytes[at] ?? 0;
}

function length16(bytes: Uint8Array, at: number, end: number): number {
  within(at + 2, end);
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function length32(bytes: Uint8Array, at: number, end: number): number {
  within(at + 4, end);
  return length16(bytes, at, end) * 0x10000 + length16(bytes, at + 2, end);
}
