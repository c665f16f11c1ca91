import { describe, expect, test } from "bun:test";
import { UsageError } from "../../exit.ts";
import { formatOf } from "./formats.ts";

describe("the format of a query", () => {
  test("is that which is said, or that of the file's ending", () => {
    expect(formatOf({ format: "csv", out: undefined, json: false })).toBe("csv");
    expect(formatOf({ format: "csv", out: "a.parquet", json: false })).toBe("csv");
    expect(formatOf({ format: undefined, out: "a.parquet", json: false })).toBe("parquet");
    expect(formatOf({ format: undefined, out: "A.CSV", json: true })).toBe("csv");
    expect(formatOf({ format: undefined, out: "a.jsonl", json: false })).toBe("ndjson");
  });

  test("is a table for people and lines for programs, which must not take half of the rows for all", () => {
    expect(formatOf({ format: undefined, out: undefined, json: false })).toBe("table");
    expect(formatOf({ format: "table", out: undefined, json: false })).toBe("table");
    expect(formatOf({ format: undefined, out: undefined, json: true })).toBe("ndjson");
    expect(formatOf({ format: "table", out: undefined, json: true })).toBe("ndjson");
  });

  test("of a file is never guessed, and no table", () => {
    for (const out of ["accounts.json", "accounts.txt", "accounts", "accounts.table"]) {
      expect(() => formatOf({ format: undefined, out, json: false })).toThrow(UsageError);
    }
    expect(() => formatOf({ format: "table", out: "a.csv", json: false })).toThrow(UsageError);
    expect(() => formatOf({ format: "parquet", out: undefined, json: false })).toThrow(UsageError);
  });
});
