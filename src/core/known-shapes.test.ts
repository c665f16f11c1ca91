import { describe, expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import { KnownShapes } from "./known-shapes.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

type Outcome = { readonly value: unknown } | { readonly thrown: string };

function outcomeOf(call: () => unknown): Outcome {
  try {
    return { value: call() };
  } catch (thrown) {
    return { thrown: String(thrown) };
  }
}

/** As toStrictEqual, with the order of keys. */
function expectSame(given: Outcome, wanted: Outcome): void {
  expect(given).toStrictEqual(wanted);
  expect(orderOf(given)).toEqual(orderOf(wanted));
}

function orderOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.entries(value).map(([key, one]) => [key, orderOf(one)]);
}

/** Parses the text, expects what JSON.parse makes of it, and returns whether JSON.parse was asked. */
function isLeftToJson(shapes: KnownShapes, type: string, text: string): boolean {
  const wanted = outcomeOf(() => JSON.parse(text));
  const parse = spyOn(JSON, "parse");
  const given = outcomeOf(() => shapes.parse(type, text));
  const calls = parse.mock.calls.length;
  parse.mockRestore();
  expectSame(given, wanted);
  return calls > 0;
}

/** Parses the text until its shape is known, or would be. */
function learn(shapes: KnownShapes, type: string, text: string, times = 20): void {
  for (let i = 0; i < times; i++)
    expectSame({ value: shapes.parse(type, text) }, { value: JSON.parse(text) });
}

function knowing(text: string): KnownShapes {
  const shapes = new KnownShapes();
  learn(shapes, "E", text);
  return shapes;
}

describe("a text of a known shape", () => {
  const isRead = (value: string) => !isLeftToJson(knowing('[{"a":1,"b":2}]'), "E", `[{"a":${value},"b":2}]`);

  test("is read without JSON.parse when its values are plain", () => {
    const numbers = ["0", "7", "-7", "123456789012345", "0.5", "-0.25", "12.50", "0.1", "3.14159265358979"];
    const texts = [
      '""',
      '"x"',
      '"grün"',
      '"€ 漢字"',
      '"😀"',
      '"/"',
      `"${"x".repeat(39)}"`,
      `"${"x".repeat(200)}"`,
    ];
    for (const value of [...numbers, ...texts, "true", "false", "null"])
      expect([value, isRead(value)]).toEqual([value, true]);
  });

  test("goes to JSON.parse where a value is not plain, or no JSON", () => {
    const numbers = [
      "-0",
      "-0.0",
      "1e3",
      "1E-3",
      "1234567890123456",
      "0.1234567890123456",
      "1e999",
      "12345678901234567890",
    ];
    const wrong = [
      "",
      "-",
      "01",
      "-01",
      "00",
      "1.",
      ".5",
      "+1",
      "1.2.3",
      "1-",
      "0x1",
      "NaN",
      "--1",
      "1 2",
      "tru",
      "nul",
      "falsy",
    ];
    const escaped = ['"\\""', '"\\\\"', '"\\u00fc"', `"${"x".repeat(60)}\\n"`];
    const control = ['"\n"', '"\0"', `"${"x".repeat(60)}\u001f"`, '"', `"${"x".repeat(60)}`];
    const nested = ["{}", "[]", '{"c":1}', " 1", "1 "];
    for (const value of [...numbers, ...wrong, ...escaped, ...control, ...nested])
      expect([value, isRead(value)]).toEqual([value, false]);
  });

  test("goes to JSON.parse when it differs, and the shape stays known", () => {
    const shapes = knowing('[{"a":1,"b":2}]');
    const others = [
      '[{"b":1,"a":2}]',
      '[{"a":1}]',
      '[{"a":1,"b":2,"c":3}]',
      '[{"a":1,"b":2,"a":3}]',
      '[{"a":1, "b":2}]',
      ' [{"a":1,"b":2}]',
      '[{"a":1,"b":2}] ',
      '[{"a":1,"b":2}],',
      '[{"a":1,"b":2},{"a":1,"b":2}]',
      '[{"\\u0061":1,"b":2}]',
      '{"a":1,"b":2}',
      "[{}]",
      "[]",
      "",
    ];
    for (const other of others) {
      expect(isLeftToJson(shapes, "E", other)).toBe(true);
      learn(shapes, "E", '[{"a":1,"b":2}]');
      expect(isLeftToJson(shapes, "E", '[{"a":3,"b":4}]')).toBe(false);
    }
  });

  test("goes to JSON.parse wherever it is cut", () => {
    const text = '[{"a":"x","b":-12.5,"c":true,"d":null}]';
    for (let end = 0; end < text.length; end++)
      expect(isLeftToJson(knowing(text), "E", text.slice(0, end))).toBe(true);
  });

  test("goes to JSON.parse when it is long: its strings would keep it in memory", () => {
    const shapes = knowing('[{"a":"x"}]');
    const textOf = (length: number) => `[{"a":"${"x".repeat(length - 10)}"}]`;
    expect(isLeftToJson(shapes, "E", textOf(256))).toBe(false);
    expect(isLeftToJson(shapes, "E", textOf(257))).toBe(true);
  });
});

