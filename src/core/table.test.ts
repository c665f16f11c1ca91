import { describe, expect, test } from "bun:test";
import { type Column, readTable, rowsOf, Table, type TableContent } from "./table.ts";

const rows = 40;

function textColumn(values: readonly string[]): Column {
  const text = values.join("");
  return {
    kind: "text",
    text,
    lengths: Uint16Array.from(values, (value) => Buffer.byteLength(value)),
    bytes: Buffer.byteLength(text),
  };
}

/** Each kind of column once, and texts of which some are decoded together and some are not. */
const wanted = Array.from({ length: rows }, (_, i) => ({
  whole: 1_700_000_000_000 + i * 1000,
  float: i / 3,
  ascii: `note ${i}`.repeat(i % 12),
  wide: i % 7 === 0 ? "größer 😀" : `plain ${i}`,
  long: "y".repeat(i * 20),
  json: i % 2 === 0 ? { nested: [i, null, true] } : null,
}));

const table = new Table(
  rows,
  ["whole", "float", "ascii", "wide", "long", "json"],
  [
    { kind: "whole", base: 1_700_000_000_000, values: Float64Array.from(wanted, (row) => row.whole) },
    { kind: "float", values: Float64Array.from(wanted, (row) => row.float) },
    textColumn(wanted.map((row) => row.ascii)),
    textColumn(wanted.map((row) => row.wide)),
    textColumn(wanted.map((row) => row.long)),
    {
      kind: "json",
      pieces: [wanted.slice(0, 15), wanted.slice(15)].map((some) =>
        JSON.stringify(some.map((row) => row.json)),
      ),
    },
  ],
);

function read(bytes: Uint8Array, from = 0, to = bytes.length): TableContent | undefined {
  const buffer = Buffer.from(bytes);
  return readTable(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.length), from, to);
}

function rowsIn(content: TableContent | undefined): unknown {
  return content && rowsOf(content.rows, content.keys, content.columns);
}

describe("a table", () => {
  test("gives back its rows, wherever it stands", () => {
    const { bytes } = table.toBytes();
    expect(rowsIn(read(bytes))).toEqual(wanted);
    expect(bytes.length).toBeLessThanOrEqual(table.bytesMax);
    const around = Buffer.alloc(bytes.length + 20, 0xff);
    const end = table.toBytes().write(around, new DataView(around.buffer, around.byteOffset), 7);
    expect(end).toBe(7 + bytes.length);
    expect(rowsIn(read(around, 7, end))).toEqual(wanted);
  });

  test("takes exactly the bytes that it says when nothing in it is JSON but ASCII keys", () => {
    const columns: Column[] = [
      { kind: "float", values: new Float64Array(rows) },
      textColumn(wanted.map((row) => row.wide)),
    ];
    const made = new Table(rows, ["a", "b"], columns);
    // Of the text of the keys three bytes a unit are asked for.
    expect(made.bytesMax - made.toBytes().bytes.length).toBe(2 * '["a","b"]'.length);
  });

  test("cut off anywhere is none", () => {
    const { bytes } = table.toBytes();
    for (let length = 0; length < bytes.length; length++) {
      let content: TableContent | undefined;
      try {
        content = read(bytes, 0, length);
      } catch {
        // JSON that is cut off.
      }
      expect(content).toBeUndefined();
    }
    expect(read(Buffer.concat([bytes, Buffer.of(0)]))).toBeUndefined();
  });

  test("with any byte changed is none, or one of as many rows and columns as it says", () => {
    const { bytes } = table.toBytes();
    let others = 0;
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      let content: TableContent | undefined;
      try {
        content = read(changed);
      } catch {
        continue;
      }
      if (content === undefined) continue;
      others++;
      expect(content.columns.length).toBe(content.keys.length);
      for (const column of content.columns) expect(column.length).toBe(content.rows);
    }
    expect(others).toBeGreaterThan(0);
  });

  test("that says it has billions of rows or columns asks for no memory", () => {
    for (const [at, value] of [
      [0, 0xffff_ffff],
      [4, 0xffff],
      [6, 0xffff_ffff],
    ] as const) {
      const { bytes } = table.toBytes();
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      if (at === 4) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
      expect(read(bytes)).toBeUndefined();
    }
  });
});
