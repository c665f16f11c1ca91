import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf, entryBytesBound, readEntry, writeEntry } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { encodeData, isJsonData, validateData } from "./json-data.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

/** What a reader gets for this data, through a real entry. */
function stored(values: readonly unknown[]): unknown[] {
  const data = encodeData(values);
  const types = [{ name: "E", utf8: Buffer.from("E"), version: 1 }];
  const isMsgpack = typeof data !== "string";
  const draft = { count: values.length, types, typeIndexes: undefined, occurred: undefined, data, isMsgpack };
  const bytes = bytesOf(new ArrayBuffer(entryBytesBound(draft)));
  writeEntry(bytes, 0, draft, 1, 1);
  return readEntry(bytes, 0, "e", 1).map((event) => event.data);
}

function refusal(call: () => unknown): WarpError {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof WarpError) return thrown;
    throw thrown;
  }
  throw new Error("it was accepted");
}

describe("a text that the data was parsed from", () => {
  const kept = (text: string) => encodeData(JSON.parse(text), text) === text;

  test("of many events at once is the text of one list, whatever their sizes", () => {
    for (const bytes of [1, 20, 100, 3000, 7000]) {
      for (const count of [2, 31, 500]) {
        const values = Array.from({ length: count }, (_, i) => ({
          i,
          text: `${i}é"`.repeat(1 + ((i * bytes) % (bytes + 1)) / 4),
        }));
        expect(encodeData(values)).toBe(JSON.stringify(values));
      }
    }
  });

  test("is taken as it is, whatever its spaces, numbers and repeated keys", () => {
    for (const text of ['[{"a":1}]', '[ {"a" : 1.50e1} ]', '["\\n"]', '[{"a":1,"a":2}]', '["grün"]'])
      expect(kept(text)).toBe(true);
  });

  test("is written again where it may hide what cannot be stored, or is not JSON data", () => {
    expect(kept('["\\u00fc"]')).toBe(false);
    expect(kept("[-0]")).toBe(false);
    expect(kept("[1e999]")).toBe(false);
    for (const text of [
      '["\\ud800"]',
      '["\\uD800"]',
      '[{"__proto__":1}]',
      '[{"\\u005f_proto__":1}]',
      `[${"[".repeat(40)}${"]".repeat(40)}]`,
    ]) {
      expect(refusal(() => encodeData(JSON.parse(text), text)).code).toBe("INVALID_EVENT");
    }
  });

  test("gives the same data as the data itself", () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue(), { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        (values, isSpaced) => {
          const text = isSpaced ? JSON.stringify(values, undefined, 2) : JSON.stringify(values);
          const parsed = JSON.parse(text) as unknown[];
          let expected: unknown;
          try {
            expected = encodeData(parsed);
          } catch (thrown) {
            expect(refusal(() => encodeData(parsed, text)).code).toBe((thrown as WarpError).code);
            return;
          }
          const given = encodeData(parsed, text);
          expect(typeof given).toBe(typeof expected as "string");
          if (typeof given === "string") expect(JSON.parse(given)).toStrictEqual(parsed);
          else expect(given).toEqual(expected as Uint8Array);
        },
      ),
      { seed },
    );
  });
});

