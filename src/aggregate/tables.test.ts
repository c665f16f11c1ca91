import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../core/limits.ts";
import { type Column, Table, TableBytes } from "../core/table.ts";
import { isJsonData } from "./json-data.ts";
import { readForeignTable, tableOf, tableRowsMin } from "./tables.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

function bytesOf(values: readonly unknown[]): TableBytes | undefined {
  return tableOf(values)?.toBytes();
}

/** What a reader gets for this data; undefined when it is no table. */
function stored(values: readonly unknown[]): unknown {
  const bytes = bytesOf(values);
  return bytes && readForeignTable(bytes);
}

function many(row: (index: number) => unknown): unknown[] {
  return Array.from({ length: 20 }, (_, i) => row(i));
}

const anything = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(-0, Number.NaN, 2 ** 53, 2 ** 31, -(2 ** 31), Number.POSITIVE_INFINITY, undefined),
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.constantFrom("\ud83d", "\ude00", "", "😀"),
  fc.boolean(),
  fc.constant(null),
  fc.jsonValue({ maxDepth: 3 }),
);

/** What the values of a key may be like. Most columns are of one type, as in programs. */
const columns: readonly fc.Arbitrary<unknown>[] = [
  fc.integer(),
  fc.integer({ min: 1.7e12, max: 1.8e12 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0),
  fc.string({ maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.option(fc.integer()),
  fc.jsonValue({ maxDepth: 3 }),
  anything,
];

describe("data as a table", () => {
  test("comes back deeply equal, -0 included, and whatever JSON does not hold is no table", () => {
    const lists = fc
      .uniqueArray(fc.string({ maxLength: 6 }), { minLength: 1, maxLength: 6 })
      .chain((keys) => fc.tuple(fc.constant(keys), fc.tuple(...keys.map(() => fc.constantFrom(...columns)))))
      .chain(([keys, values]) =>
        fc
          .array(fc.tuple(...values), { minLength: 1, maxLength: 40 })
          .map((rows) => rows.map((row) => Object.fromEntries(keys.map((key, i) => [key, row[i]])))),
      );
    let tables = 0;
    fc.assert(
      fc.property(lists, (rows) => {
        const back = stored(rows);
        if (back === undefined) return;
        tables++;
        expect(back).toStrictEqual(rows);
        for (const row of rows) expect(isJsonData(row)).toBe(true);
      }),
      { seed, numRuns: 1500 },
    );
    expect(tables).toBeGreaterThan(50);
  });

  test("is taken where all rows have the same keys in the same order", () => {
    const plain = many((i) => ({
      i,
      at: 1.7e12 + i,
      text: `text ${i}`,
      isOdd: i % 2 === 1,
      deep: { i: [i] },
    }));
    expect(stored(plain)).toStrictEqual(plain);
    for (const last of [{ i: 1 }, { at: 1, i: 1 }, { i: 1, at: 1, more: 1 }, 7, null, [1], new Date(1)])
      expect(tableOf([...many((i) => ({ i, at: i })), last])).toBeUndefined();
  });

  test("is not taken for few rows, none of an object, or rows without keys", () => {
    expect(tableOf(many((i) => ({ i })).slice(0, tableRowsMin))).toBeDefined();
    expect(tableOf(many((i) => ({ i })).slice(1, tableRowsMin))).toBeUndefined();
    expect(tableOf([])).toBeUndefined();
    expect(tableOf(many((i) => i))).toBeUndefined();
    expect(tableOf(many(() => ({})))).toBeUndefined();
    const wide = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, i]));
    expect(tableOf(many(() => wide))).toBeUndefined();
  });

  test("is left to who says what is wrong with it", () => {
    class Money {
      cents = 1;
    }
    const symbol = { cents: 1, [Symbol("hidden")]: 1 };
    const hidden = Object.defineProperty({ cents: 1 }, "hidden", { value: 1, enumerable: false });
    const bad = [
      new Money(),
      symbol,
      hidden,
      Object.create({ cents: 1 }),
      { cents: undefined },
      { cents: -0 },
    ];
    for (const row of [
      ...bad,
      { cents: Number.NaN },
      { cents: 1n },
      { cents: new Date(0) },
      { cents: () => 1 },
    ])
      expect(tableOf([...many((i) => ({ cents: i })), row])).toBeUndefined();
    expect(tableOf(many(() => JSON.parse('{"__proto__":1}')))).toBeUndefined();
    expect(tableOf(many(() => ({ text: "\ud800" })))).toBeUndefined();
    expect(tableOf(many(() => ({ "\ud800": 1 })))).toBeUndefined();
    // One ends with what the next begins with: together they would be a character.
    expect(tableOf(many((i) => ({ text: i % 2 === 0 ? "\ud83d" : "\ude00" })))).toBeUndefined();
    expect(tableOf(many(() => ({ list: ["\udfff"] })))).toBeUndefined();
    let deep: unknown = 1;
    for (let i = 0; i < limits.dataDepthMax; i++) deep = [deep];
    expect(tableOf(many(() => ({ deep })))).toBeUndefined();
  });

  test("is left to who measures it when an event or all together may be too large", () => {
    const large = "x".repeat(limits.eventBytesMax / 6);
    expect(tableOf(many(() => ({ large })))).toBeUndefined();
    const half = "x".repeat(limits.recordBytesMax / 6 / 20);
    expect(tableOf(many(() => ({ half })))).toBeUndefined();
    const long = many(() => ({ long: "x".repeat(0x10000), short: "y" }));
    expect(stored(long.slice(0, tableRowsMin))).toStrictEqual(long.slice(0, tableRowsMin));
  });

  test("keeps whole numbers that are far apart, and fractions", () => {
    const numbers = [
      0,
      -1,
      2 ** 31,
      -(2 ** 31),
      Number.MAX_SAFE_INTEGER,
      -Number.MAX_SAFE_INTEGER,
      1.5,
      1e300,
      5e-324,
    ];
    for (const from of numbers) {
      const rows = [...numbers, ...numbers].map((n, i) => ({ n: i === 0 ? from : n, near: from, i }));
      expect(stored(rows)).toStrictEqual(rows);
    }
  });
});

