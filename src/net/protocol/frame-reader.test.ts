import { expect, test } from "bun:test";
import { decode, Encoder, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { WarpError } from "../../core/errors.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { GroupedAppends } from "./grouped/appends.ts";
import { readOutcomes } from "./grouped/outcomes.ts";
import { readOutcome, readWelcome } from "./replies.ts";
import {
  eventsOf,
  inputOf,
  readAppend,
  readEntities,
  readEvents,
  readHello,
  readSend,
  readState,
} from "./requests.ts";
import { skipElement } from "./skip-element.ts";
import { decodeValue, encodeValue } from "./value.ts";

function begin(bytes: Uint8Array): FrameReader {
  const reader = new FrameReader();
  const buffer = Buffer.from(bytes);
  reader.begin(buffer, 0, buffer.length);
  return reader;
}

/** Everything that reads a frame, from its first element on. */
const readers: ((reader: FrameReader) => unknown)[] = [
  readHello,
  (reader) => eventsOf(readAppend(reader)),
  (reader) => inputOf(readSend(reader)),
  readState,
  readEvents,
  readEntities,
  readOutcome,
  readWelcome,
  (reader) => {
    const appends = new GroupedAppends(reader);
    return Array.from({ length: appends.count }, (_, i) => eventsOf(appends.read(i)));
  },
  (reader) => readOutcomes(reader, () => {}),
];

/** Reads, and lets pass only the errors that a peer may cause. */
function readQuietly(read: (reader: FrameReader) => unknown, bytes: Uint8Array): void {
  try {
    read(begin(bytes));
  } catch (thrown) {
    if (!(thrown instanceof WarpError)) throw thrown;
    expect(["PROTOCOL_ERROR", "INVALID_ARGUMENT", "INVALID_EVENT", "EVENT_TOO_LARGE"]).toContain(thrown.code);
  }
}

test("any bytes are read or refused, by every reader", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      for (const read of readers) readQuietly(read, bytes);
    }),
    { numRuns: 2000 },
  );
});

test("any MessagePack array is read or refused, by every reader", () => {
  const element = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.nat(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 20 }),
    fc.json().map((text) => Buffer.from(text)),
    fc.array(fc.oneof(fc.string(), fc.nat(), fc.constant(null)), { maxLength: 5 }),
    fc.dictionary(fc.string(), fc.nat(), { maxKeys: 3 }),
  );
  fc.assert(
    fc.property(fc.array(element, { maxLength: 10 }), fc.nat({ max: 400 }), (elements, cut) => {
      const bytes = encode(elements);
      for (const read of readers) {
        readQuietly(read, bytes);
        readQuietly(read, bytes.subarray(0, Math.max(1, cut % bytes.length)));
      }
    }),
    { numRuns: 1000 },
  );
});

test("numbers come back whatever format a peer writes them in", () => {
  const compact = new Encoder({ useBigInt64: true });
  const double = new Encoder({ forceIntegerToFloat: true });
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.double({ noNaN: true }), (whole, any) => {
      const encodings = [compact.encode([whole]), double.encode([whole]), compact.encode([BigInt(whole)])];
      for (const encoding of encodings) expect(begin(encoding).num()).toBe(whole);
      const writer = new FrameWriter(8);
      for (const number of [
        whole,
        any,
        Math.abs(whole),
        0,
        -0,
        255,
        256,
        65_535,
        65_536,
        2 ** 32 - 1,
        2 ** 32,
      ]) {
        writer.at = 0;
        writer.array(1);
        writer.num(number);
        expect(begin(writer.buffer.subarray(0, writer.at)).num()).toBe(number);
      }
    }),
  );
});

test("strings and values come back, of every length around the changes of format", () => {
  const writer = new FrameWriter(8);
  for (const length of [0, 1, 10, 11, 31, 32, 85, 86, 255, 256, 21_845, 65_535, 65_536, 100_000]) {
    for (const unit of ["a", "ä", "€", "😀", "\ufffd"]) {
      const text = unit.repeat(length);
      writer.at = 0;
      writer.array(3);
      writer.str(text);
      writer.value(encodeValue(text));
      writer.value(Uint8Array.from(encode(text)));
      const reader = begin(writer.buffer.subarray(0, writer.at));
      expect(reader.str()).toBe(text);
      expect(decodeValue(reader.value())).toBe(text);
      expect(decodeValue(reader.value())).toBe(text);
      reader.finish();
      expect(decode(writer.buffer.subarray(0, writer.at))).toBeInstanceOf(Array);
    }
  }
});

test("strings that are no UTF-8 are refused, also where they are decoded once", () => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
    const frame = Uint8Array.from([0x91, 0xa0 | bytes.length, ...bytes]);
    expect(() => begin(frame).str()).toThrow("not UTF-8");
    expect(() => begin(frame).knownStr()).toThrow("not UTF-8");
  }
});

test("foreign MessagePack is walked before it is decoded", () => {
  const deep = Uint8Array.from([...Array.from({ length: 33 }, () => 0x91), 0xc0]);
  const huge = Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff]);
  const nested = Uint8Array.from([0xdc, 0xff, 0xff, ...Array.from({ length: 200 }, () => 0xdd)]);
  const proto = encode({ a: [{ ["__proto__"]: 1 }] });
  const longProto = Uint8Array.from([0x81, 0xd9, 9, ...Buffer.from("__proto__"), 1]);
  const notProto = encode({ x__proto__: 1 });
  for (const bytes of [
    deep,
    huge,
    nested,
    proto,
    longProto,
    Uint8Array.of(0xc1),
    Uint8Array.of(0x81, 1, 1),
  ]) {
    expect(() => decodeValue(bytes)).toThrow("a value cannot be read");
  }
  expect(decodeValue(notProto)).toEqual({ x__proto__: 1 });
});

test("walking ends where decoding ends", () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: false, withDate: true, maxDepth: 4 }), (value) => {
      let bytes: Uint8Array;
      try {
        bytes = encode(value);
        decode(bytes);
      } catch {
        return;
      }
      expect(skipElement(bytes, 0, bytes.length)).toBe(bytes.length);
      if (bytes.length > 1) expect(() => skipElement(bytes, 0, bytes.length - 1)).toThrow();
    }),
  );
});

test("a frame that is too short, too long or of other elements is refused", () => {
  const short = encode([1, "banking"]);
  expect(readHello(begin(short))).toEqual({
    version: 1,
    context: "banking",
    token: undefined,
    client: undefined,
  });
  expect(() => readHello(begin(encode([])))).toThrow("too few elements");
  expect(() => readHello(begin(encode(["1"])))).toThrow("a number was expected");
  expect(() => readHello(begin(encode([-1])))).toThrow("a whole number");
  expect(() => readHello(begin(Buffer.concat([short, Buffer.of(0)])))).toThrow("bytes behind");
  expect(readHello(begin(encode([1, null, null, null, { a: [1, 2] }, "later"]))).version).toBe(1);
  expect(() => readHello(begin(encode({ a: 1 })))).toThrow("an array was expected");
});
