import { expect, test } from "bun:test";
import { paramOf } from "./parameters.ts";

test("a parameter is JSON if it is that, else text", () => {
  expect(["5", "-0.5", "true", "null", '"5"', "2026-11-01", "007", "[1]", ""].map(paramOf)).toEqual([
    ...[5, -0.5, true, null, "5", "2026-11-01", "007", "[1]", ""],
  ]);
});

test("a whole number is not rounded, and has at most 64 bits", () => {
  expect(paramOf("9007199254740991")).toBe(9007199254740991);
  expect(paramOf("9007199254740993")).toBe(9007199254740993n);
  expect(paramOf("-9223372036854775808")).toBe(-9223372036854775808n);
  for (const text of ["9223372036854775808", "-9223372036854775809"]) {
    expect(() => paramOf(text)).toThrow("has 64 bits");
  }
});