describe("a shape", () => {
  const isLearned = (text: string) => !isLeftToJson(knowing(text), "E", text);
  const withKeys = (count: number) =>
    JSON.stringify([
      Object.fromEntries(Array.from({ length: count }, (_, i) => [String.fromCharCode(0xc0 + i), i % 10])),
    ]);

  test("is learned whatever its keys are called, if they stay where they are set", () => {
    for (const key of [
      "a",
      "",
      " ",
      "ü",
      "漢",
      '"',
      "\\",
      "\n",
      "\ud800",
      "a.b",
      "-1",
      "1.5",
      "length",
      "_proto_",
    ])
      expect([key, isLearned(JSON.stringify([{ [key]: 1, b: 2 }]))]).toEqual([key, true]);
    for (const key of ["0", "1", "42", "4294967294", "__proto__", "constructor", "toString"])
      expect([key, isLearned(`[{"b":1,"${key}":2}]`)]).toEqual([key, false]);
  });

  test("is that of one flat object in a list, with some keys but not many", () => {
    for (const text of [
      "[{}]",
      "[]",
      "[1]",
      "[null]",
      "[[]]",
      '{"a":1}',
      '[{"a":[]}]',
      '[{"a":{}}]',
      '[{"a":1},{"a":1}]',
    ])
      expect([text, isLearned(text)]).toEqual([text, false]);
    expect(isLearned(withKeys(32))).toBe(true);
    expect(isLearned(withKeys(33))).toBe(false);
  });

  test("makes what JSON.parse makes: own, plain, of their own", () => {
    const shapes = knowing('[{"a":1}]');
    const one = shapes.parse("E", '[{"a":1}]') as [object];
    expect(Object.getPrototypeOf(one[0])).toBe(Object.prototype);
    expect(Object.getOwnPropertyDescriptors(one[0])).toEqual(Object.getOwnPropertyDescriptors({ a: 1 }));
    expect(shapes.parse("E", '[{"a":1}]')).not.toBe(one);
  });

  test("belongs to its type", () => {
    const shapes = knowing('[{"a":1}]');
    learn(shapes, "F", '[{"b":1}]');
    expect(isLeftToJson(shapes, "E", '[{"a":2}]')).toBe(false);
    expect(isLeftToJson(shapes, "F", '[{"b":2}]')).toBe(false);
    expect(isLeftToJson(shapes, "F", '[{"a":2}]')).toBe(true);
  });

  test("stays known while one text in ten has another", () => {
    const shapes = knowing('[{"a":1}]');
    let left = 0;
    for (let i = 0; i < 1000; i++)
      if (isLeftToJson(shapes, "E", i % 10 === 0 ? '[{"a":1,"b":2}]' : '[{"a":2}]')) left++;
    expect(left).toBe(100);
  });

  test("is given up where shapes take turns, and tried ever more rarely", () => {
    const shapes = new KnownShapes();
    let read = 0;
    for (let i = 0; i < 20_000; i++)
      if (!isLeftToJson(shapes, "E", i % 2 === 0 ? '[{"a":1}]' : '[{"b":2}]')) read++;
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(200);
    // Once it is the same again, it is learned again.
    learn(shapes, "E", '[{"a":1}]', 1100);
    expect(isLeftToJson(shapes, "E", '[{"a":2}]')).toBe(false);
  });

  test("of some types is remembered, whatever clients send", () => {
    const shapes = knowing('[{"a":1}]');
    let most = 0;
    for (let i = 0; i < 4000; i++) {
      expect(isLeftToJson(shapes, `type ${i}`, '[{"a":1}]')).toBe(true);
      most = Math.max(most, shapes.size);
    }
    expect(most).toBe(256);
    expect(isLeftToJson(shapes, "E", '[{"a":2}]')).toBe(false);
  });

  test("of a type that came late is learned once those before it are forgotten", () => {
    const shapes = new KnownShapes();
    for (let i = 0; i < 256; i++) shapes.parse(`type ${i}`, '[{"a":1}]');
    learn(shapes, "E", '[{"a":1}]', 4000);
    expect(isLeftToJson(shapes, "E", '[{"a":2}]')).toBe(true);
    learn(shapes, "E", '[{"a":1}]', 200);
    expect(isLeftToJson(shapes, "E", '[{"a":2}]')).toBe(false);
    expect(shapes.size).toBe(1);
  });
});

