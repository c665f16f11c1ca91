/**
 * Event data: what may be stored, and how it is encoded.
 *
 * - What is accepted comes back deeply equal, prototypes and -0 included; everything else is refused with
 *   INVALID_EVENT that names the path. `evolve` sees the same value live and on every replay.
 * - Data is JSON text when JSON can hold it, else msgpack; the choice is made per append, not per event.
 * - No `toJSON` is ever called: a value that has one is a function or an instance of a class, both refused.
 * - MessagePack's decoder takes U+FEFF off the beginning of a text of more than 200 bytes: where data has to be msgpack, such a text
 *   is refused.
 * - The fast walk does not look for two things that cost more than the whole encoding: accessors on plain objects
 *   (stored with the value that they return) and named properties of arrays (not stored).
 * - A value that shares parts is stored as a tree. The walk counts the least bytes that each node takes and stops at the
 *   limit, so a cycle or a small graph of an enormous tree ends quickly.
 */
import { Encoder } from "@msgpack/msgpack";
import { isPieces, joined, textLength } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";

/** Bytes that the value being walked may still take … */
let room = 0;
/** … and that it may take in all. */
let roomMax: number = limits.eventBytesMax;
/** The value being walked is only read: what is undefined may stand in it, and is left out. */
let isRead = false;

/**
 * Whether JSON gives back exactly this value: plain objects, arrays, strings, finite numbers but -0, booleans, null.
 * Strings with lone surrogates pass, since JSON escapes them; {@link encodeData} refuses them.
 */
export function isJsonData(value: unknown): boolean {
  room = limits.eventBytesMax;
  return walk(value, 0);
}

/**
 * As {@link isJsonData}, of what is only read, such as a state: it may take up to `bytesMax` bytes, and JSON leaves out its fields that
 * are undefined.
 */
export function isReadableJson(value: unknown, bytesMax: number): boolean {
  return reading(bytesMax, () => walk(value, 0));
}

/** As {@link validateData}, of what is only read. Errors: INVALID_EVENT, EVENT_TOO_LARGE above `bytesMax`. */
export function validateReadable(value: unknown, name: string, bytesMax: number): void {
  reading(bytesMax, () => check(value, name, []));
}

function reading<Result>(bytesMax: number, look: () => Result): Result {
  isRead = true;
  room = roomMax = bytesMax;
  try {
    return look();
  } finally {
    isRead = false;
    roomMax = limits.eventBytesMax;
  }
}

/** The least bytes of JSON that a value `depth` objects deep takes; -1 when {@link isJsonData} would refuse it there. */
export function jsonUnits(value: unknown, depth: number): number {
  room = limits.eventBytesMax;
  return walk(value, depth) ? limits.eventBytesMax - room : -1;
}

function walk(value: unknown, depth: number): boolean {
  if (typeof value === "string") {
    room -= value.length + 1;
    return room >= 0;
  }
  if (--room < 0) return false;
  if (typeof value === "number") return isJsonNumber(value);
  if (typeof value === "boolean" || value === null) return true;
  if (typeof value !== "object" || depth === limits.dataDepthMax) return isRead && value === undefined;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) return walkObject(value as Record<string, unknown>, depth + 1);
  return prototype === Array.prototype && Array.isArray(value) && walkArray(value, depth + 1);
}

export function isJsonNumber(value: number): boolean {
  // The difference is NaN for what is not finite; -0 alone has -Infinity as its inverse.
  return value - value === 0 && (value !== 0 || 1 / value > 0);
}

/** Most values are texts and numbers: looked at here, without a call for each, they cost half. */
function walkObject(object: Record<string, unknown>, depth: number): boolean {
  let count = 0;
  let left = room;
  for (const key in object) {
    if (key === "__proto__") return false;
    const value = object[key];
    left -= key.length + 2;
    if (typeof value === "string") {
      left -= value.length;
    } else if (typeof value === "number") {
      if (!isJsonNumber(value)) return false;
    } else {
      room = left + 1;
      if (!walk(value, depth)) return false;
      left = room;
    }
    count++;
  }
  room = left;
  // More keys than were enumerated: symbols or properties that are not enumerable.
  return left >= 0 && Reflect.ownKeys(object).length === count;
}

function walkArray(value: readonly unknown[], depth: number): boolean {
  for (let i = 0; i < value.length; i++) if (!walk(value[i], depth)) return false;
  return true;
}

/**
 * Throws INVALID_EVENT or EVENT_TOO_LARGE unless the value can be stored: beside JSON data Uint8Array, Date, bigint of
 * 64 bits signed, non-finite numbers and -0. `name` is how messages call the value.
 */
export function validateData(value: unknown, name = "data"): void {
  room = limits.eventBytesMax;
  check(value, name, []);
}

