import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../exit.ts";
import { quoted, wordsOf } from "./words.ts";

describe("a line of the shell", () => {
  test.each([
    ["get alice", ["get", "alice"]],
    ["  get \t alice  ", ["get", "alice"]],
    ["", []],
    [`get 'a b' "c \\"d\\" \\\\"`, ["get", "a b", 'c "d" \\']],
    [`get a'b 'c"d"`, ["get", "ab cd"]],
    ["get ''", ["get", ""]],
    [
      `send a b {"x": "y } z", "l": [1, 2]} --json`,
      ["send", "a", "b", `{"x": "y } z", "l": [1, 2]}`, "--json"],
    ],
    ["append a T [1, 2]", ["append", "a", "T", "[1, 2]"]],
    ["get {tag}", ["get", "{tag}"]],
    ["get {open", ["get", "{open"]],
  ])("%p has its words", (line, words) => {
    expect(wordsOf(line)).toEqual(words);
  });

  test("with a quote that is not closed is refused", () => {
    expect(() => wordsOf("get 'a b")).toThrow(UsageError);
    expect(() => wordsOf('get "a\\"')).toThrow(UsageError);
  });

  test("has any word that is quoted for it", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (words) => {
        expect(wordsOf(words.map(quoted).join(" "))).toEqual(words);
      }),
    );
  });
});
