import { expect, test } from "bun:test";
import fc from "fast-check";
import { readUtf8, writeUtf8 } from "./utf8.ts";

test("writes and reads what a Buffer does by the name of the encoding", () => {
  const texts = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constant("é🦊\ud800x"));
  fc.assert(
    fc.property(texts, fc.nat(40), (text, at) => {
      const ours = Buffer.alloc(64, 0x2e);
      const theirs = Buffer.alloc(64, 0x2e);
      const bytes = writeUtf8(ours, text, at);
      expect(bytes).toBe(theirs.write(text, at, "utf8"));
      expect(ours).toEqual(theirs);
      expect(readUtf8(ours, at, at + bytes)).toBe(theirs.toString("utf8", at, at + bytes));
    }),
  );
});

test("memory that threads share can be written to", () => {
  const shared = Buffer.from(new SharedArrayBuffer(16) as unknown as ArrayBuffer);
  expect(writeUtf8(shared, "größe", 3)).toBe(7);
  expect(readUtf8(shared, 3, 10)).toBe("größe");
});

test("bytes that are no UTF-8 are read as U+FFFD", () => {
  expect(readUtf8(Buffer.of(0x61, 0xff, 0x62), 0, 3)).toBe("a\ufffdb");
});