describe("data that JSON holds", () => {
  test.each([[{}], [[]], [null], ["text"], [0], [1e300], [{ a: [1, { b: "ü😀" }], c: true }], ["C:\\udata"]])(
    "%p is stored as text and comes back",
    (value) => {
      expect(isJsonData(value)).toBe(true);
      expect(typeof encodeData([value])).toBe("string");
      expect(stored([value])).toStrictEqual([value]);
    },
  );

  test("any JSON value comes back deeply equal", () => {
    const values = fc.array(fc.jsonValue({ maxDepth: 6 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(values, (generated) => {
        const plain = JSON.parse(JSON.stringify(generated).replaceAll("__proto__", "proto"));
        expect(stored(plain)).toStrictEqual(plain);
      }),
      { seed, numRuns: 500 },
    );
  });
});

describe("data that msgpack holds", () => {
  test.each([
    [-0],
    [Number.NaN],
    [Number.NEGATIVE_INFINITY],
    [{ n: 2 ** 53, m: -(2 ** 40), half: 0.5, zero: -0 }],
    [1n],
    [-(2n ** 63n)],
    [2n ** 63n - 1n],
    [{ big: 5n, small: 5 }],
    [new Uint8Array([1, 2, 3])],
    [new Date(0)],
    [new Date(-1)],
    [new Date(1.7e12 + 123)],
    [new Date(8.64e15)],
    [new Date(-8.64e15)],
  ])("%p comes back exactly", (value) => {
    expect(isJsonData(value)).toBe(false);
    expect(encodeData([value])).toBeInstanceOf(Uint8Array);
    const [back] = stored([value]);
    expect(back).toStrictEqual(value);
    expect(Object.is(back, value) || typeof value === "object").toBe(true);
  });

  test("bytes come back as a copy and not as a view of the memory that was read", () => {
    const data = encodeData([new Uint8Array([7])]);
    const types = [{ name: "E", utf8: Buffer.from("E"), version: 1 }];
    const draft = { count: 1, types, typeIndexes: undefined, occurred: undefined, data, isMsgpack: true };
    const bytes = bytesOf(new SharedArrayBuffer(entryBytesBound(draft)));
    writeEntry(bytes, 0, draft, 1, 1);
    const [event] = readEntry(bytes, 0, "e", 1);
    bytes.buffer.fill(0);
    expect(event?.data).toStrictEqual(new Uint8Array([7]));
  });

  test("any date and any bigint of 64 bits comes back exactly", () => {
    const values = fc.tuple(fc.date({ noInvalidDate: true }), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n));
    fc.assert(
      fc.property(values, (value) => expect(stored([value])).toStrictEqual([value])),
      { seed, numRuns: 500 },
    );
  });
});

test("whatever is given comes back deeply equal or is refused with INVALID_EVENT", () => {
  let accepted = 0;
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withSparseArray: true,
    withNullPrototype: true,
    withUnicodeString: true,
    withBoxedValues: true,
  });
  const text = fc.string({ unit: "binary" });
  const rich = fc.oneof(
    anything,
    fc.object({ withDate: true, withBigInt: true, withTypedArray: true, maxDepth: 3 }),
    fc.dictionary(text, fc.oneof(text, fc.double(), fc.uint8Array(), fc.date(), fc.bigInt()), {
      noNullPrototype: true,
    }),
  );
  fc.assert(
    fc.property(fc.array(rich, { minLength: 1, maxLength: 2 }), (values) => {
      let back: unknown[];
      try {
        back = stored(values);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(WarpError);
        expect((thrown as WarpError).code).toBe("INVALID_EVENT");
        return;
      }
      accepted++;
      expect(back).toStrictEqual(values);
      expect(sameShape(back, values)).toBe(true);
    }),
    { seed, numRuns: 3000 },
  );
  expect(accepted).toBeGreaterThan(300);
});

/** -0 and prototypes, compared without the matcher. */
function sameShape(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return Object.is(a, b);
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date || b instanceof Date) return Number(a) === Number(b);
  const keys = Reflect.ownKeys(a);
  return (
    keys.length === Reflect.ownKeys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameShape(Reflect.get(a, key), Reflect.get(b, key)))
  );
}

class Money {
  cents = 1;
}