function check(value: unknown, path: string, within: readonly object[]): void {
  const refuse = (why: string): WarpError => new WarpError("INVALID_EVENT", `${path} ${why}`, { path });
  if (--room < 0) throw tooLarge(path.replace(/(data).*$/s, "$1"), roomMax);
  switch (typeof value) {
    case "boolean":
    case "number":
      return;
    case "string":
      room -= value.length;
      if (!value.isWellFormed()) throw refuse("has a lone surrogate, which UTF-8 cannot hold");
      return;
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw refuse("is a bigint of more than 64 bits: use a string");
      return;
    case "undefined":
      if (isRead) return;
      throw refuse("is undefined: leave it out or use null");
    case "object":
      break;
    default:
      throw refuse(`is a ${typeof value}, which is not data`);
  }
  if (value === null) return;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Uint8Array.prototype && ArrayBuffer.isView(value)) {
    room -= value.byteLength;
    return;
  }
  if (prototype === Date.prototype && value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw refuse("is an invalid Date");
    if (Reflect.ownKeys(value).length > 0) throw refuse("is a Date with properties of its own");
    return;
  }
  if (within.includes(value)) throw refuse("contains itself");
  if (within.length === limits.dataDepthMax) throw refuse(`is nested deeper than ${limits.dataDepthMax}`);
  const around = [...within, value];
  if (Array.isArray(value) && prototype === Array.prototype) {
    checkArray(value, path, around);
    return;
  }
  if (prototype === null) throw refuse("has no prototype: copy it with { ...value }");
  if (prototype !== Object.prototype) throw refuse(`is ${instanceName(value)}: ${adviceFor(value)}`);
  checkObject(value, path, around);
}

function checkArray(value: readonly unknown[], path: string, around: readonly object[]): void {
  // A hole would be read as undefined and is refused as such; a huge sparse array must not be walked first.
  const keys = value.length < 2 ** 20 ? value.length + 1 : Reflect.ownKeys(value).length;
  if (keys !== value.length + 1) {
    throw new WarpError("INVALID_EVENT", `${path} is an array with holes`, { path });
  }
  for (let i = 0; i < value.length; i++) {
    if (!(i in value)) throw new WarpError("INVALID_EVENT", `${path} is an array with holes`, { path });
    check(value[i], `${path}[${i}]`, around);
  }
  if (Reflect.ownKeys(value).length !== value.length + 1) {
    throw new WarpError("INVALID_EVENT", `${path} is an array with named properties, which are not stored`, {
      path,
    });
  }
}

