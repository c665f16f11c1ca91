import { describe, expect, test } from "bun:test";
import { WarpError } from "../../../core/errors.ts";
import { type CsvOptions, CsvReader } from "./csv.ts";
import { JsonArrayReader } from "./json-array.ts";
import { NdjsonReader } from "./ndjson.ts";
import { type Row, type RowReader, rowBytesMax } from "./row.ts";

/** What a reader makes of an input: its rows, and the sentence it ends with if it fails. */
interface Reading {
  readonly rows: readonly Row[];
  readonly failure: string | undefined;
}

function readInPieces(reader: RowReader, input: Buffer, pieceBytes: number): Reading {
  const rows: Row[] = [];
  try {
    for (let at = 0; at < input.length; at += pieceBytes) {
      reader.feed(Buffer.from(input.subarray(at, at + pieceBytes)), rows);
    }
    reader.end(rows);
  } catch (error) {
    if (!(error instanceof WarpError)) throw error;
    expect(error.code).toBe("INVALID_ARGUMENT");
    return { rows, failure: error.message };
  }
  return { rows, failure: undefined };
}

/** Reads the input whole, byte by byte, and in small pieces, and expects the same each time. */
function read(create: () => RowReader, text: string | Buffer): Reading {
  const input = Buffer.from(text);
  const whole = readInPieces(create(), input, input.length + 1);
  for (const pieceBytes of [1, 2, 3, 7]) {
    expect(readInPieces(create(), input, pieceBytes)).toEqual(whole);
  }
  return whole;
}

const ndjson = (text: string | Buffer) => read(() => new NdjsonReader(), text);
const jsonArray = (text: string | Buffer) => read(() => new JsonArrayReader(), text);
const csv = (text: string | Buffer, options: Partial<CsvOptions> = {}) =>
  read(() => new CsvReader({ delimiter: ",", numbers: [], booleans: [], ...options }), text);

const valuesOf = ({ rows }: Reading) => rows.map(({ value }) => value);
const linesOf = ({ rows }: Reading) => rows.map(({ line }) => line);
const problemsOf = ({ rows }: Reading) => rows.map(({ line, problem }) => problem && `${line} ${problem}`);

const exotic = 'é € 😀 \u2028 " \\ \n \t \u0000 ﷽';

describe("NDJSON", () => {
  test("is one row a line, with LF or CRLF, and with or without a last line end", () => {
    for (const text of ['{"a":1}\n{"a":2}\n', '{"a":1}\r\n{"a":2}\r\n', '{"a":1}\n{"a":2}']) {
      const reading = ndjson(text);
      expect(valuesOf(reading)).toEqual([{ a: 1 }, { a: 2 }]);
      expect(linesOf(reading)).toEqual([1, 2]);
      expect(reading.failure).toBeUndefined();
    }
  });

  test("may have blank lines, which are no rows and are counted as lines", () => {
    const reading = ndjson('\n{"a":1}\n\r\n \t\n{"a":2}\n\n');
    expect(linesOf(reading)).toEqual([2, 5]);
  });

  test("keeps characters of several bytes that are split between pieces", () => {
    expect(valuesOf(ndjson(`${JSON.stringify({ [exotic]: exotic })}\n`))).toEqual([{ [exotic]: exotic }]);
  });

  test("with a line that is no JSON has a problem in that row only, and a cut last line is one too", () => {
    const reading = ndjson('{"a":1}\n{"a":\n\n{"a":3}\n{"a":"x');
    expect(valuesOf(reading)).toEqual([{ a: 1 }, undefined, { a: 3 }, undefined]);
    expect(problemsOf(reading)[1]).toStartWith("2 is not JSON: ");
    expect(problemsOf(reading)[3]).toStartWith("5 is not JSON: ");
  });

  test("with bytes that are not UTF-8 has a problem in that row only", () => {
    const reading = ndjson(Buffer.concat([Buffer.from('"a'), Buffer.from([0xff]), Buffer.from('"\n"b"\n')]));
    expect(problemsOf(reading)).toEqual(["1 is not UTF-8", undefined]);
  });

  test("with an integer that would be rounded has a problem that names it", () => {
    const reading = ndjson(
      '{"a":{"id":[12345678901234567890]}}\n{"a":0.12345678901234567890,"b":1234567890123456}\n',
    );
    expect(problemsOf(reading)[0]).toStartWith("1 has a number as a.id.0 that would be rounded");
    expect(problemsOf(reading)[1]).toBeUndefined();
  });

  test("with half a surrogate pair has a problem that names it", () => {
    const reading = ndjson('{"a":["\\ud83d"]}\n{"\\ude00":1}\n{"a":"\\ud83d\\ude00"}\n');
    expect(problemsOf(reading)).toEqual([
      "1 has a lone surrogate in a.0",
      "2 has a lone surrogate in a key of the value",
      undefined,
    ]);
  });

  test("that is empty has no rows", () => {
    expect(ndjson("")).toEqual({ rows: [], failure: undefined });
  });

  test("with an endless line is refused instead of gathered in memory", () => {
    const reader = new NdjsonReader();
    const piece = Buffer.alloc(1024 * 1024, "x");
    const feed = () => {
      for (let fed = 0; fed <= rowBytesMax; fed += piece.length) reader.feed(piece, []);
    };
    expect(feed).toThrow("line 1: a row is longer than 16 MiB");
  });
});