describe("what is refused, and the path that is named", () => {
  const cycle: Record<string, unknown> = { a: 1 };
  cycle.self = { back: [cycle] };
  const deep = JSON.parse(`${"[".repeat(33)}${"]".repeat(33)}`);
  const sparse = [1, 2, 3];
  delete sparse[1];
  const named = Object.assign([1n], { extra: 1 });
  const cases: [unknown, string][] = [
    [undefined, "data is undefined: leave it out or use null"],
    [{ items: [{}, { price: undefined }] }, "data.items[1].price is undefined: leave it out or use null"],
    [{ "a b": () => 1 }, 'data["a b"] is a function'],
    [{ toJSON: () => 1 }, "data.toJSON is a function"],
    [{ s: Symbol("s") }, "data.s is a symbol"],
    [{ [Symbol("k")]: 1 }, "data[Symbol(k)] has a symbol as its key"],
    [Object.defineProperty({}, "hidden", { value: 1 }), "data.hidden is not enumerable"],
    [Object.defineProperty({ n: 1n }, "x", { get: () => 1, enumerable: true }), "data.x is an accessor"],
    [{ price: new Money() }, "data.price is an instance of Money: use a plain object"],
    [new Map(), "data is an instance of Map: use Object.fromEntries(value)"],
    [new Set(), "data is an instance of Set: use Array.from(value)"],
    [Buffer.from("x"), "data is an instance of Buffer: use new Uint8Array(value)"],
    [new Float64Array(1), "data is an instance of Float64Array"],
    [Object(1), "data is an instance of Number"],
    [/x/, "data is an instance of RegExp"],
    [Object.create(null), "data has no prototype"],
    [sparse, "data is an array with holes"],
    [new Array(2 ** 32 - 1), "data is an array with holes"],
    [named, "data is an array with named properties"],
    [cycle, "data.self.back[0] contains itself"],
    [deep, "is nested deeper than 32"],
    [JSON.parse('{"a":{"__proto__":1}}'), "data.a.__proto__ is a key"],
    [{ x: "\ud800" }, "data.x has a lone surrogate"],
    [{ "\udfff": 1 }, "is a key with a lone surrogate"],
    [2n ** 63n, "data is a bigint of more than 64 bits"],
    [new Date(Number.NaN), "data is an invalid Date"],
  ];
  test.each(cases.map(([value, message]) => [message, value] as const))("%s", (message, value) => {
    const error = refusal(() => encodeData([value]));
    expect(error.code).toBe("INVALID_EVENT");
    expect(error.message).toContain(message);
    expect(refusal(() => validateData(value)).message).toBe(error.message);
  });

  test("a long text that would lose its first character is refused, and kept where it loses nothing", () => {
    const marked = `\ufeff${"x".repeat(300)}`;
    for (const [value, message] of [
      [{ at: new Date(0), x: [marked] }, "data.x.0 begins with U+FEFF"],
      [{ n: 1n, [marked]: 1 }, "a key of data begins with U+FEFF"],
    ] as const) {
      const error = refusal(() => encodeData([value]));
      expect([error.code, error.message]).toEqual(["INVALID_EVENT", expect.stringContaining(message)]);
    }
    const kept = [
      { x: marked, [marked]: 1 },
      { at: new Date(0), x: `\ufeff${"x".repeat(190)}`, y: `x${marked}` },
    ];
    for (const value of kept) expect(stored([value])).toEqual([value]);
  });

  test("the event of a batch is named", () => {
    expect(refusal(() => encodeData([1, { a: undefined }])).message).toStartWith(
      "events[1].data.a is undefined",
    );
  });

  test("a depth of 32 is accepted, in both encodings", () => {
    const value = JSON.parse(`${"[".repeat(32)}${"]".repeat(32)}`);
    expect(stored([value])).toStrictEqual([value]);
    expect(stored([value, 1n])).toStrictEqual([value, 1n]);
  });

  test("toJSON of a prototype is not called", () => {
    class Trap {
      toJSON(): never {
        throw new Error("called");
      }
    }
    expect(refusal(() => encodeData([{ trap: new Trap() }])).code).toBe("INVALID_EVENT");
  });
});

describe("size", () => {
  test("an event of exactly the limit is accepted and a byte more is not", () => {
    const fits = "x".repeat(limits.eventBytesMax - 2);
    expect(stored([fits])).toStrictEqual([fits]);
    expect(refusal(() => encodeData([`${fits}x`])).code).toBe("EVENT_TOO_LARGE");
    expect(refusal(() => encodeData([`${fits.slice(1)}ü`])).code).toBe("EVENT_TOO_LARGE");
  });

  test("each event of a batch has the limit for itself, in both encodings", () => {
    const half = "x".repeat(limits.eventBytesMax / 2);
    expect(stored([half, half, half])).toStrictEqual([half, half, half]);
    expect(stored([half, half, -0])).toStrictEqual([half, half, -0]);
    const long = "ü".repeat(limits.eventBytesMax * 0.6);
    expect(refusal(() => encodeData([half, long])).message).toStartWith("events[1].data takes more than");
    expect(refusal(() => encodeData([half, long, -0])).message).toStartWith("events[1].data takes more than");
  });

  test("a batch is limited by what a record holds", () => {
    const most = "x".repeat(limits.eventBytesMax - 2);
    expect(refusal(() => encodeData(new Array(9).fill(most))).code).toBe("EVENT_TOO_LARGE");
  });

  test("a small graph that stands for an enormous tree is refused quickly", () => {
    let graph: unknown = ["leaf"];
    for (let i = 0; i < 28; i++) graph = [graph, graph];
    expect(refusal(() => encodeData([graph])).code).toBe("EVENT_TOO_LARGE");
    const self: Record<string, unknown> = {};
    self.a = self;
    self.b = self;
    expect(refusal(() => encodeData([self])).code).toBe("INVALID_EVENT");
  });
});
