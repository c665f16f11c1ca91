import { expect, test } from "bun:test";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { WarpError } from "./errors.ts";

const context = { incarnation: "8f14e45f-ceea-467f-9e6b-1b3a4c5d6e7f", shards: 4 };

function codeOf(text: string, of = context): string {
  try {
    decodeCursor(text, of);
    return "none";
  } catch (thrown) {
    return thrown instanceof WarpError ? thrown.code : String(thrown);
  }
}

test("a cursor comes back as it was made, with the shards that it speaks of", () => {
  for (const positions of [
    [0, 1, 127, 128],
    [undefined, 2 ** 53 - 1, undefined, 300],
    [undefined, undefined, undefined, undefined],
  ]) {
    expect(decodeCursor(encodeCursor(context.incarnation, positions), context)).toEqual(positions);
  }
});

test("a cursor that was cut, changed or made up is refused", () => {
  const text = encodeCursor(context.incarnation, [1, 2, 3, 4]);
  for (let at = 0; at < text.length; at++) {
    const other = text[at] === "A" ? "B" : "A";
    expect(codeOf(text.slice(0, at) + other + text.slice(at + 1))).toBe("INVALID_ARGUMENT");
    expect(codeOf(text.slice(0, at))).toBe("INVALID_ARGUMENT");
  }
  expect(codeOf(`${text}AAAA`)).toBe("INVALID_ARGUMENT");
  expect(codeOf("start")).toBe("INVALID_ARGUMENT");
  expect(codeOf(text, { ...context, shards: 3 })).toBe("INVALID_ARGUMENT");
});

test("a cursor of another incarnation is foreign", () => {
  expect(codeOf(encodeCursor("other", [1, 2, 3, 4]))).toBe("CURSOR_FOREIGN");
});