function checkObject(value: object, path: string, around: readonly object[]): void {
  for (const key of Reflect.ownKeys(value)) {
    const at = typeof key === "string" && /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${nameOf(key)}]`;
    const refuse = (why: string): WarpError =>
      new WarpError("INVALID_EVENT", `${path}${at} ${why}`, { path: path + at });
    if (typeof key === "symbol") throw refuse("has a symbol as its key");
    if (key === "__proto__") throw refuse("is a key that could change the object it is read into");
    if (!key.isWellFormed()) throw refuse("is a key with a lone surrogate, which UTF-8 cannot hold");
    const property = Object.getOwnPropertyDescriptor(value, key);
    if (property === undefined || !("value" in property)) throw refuse("is an accessor, which is not data");
    if (!property.enumerable) throw refuse("is not enumerable and would not be stored");
    room -= key.length + 1;
    check(property.value, path + at, around);
  }
}

function nameOf(key: string | symbol): string {
  return typeof key === "string" ? JSON.stringify(key) : String(key);
}

function instanceName(value: object): string {
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? `an instance of ${name}` : "an instance of a class";
}

function adviceFor(value: object): string {
  if (value instanceof Uint8Array) return "use new Uint8Array(value)";
  if (value instanceof Map) return "use Object.fromEntries(value) or an array";
  if (ArrayBuffer.isView(value) || value instanceof Set || Array.isArray(value))
    return "use Array.from(value)";
  return "use a plain object";
}

// All numbers as float64 keeps -0, and leaves the integer formats to bigint: the two can be told apart.
const encoder = new Encoder({ useBigInt64: true, forceIntegerToFloat: true });

/**
 * Encodes the data of the events of one append: JSON text or msgpack. Throws INVALID_EVENT for what cannot be stored and
 * EVENT_TOO_LARGE for an event above `eventBytesMax` or all above `recordBytesMax`.
 *
 * `parsed` is the JSON text that the values were parsed from, if they were: it is taken as it is where that is the same,
 * which spares writing it again. Spaces and repeated keys stay in it; parsed once more it gives the same values.
 */
export function encodeData(values: readonly unknown[], parsed?: string): string | Uint8Array {
  const encoded = encodeDataPieces(values, parsed);
  return isPieces(encoded) ? joined(encoded) : encoded;
}

/**
 * The JSON text of the data of one event, or `parsed`, if that is all there is to it, as it is for nearly every event: data that JSON
 * can hold, short and without escapes that may stand for lone surrogates. Undefined where {@link encodeData} has to decide.
 */
export function shortJson(value: unknown, parsed: string | undefined): string | undefined {
  if (!isJsonData(value)) return undefined;
  const text = parsed ?? JSON.stringify(value);
  return text.length <= shortTextMax && !text.includes("\\u") ? text : undefined;
}

/** UTF-16 units. Three bytes for each fit into a record of the smallest journal that can be set. */
const shortTextMax = 4096;

/** As {@link encodeData}; a long text may come in pieces, which `EntryDraft.data` takes, and need not be put together. */
export function encodeDataPieces(
  values: readonly unknown[],
  parsed?: string,
): string | readonly string[] | Uint8Array {
  let least = 0;
  let isJson = true;
  for (let i = 0; i < values.length; i++) {
    if (!isJsonData(values[i])) {
      validateData(values[i], nameOfData(i, values.length));
      isJson = false;
    }
    least += limits.eventBytesMax - room;
    if (least > limits.recordBytesMax) throw tooLarge("the data of this append", limits.recordBytesMax);
  }
  if (!isJson) return encodeMsgpack(values);
  return parsed !== undefined && isPlainText(parsed) ? parsed : encodeJson(values, least);
}

/** Short enough for one event, and without escapes that may stand for lone surrogates. */
function isPlainText(text: string): boolean {
  return text.length * 3 <= limits.eventBytesMax && !text.includes("\\u");
}

/** Texts up to this length are made at once: half again as fast as longer ones, which outgrow the buffer of JSON.stringify. */
const pieceLength = 6000;

function encodeJson(values: readonly unknown[], least: number): string | readonly string[] {
  // Quotes, colons and commas are not in the bound.
  const perPiece = Math.floor((pieceLength * values.length) / (least * 1.5 + 1));
  if (perPiece < 2 || perPiece >= values.length) {
    const text = JSON.stringify(values);
    checkText(text, values);
    // One UTF-16 unit takes at most three bytes of UTF-8, so this is rarely exceeded and never missed.
    if (text.length * 3 > limits.eventBytesMax) checkSizesOfJson(Buffer.byteLength(text), values);
    return text;
  }
  const pieces: string[] = [];
  for (let from = 0; from < values.length; from += perPiece) {
    const some = values.slice(from, from + perPiece);
    const text = JSON.stringify(some);
    checkText(text, values);
    pieces.push(text);
  }
  if (textLength(pieces) * 3 > limits.eventBytesMax) {
    let bytes = 0;
    for (const piece of pieces) bytes += Buffer.byteLength(piece);
    checkSizesOfJson(bytes, values);
  }
  return pieces;
}

/** JSON.stringify escapes lone surrogates as \ud8xx … \udfxx; a text that spells that out is checked in vain. */
function checkText(text: string, values: readonly unknown[]): void {
  if (!text.includes("\\ud")) return;
  for (let i = 0; i < values.length; i++) validateData(values[i], nameOfData(i, values.length));
}

function checkSizesOfJson(bytes: number, values: readonly unknown[]): void {
  checkSizes(values, bytes, (value) => Buffer.byteLength(JSON.stringify(value)));
}

function encodeMsgpack(values: readonly unknown[]): Uint8Array {
  const bytes = encoder.encode(values);
  if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(mark)) {
    for (let i = 0; i < values.length; i++) refuseMarked(values[i], nameOfData(i, values.length));
  }
  if (bytes.length > limits.eventBytesMax) {
    checkSizes(values, bytes.length, (value) => encoder.encodeSharedRef(value).length);
  }
  return bytes;
}

const mark = "\ufeff";
/** @msgpack/msgpack decodes longer texts in another way. */
const unmarkedBytesMax = 200;

/** Refuses texts that would come back without their first character. */
function refuseMarked(value: unknown, path: string): void {
  if (typeof value === "string") {
    if (!value.startsWith(mark) || Buffer.byteLength(value) <= unmarkedBytesMax) return;
    const why = "begins with U+FEFF, which would be lost beside what JSON cannot hold: leave it out";
    throw new WarpError("INVALID_EVENT", `${path} ${why}`, { path });
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  for (const [key, inner] of Object.entries(value)) {
    refuseMarked(key, `a key of ${path}`);
    refuseMarked(inner, `${path}.${key}`);
  }
}

function checkSizes(values: readonly unknown[], bytes: number, measure: (value: unknown) => number): void {
  if (bytes > limits.recordBytesMax) throw tooLarge("the data of this append", limits.recordBytesMax);
  for (let i = 0; i < values.length; i++) {
    if (measure(values[i]) > limits.eventBytesMax) {
      throw tooLarge(nameOfData(i, values.length), limits.eventBytesMax);
    }
  }
}

function nameOfData(index: number, count: number): string {
  return count === 1 ? "data" : `events[${index}].data`;
}

function tooLarge(name: string, limit: number): WarpError {
  return new WarpError("EVENT_TOO_LARGE", `${name} takes more than ${limit} bytes`, { limit });
}