describe("any text", () => {
  const key = fc.oneof(
    { weight: 20, arbitrary: fc.string({ maxLength: 8 }) },
    { weight: 5, arbitrary: fc.constantFrom("a", "b", "c") },
    { weight: 1, arbitrary: fc.constantFrom("0", "7", "__proto__", "constructor") },
  );
  const number = fc.oneof(
    fc.integer(),
    fc.tuple(fc.maxSafeInteger(), fc.nat(22)).map(([whole, power]) => whole / 10 ** power),
    fc.tuple(fc.nat(999_999), fc.nat(9)).map(([whole, power]) => whole / 10 ** power),
  );
  const easy = fc.oneof(fc.string({ unit: fc.constantFrom(..."abz09 ü€"), maxLength: 60 }), number);
  const odd = fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const value = fc.oneof(
    { weight: 24, arbitrary: easy },
    { weight: 4, arbitrary: fc.constantFrom(true, false, null) },
    { weight: 1, arbitrary: odd },
  );
  const shape = fc.uniqueArray(key, { maxLength: 6 });
  const unit = fc.constantFrom(...'{}[]",:\\.-+eE0159 tfn\n\u0001aü😀');
  const change = fc.record({ at: fc.nat(), gone: fc.nat(2), come: fc.array(unit, { maxLength: 2 }) });
  const sample = fc
    .tuple(shape, fc.array(fc.array(value, { minLength: 6, maxLength: 6 }), { minLength: 3, maxLength: 3 }))
    .map(([keys, rows]) => rows.map((row) => textOf(keys, row)));

  function textOf(keys: readonly string[], row: readonly unknown[]): string {
    return `[{${keys.map((one, i) => `${JSON.stringify(one)}:${JSON.stringify(row[i])}`).join(",")}}]`;
  }

  function changed(
    text: string,
    { at, gone, come }: { at: number; gone: number; come: readonly string[] },
  ): string {
    const from = at % (text.length + 1);
    return text.slice(0, from) + come.join("") + text.slice(from + gone);
  }

  test("gives what JSON.parse gives, of an instance that has seen others", () => {
    let shapes = new KnownShapes();
    let read = 0;
    const check = (type: string, text: string) => {
      if (!isLeftToJson(shapes, type, text)) read++;
    };
    let types = 0;
    const property = fc.property(
      sample,
      fc.array(change, { minLength: 8, maxLength: 8 }),
      (texts, changes) => {
        const type = `type ${types++}`;
        if (types % 250 === 0) shapes = new KnownShapes();
        const [first = ""] = texts;
        learn(shapes, type, first, 18);
        for (const text of texts) check(type, text);
        for (const text of texts)
          for (const one of changes) {
            check(type, changed(text, one));
            for (let i = 0; i < 4; i++) shapes.parse(type, first);
          }
      },
    );
    fc.assert(property, { seed, numRuns: 1000 });
    expect(read).toBeGreaterThan(2000);
  });
});
