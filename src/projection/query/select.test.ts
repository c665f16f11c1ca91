import { expect, test } from "bun:test";
import { select } from "./select.ts";

const place = { kind: "sqlite", files: [], views: [] } as const;

test("a result is cut by what its text takes in UTF-8", () => {
  // A thousand characters a row, of one byte and of three.
  const rowsOf = (character: string) => {
    const sql = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
      SELECT replace(hex(zeroblob(500)), '0', '${character}') FROM n`;
    return select({ id: 1, place, sql, params: [], rowsMax: 1000, bytesMax: 30_000 });
  };
  expect(rowsOf("x")).toMatchObject({ isTruncated: true, rows: { length: 30 } });
  expect(rowsOf("日")).toMatchObject({ isTruncated: true, rows: { length: 10 } });
});
