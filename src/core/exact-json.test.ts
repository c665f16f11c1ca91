import { describe, expect, test } from "bun:test";
import { readJson } from "./exact-json.ts";

const problemOf = (text: string) => readJson(text).problem;

describe("a number", () => {
  test("that is what its text says is kept", () => {
    const texts = [
      "9007199254740991",
      "9007199254740992",
      "-1152921504606846976",
      "100000000000000000000",
      "9007199254740994.0",
      "1e+21",
      "1.5e300",
      "0.12345678901234567890",
      "0e999",
      "-0",
      "5e-324",
    ];
    for (const text of texts) expect(readJson(`[${text}]`)).toEqual({ value: [Number(text)] });
  });

  test("that would become another one is a problem that names it", () => {
    for (const text of [
      "9007199254740993",
      "-12345678901234567890",
      "12345678901234567.5",
      "1e400",
      "-1e400",
      "1e-400",
    ])
      expect(problemOf(`{"a":{"b":[1,${text}]}}`)).toBe(
        "has a number as a.b.1 that would be rounded; write it as a string",
      );
    expect(problemOf("9007199254740993")).toStartWith("has a number as the value that");
  });

  test("in a text is text", () => {
    expect(readJson('{"9007199254740993":"1e400"}')).toEqual({ value: { "9007199254740993": "1e400" } });
  });
});

test("what is nested without end is left to who refuses it for that", () => {
  const deep = `${"[".repeat(100_000)}9007199254740993${"]".repeat(100_000)}`;
  expect(readJson(deep).problem).toBeUndefined();
});

test("what is no JSON is told from what could not be kept", () => {
  expect(readJson("{")).toMatchObject({ isJson: false });
  expect(readJson('"\\ud83d"')).toMatchObject({ isJson: true, problem: "has a lone surrogate in the value" });
  expect(readJson('"\\ud83d\\ude00"')).toEqual({ value: "😀" });
});
