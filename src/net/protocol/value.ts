/**
 * Values as they cross the wire: JSON text when JSON holds them exactly, else MessagePack.
 */
import { Decoder, Encoder, encode } from "@msgpack/msgpack";
import {
  encodeData,
  isJsonData,
  isJsonNumber,
  isReadableJson,
  validateReadable,
} from "../../aggregate/json-data.ts";
import { WarpError } from "../../core/errors.ts";
import { KnownShapes } from "../../core/known-shapes.ts";
import { limits } from "../../core/limits.ts";
import { protocolError } from "./protocol-error.ts";
import { skipElement } from "./skip-element.ts";

const decoder = new Decoder({ useBigInt64: true });
/** Numbers as event data has them, so that big integers are told from them. */
const packing = { useBigInt64: true, forceIntegerToFloat: true, ignoreUndefined: true } as const;
/** Of events: it keeps the memory that it has grown to. */
const encoder = new Encoder(packing);
/** Of the events that are appended one by one. */
const shapes = new KnownShapes();

/**
 * The two forms of {@link FrameWriter.value}. Errors: INVALID_EVENT for what cannot be stored, EVENT_TOO_LARGE above the
 * size of an event.
 */
export function encodeValue(value: unknown): string | Uint8Array {
  if (isJsonData(value)) {
    const text = JSON.stringify(value);
    // A lone surrogate is written as \ud8xx to \udfxx; encodeData below looks closer.
    if (text.length * 3 <= limits.eventBytesMax && !text.includes("\\ud")) return text;
  }
  const encoded = encodeData([value]);
  // The list of one value without the list: in JSON its brackets, in MessagePack its one byte.
  return typeof encoded === "string" ? encoded.slice(1, -1) : encoded.subarray(1);
}

/**
 * The value of what is only read: a state, a status, what was stored. It has no limit but that of a frame, and what is undefined in it
 * is left out. Errors: EVENT_TOO_LARGE, INVALID_EVENT for what is no data.
 */
export function encodeReadable(value: unknown): string | Uint8Array {
  const text = isReadableText(value) ? textOf(value) : undefined;
  // A lone surrogate is written as \ud8xx to \udfxx.
  if (text?.includes("\\ud") === true) validateReadable(value, "a value", limits.frameBytesMax);
  const encoded = text ?? packed(value);
  if (encoded.length > limits.frameBytesMax) throw tooLargeToRead();
  return encoded;
}

/** Nearly everything is told by the first look, which costs least. */
function isReadableText(value: unknown): boolean {
  return isJsonData(value) || isReadableJson(value, limits.frameBytesMax);
}

function textOf(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}

function packed(value: unknown): Uint8Array {
  validateReadable(value, "a value", limits.frameBytesMax);
  return encode(value, packing);
}

export function tooLargeToRead(): WarpError {
  const limit = limits.frameBytesMax;
  return new WarpError("EVENT_TOO_LARGE", `one reply or push takes at most ${limit} bytes`, {
    limit: "frameBytesMax",
  });
}

/**
 * The value of a list of data that is stored, made of one after the other: JSON until there is one that JSON cannot hold, MessagePack
 * from then on, in which numbers may take more than four times as much.
 */
export class DataList {
  readonly #values: unknown[] = [];
  #texts: string[] | undefined = [];
  #packed: Uint8Array[] = [];
  #bytes = 0;