describe("a table that somebody else made", () => {
  const json = (text: string): Column => ({ kind: "json", pieces: [text] });
  const made = (keys: readonly string[], ...columns: Column[]) => new Table(2, keys, columns).toBytes();

  test("is kept as it is when it is what would be made of its rows", () => {
    const bytes = bytesOf(many((i) => ({ i, text: `ü${i}`, half: i / 2, deep: [i] })));
    expect(bytes && readForeignTable(bytes)).toBeArrayOfSize(20);
    expect(bytes?.isPlain).toBe(true);
    const few = made(["a"], json("[1, 2]"));
    expect(readForeignTable(few)).toEqual([{ a: 1 }, { a: 2 }]);
    expect(few.isPlain).toBe(true);
  });

  test("is written again where it may hide what cannot be stored", () => {
    const suspect = [
      made(["a"], json('["\\ud800",1]')),
      made(["a"], json('[{"__proto__":1},1]')),
      made(["a"], json("[-0,1]")),
      made(["a"], json("[1e999,1]")),
      made(["a\ud800"], json("[1,1]")),
      made(["a"], { kind: "float", values: Float64Array.of(Number.NaN, 1) }),
      made(["a"], { kind: "whole", base: Number.NEGATIVE_INFINITY, values: new Float64Array(2) }),
    ];
    for (const table of suspect) {
      expect(readForeignTable(table)).toBeArrayOfSize(2);
      expect(table.isPlain).toBe(false);
    }
    const long = "k".repeat(limits.eventBytesMax / 6);
    const named = made([long], json("[1,1]"));
    readForeignTable(named);
    expect(named.isPlain).toBe(false);
  });

  test("is refused when it is none", () => {
    const refused = [
      made(["__proto__"], json("[1,1]")),
      made(["a", "a"], json("[1,1]"), json("[1,1]")),
      made(["a"], json("[1]")),
      made(["a"], json("{}")),
      made(["a"], json("[1,")),
      made([]),
      new TableBytes(new Uint8Array()),
    ];
    for (const table of refused) {
      expect(() => readForeignTable(table)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
      expect(table.isPlain).toBe(false);
    }
    const rows = limits.appendEventsMax + 1;
    const many = new Table(rows, ["a"], [{ kind: "float", values: new Float64Array(rows) }]).toBytes();
    expect(() => readForeignTable(many)).toThrow(expect.objectContaining({ code: "EVENT_TOO_LARGE" }));
  });

  test("is refused when a text of it is not UTF-8, wherever it stands", () => {
    const texts = (text: string, ...lengths: number[]): Column => ({
      kind: "text",
      text,
      lengths: Uint16Array.from(lengths),
      bytes: Buffer.byteLength(text),
    });
    const broken: (readonly [TableBytes, string])[] = [
      // One byte that is read as one character, the start of a character without its end, an end without a start, a surrogate.
      ...["\xff", "\xc3", "\xa9", "\xed\xa0\x80"].map(
        (bytes) =>
          [made(["a"], texts(`a${"Q".repeat(bytes.length)}bc`, 1 + bytes.length, 2)), bytes] as const,
      ),
      [made(["a"], texts("für Q", 4, 2)), "\xff"],
      [made(["a"], texts("\ufffdQ", 3, 1)), "\xff"],
      [made(["a"], json('["Q",1]')), "\xff"],
      [made(["Q"], json("[1,1]")), "\xff"],
      // A character that is divided between two texts.
      [made(["a"], texts("aéb", 2, 2)), ""],
    ];
    for (const [table, bytes] of broken) {
      const at = Buffer.from(table.bytes).indexOf("Q");
      if (at >= 0) table.bytes.set(Buffer.from(bytes, "latin1"), at);
      expect(() => readForeignTable(table)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
      expect(table.isPlain).toBe(false);
    }
    const replacement = made(["a"], texts("\ufffda", 3, 1));
    expect(readForeignTable(replacement)).toEqual([{ a: "\ufffd" }, { a: "a" }]);
    expect(replacement.isPlain).toBe(true);
  });
});
