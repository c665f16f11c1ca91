import { expect, test } from "bun:test";
import { RowTable } from "./row-table.ts";

test("a table of rows finds each row under its key, and nothing under others, also when keys share slots", () => {
  const table = new RowTable();
  const keyOf = (i: number) => [(i * 2_654_435_761) >>> 0, Math.floor(i / 7)] as const;
  for (let i = 0; i < 20_000; i++) {
    expect(table.get(...keyOf(i))).toBe(-1);
    table.add(...keyOf(i), i);
  }
  for (let i = 0; i < 20_000; i++) expect(table.get(...keyOf(i))).toBe(i);
  for (let i = 20_000; i < 30_000; i++) expect(table.get(...keyOf(i))).toBe(-1);
  // Under one first half.
  for (let b = 0; b < 2000; b++) table.add(0xffff_ffff, 0xffff_ffff - b, b);
  for (let b = 0; b < 2000; b++) expect(table.get(0xffff_ffff, 0xffff_ffff - b)).toBe(b);
});