describe("a JSON array", () => {
  test("is one row an element, with the line that it starts on", () => {
    const reading = jsonArray('\n [ {"a":1},\n\n{"a":\n2} , [3,[4]]\n,"5",6,null,true ]\n');
    expect(valuesOf(reading)).toEqual([{ a: 1 }, { a: 2 }, [3, [4]], "5", 6, null, true]);
    expect(linesOf(reading)).toEqual([2, 4, 5, 6, 6, 6, 6]);
    expect(reading.failure).toBeUndefined();
  });

  test("may be empty", () => {
    expect(jsonArray(" [\r\n ] ")).toEqual({ rows: [], failure: undefined });
  });

  test("may hold brackets, braces, commas, quotes and backslashes in strings", () => {
    const values = [{ a: '],"}{[\\' }, "\\", '\\"', [",", "]"], { [exotic]: exotic }];
    expect(valuesOf(jsonArray(JSON.stringify(values)))).toEqual(values);
    expect(valuesOf(jsonArray(JSON.stringify(values, null, 2)))).toEqual(values);
  });

  test("reads what JSON.parse reads, for generated values", () => {
    const seed = 20260101;
    let random = seed;
    const next = (below: number) => {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      return (random >>> 8) % below;
    };
    const value = (depth: number): unknown => {
      switch (next(depth > 3 ? 4 : 6)) {
        case 0:
          return next(1000) - 500;
        case 1:
          return Array.from(exotic).slice(next(10)).join("");
        case 2:
          return next(2) === 0;
        case 3:
          return null;
        case 4:
          return Array.from({ length: next(4) }, () => value(depth + 1));
        default:
          return Object.fromEntries(Array.from({ length: next(4) }, (_, i) => [`k${i}`, value(depth + 1)]));
      }
    };
    for (let round = 0; round < 50; round++) {
      const values = Array.from({ length: next(6) }, () => value(0));
      const reading = jsonArray(JSON.stringify(values, null, next(3)));
      expect({ seed, round, values: valuesOf(reading) }).toEqual({ seed, round, values });
    }
  });

  test("with a balanced element that is no JSON has a problem in that row only", () => {
    const reading = jsonArray('[{"a":1},\n{a:2},\n{"a":3} ]');
    expect(valuesOf(reading)).toEqual([{ a: 1 }, undefined, { a: 3 }]);
    expect(problemsOf(reading)[1]).toStartWith("2 is not JSON: ");
    expect(reading.failure).toBeUndefined();
  });

  test("that is cut off anywhere is refused with the line", () => {
    const text = '[\n{"a":1},\n{"b":\n"c"}\n]';
    for (let length = 0; length < text.length; length++) {
      const { failure } = jsonArray(text.slice(0, length));
      const cut = text.slice(0, length);
      const line = cut.split("\n").length;
      const inSecond = length > text.indexOf('{"b"') && length < text.indexOf("}\n]") + 1;
      expect(failure).toStartWith(`line ${inSecond ? 3 : line}: `);
    }
    expect(jsonArray('[1,\n{"a":"').failure).toBe(
      "line 2: the input ends inside the element that starts here",
    );
    expect(jsonArray("[1,\n\n").failure).toBe("line 3: the input ends before the closing ]");
  });

  test("with something wrong between its elements is refused with the line", () => {
    expect(jsonArray('{"a":1}').failure).toBe("line 1: a JSON array starts with [");
    expect(jsonArray("[1,\n,2]").failure).toBe("line 2: expected an element, found ,");
    expect(jsonArray("[1,\n]").failure).toBe("line 2: expected an element, found ]");
    expect(jsonArray("[{}\n{}]").failure).toBe("line 2: expected , or ] behind an element");
    expect(jsonArray("[1]\n[2]").failure).toBe("line 2: there is something behind the closing ]");
    expect(jsonArray("[1]\n[2]").rows).toHaveLength(1);
  });
});