  /** About what it takes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False when what is there would have to change its form and take more than `bytesMax` in the other; it stays as it is then. */
  add(data: unknown, bytesMax: number): boolean {
    if (this.#texts !== undefined && isReadableText(data)) {
      const text = textOf(data);
      this.#values.push(data);
      this.#texts.push(text);
      this.#bytes += text.length;
      return true;
    }
    if (this.#texts !== undefined && !this.#change(bytesMax)) return false;
    this.#pack(data);
    return true;
  }

  encoded(): string | Uint8Array {
    if (this.#texts !== undefined) return `[${this.#texts.join(",")}]`;
    return Buffer.concat([arrayHead(this.#packed.length), ...this.#packed]);
  }

  #change(bytesMax: number): boolean {
    const texts = this.#texts;
    const textBytes = this.#bytes;
    this.#texts = undefined;
    this.#bytes = 0;
    for (const value of this.#values) {
      this.#pack(value);
      if (this.#bytes <= bytesMax) continue;
      this.#texts = texts;
      this.#bytes = textBytes;
      this.#packed = [];
      return false;
    }
    this.#values.length = 0;
    return true;
  }

  #pack(data: unknown): void {
    const bytes = isReadableText(data) ? encoder.encode(data) : packed(data);
    this.#packed.push(bytes);
    this.#bytes += bytes.length;
  }
}

/** What stands in front of the elements of an array in MessagePack. */
function arrayHead(length: number): Uint8Array {
  if (length < 16) return Uint8Array.of(0x90 | length);
  if (length < 0x10000) return Uint8Array.of(0xdc, length >>> 8, length & 0xff);
  return Uint8Array.of(0xdd, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff);
}

/** The value of a list of event data, and the table of one. Errors: INVALID_EVENT, EVENT_TOO_LARGE. */
export { encodeData as encodeList } from "../../aggregate/json-data.ts";
export { tableOf } from "../../aggregate/tables.ts";

/** Rows of a query are JSON up to this: with much that is escaped, or many digits, that is longer than MessagePack. */
const rowsJsonBytesMax = 2 * limits.queryBytes;

/** The value of rows of a query. They are no event data, so there is no limit but that of a frame, which is not looked at here. */
export function encodeRows(rows: readonly (readonly unknown[])[]): string | Uint8Array {
  if (rows.every((row) => row.every(isJsonScalar))) {
    const text = JSON.stringify(rows);
    if (Buffer.byteLength(text) <= rowsJsonBytesMax) return text;
  }
  return encode(rows, packing);
}

function isJsonScalar(value: unknown): boolean {
  if (typeof value === "number") return isJsonNumber(value);
  return typeof value === "string" || typeof value === "boolean" || value === null;
}

/** A value back to what it was. Errors: INVALID_ARGUMENT for what is none. */
export function decodeValue(encoded: string | Uint8Array): unknown {
  return decoded(encoded, 0, undefined);
}

/**
 * The value of a list of data; each may be nested as deep as a value, so that there are levels `around` it: the list, and what else stands
 * in between. `type` is that of the one event whose data is in the list, if it is such a list. Errors: as {@link decodeValue}.
 */
export function decodeList(encoded: string | Uint8Array, type?: string, around = 1): unknown {
  return decoded(encoded, around, type);
}

function decoded(encoded: string | Uint8Array, around: number, type: string | undefined): unknown {
  try {
    if (typeof encoded === "string")
      return type === undefined ? JSON.parse(encoded) : shapes.parse(type, encoded);
    const end = skipElement(encoded, 0, encoded.length, around);
    if (end !== encoded.length) throw protocolError("there are bytes behind a value");
    return decoder.decode(encoded);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new WarpError("INVALID_ARGUMENT", `a value cannot be read: ${why}`, {}, thrown);
  }
}

/** Like {@link decodeValue}, for what goes to a program: refuses what could not be stored. */
export function decodeForeignValue(encoded: string | Uint8Array): unknown {
  const value = decodeValue(encoded);
  if (!isJsonData(value)) encodeData([value]);
  return value;
}

const emptyDetails = "{}";
const detailsBytesMax = 64 * 1024;
const messageUnitsMax = 4096;

/** Details of an error, of which parts may not be data. They are left out where they take more than `detailsBytesMax`. */
export function encodeDetails(details: unknown): string | Uint8Array {
  const encoded = detailsOf(details);
  const bytes = typeof encoded === "string" ? Buffer.byteLength(encoded) : encoded.length;
  return bytes > detailsBytesMax ? emptyDetails : encoded;
}

function detailsOf(details: unknown): string | Uint8Array {
  try {
    return encodeValue(details);
  } catch {
    // What an error carries may be anything, a cause for one. What JSON makes of it is better than nothing.
    try {
      return JSON.stringify(details) ?? emptyDetails;
    } catch {
      return emptyDetails;
    }
  }
}

/** The message of an error, which may echo what a peer sent, as far as it is of use to people. */
export function shortMessage({ message }: Error): string {
  if (message.length <= messageUnitsMax) return message;
  // A pair of surrogates that is cut in the middle is left out.
  return `${message.slice(0, messageUnitsMax - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