describe("CSV", () => {
  test("has a header and one row a line, with LF, CRLF or both", () => {
    for (const text of ["a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", "a,b\n1,2\r\n3,4"]) {
      const reading = csv(text);
      expect(valuesOf(reading)).toEqual([
        { a: "1", b: "2" },
        { a: "3", b: "4" },
      ]);
      expect(linesOf(reading)).toEqual([2, 3]);
      expect(reading.failure).toBeUndefined();
    }
  });

  test("may quote delimiters, quotes and line ends, and counts the lines inside", () => {
    const reading = csv('a,"b ""b"""\n"x,\r\ny\n",""""\n\n"",\n');
    expect(valuesOf(reading)).toEqual([
      { a: "x,\r\ny\n", 'b "b"': '"' },
      { a: "", 'b "b"': "" },
    ]);
    expect(linesOf(reading)).toEqual([2, 6]);
  });

  test("keeps characters of several bytes that are split between pieces", () => {
    const quoted = `"${exotic.replaceAll('"', '""')}"`;
    expect(valuesOf(csv(`${quoted},b\n1,${quoted}\n`))).toEqual([{ [exotic]: "1", b: exotic }]);
  });

  test("has text in its cells, but for the columns that are said to be numbers or booleans", () => {
    const reading = csv("id,n,ok\n007,1.50,TRUE\n1e3,-2e3,false\n,,\n", { numbers: ["n"], booleans: ["ok"] });
    expect(valuesOf(reading)).toEqual([
      { id: "007", n: 1.5, ok: true },
      { id: "1e3", n: -2000, ok: false },
      { id: "", n: null, ok: null },
    ]);
  });

  test("with a cell that is not of its column's kind has a problem in that row only", () => {
    const reading = csv("n,ok\n1,yes\nx,true\n0x10,\n12345678901234567890,\n1e400,\n5,\n", {
      numbers: ["n"],
      booleans: ["ok"],
    });
    expect(problemsOf(reading)).toEqual([
      '2 has "yes" in column "ok", which is not true or false',
      '3 has "x" in column "n", which is not a number that can be kept exactly',
      '4 has "0x10" in column "n", which is not a number that can be kept exactly',
      '5 has "12345678901234567890" in column "n", which is not a number that can be kept exactly',
      '6 has "1e400" in column "n", which is not a number that can be kept exactly',
      undefined,
    ]);
  });

  test("with more or fewer cells than the header has a problem in that row only", () => {
    const reading = csv("a,b\n1\n1,2,3\n1,2\n");
    expect(problemsOf(reading)).toEqual([
      "2 has 1 cells, the header 2",
      "3 has 3 cells, the header 2",
      undefined,
    ]);
  });

  test("may have another delimiter", () => {
    expect(valuesOf(csv("a;b\n1,5;2\n", { delimiter: ";" }))).toEqual([{ a: "1,5", b: "2" }]);
    expect(valuesOf(csv("a\tb\n1\t2\n", { delimiter: "\t" }))).toEqual([{ a: "1", b: "2" }]);
  });

  test("with a wrong quote is refused with the line, after the rows before it", () => {
    const unclosed = csv('a,b\n1,"x\ny"\n3,"4\n5,6\n');
    expect(unclosed.failure).toBe("line 4: a quote in the row that starts here is never closed");
    expect(valuesOf(unclosed)).toEqual([{ a: "1", b: "x\ny" }]);
    expect(csv('a,b\n1,2\n"3"x,4\n').failure).toStartWith("line 3: a closing quote must be followed");
    expect(csv('a,b\n1,2\n3x"y",4\n').failure).toStartWith(
      "line 3: a cell with a quote in it must be quoted",
    );
  });

  test("with a header that is missing or unusable is refused", () => {
    expect(csv("").failure).toBe("line 1: there is no header");
    expect(csv("\n\n").failure).toBe("line 1: there is no header");
    expect(csv("a,b,a\n").failure).toBe('line 1: the header names the column "a" twice');
    expect(csv("a,b\n", { numbers: ["c"] }).failure).toBe(
      'line 1: the header has no column "c"; it has a, b',
    );
    expect(csv("\na,__proto__\n").failure).toBe("line 2: no column can be named __proto__");
  });

  test("with bytes that are not UTF-8, or a last character cut in two, is refused", () => {
    const bad = readInPieces(
      new CsvReader({ delimiter: ",", numbers: [], booleans: [] }),
      Buffer.from([97, 10, 0xff, 10]),
      4,
    );
    expect(bad.failure).toContain("not UTF-8");
    expect(csv(Buffer.from("a\né").subarray(0, 3)).failure).toContain("not UTF-8");
  });
});

test("the same rows are the same in all formats", () => {
  const rows = [
    { id: "a", note: exotic, n: 1.5, ok: true },
    { id: "b", note: "", n: null, ok: false },
  ];
  const cell = (value: unknown) => (value === null ? "" : `"${String(value).replaceAll('"', '""')}"`);
  const table = ["id,note,n,ok", ...rows.map((row) => Object.values(row).map(cell).join(","))].join("\n");
  expect(valuesOf(csv(table, { numbers: ["n"], booleans: ["ok"] }))).toEqual(rows);
  expect(valuesOf(jsonArray(JSON.stringify(rows)))).toEqual(rows);
  expect(valuesOf(ndjson(rows.map((row) => JSON.stringify(row)).join("\n")))).toEqual(rows);
});
