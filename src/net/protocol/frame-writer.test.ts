import { expect, test } from "bun:test";
import { decode } from "@msgpack/msgpack";
import { FrameWriter } from "./frame-writer.ts";

const texts = ["", "plain", "x".repeat(300), "März", "🚀", "\ufffd", "ä".repeat(70_000)];
const illFormed = ["\ud800", "a\udc00b", `${"x".repeat(300)}\ud83d`, "\ude80\ud83d"];

/** What a reader finds of a text. */
function written(writer: FrameWriter, text: string): unknown {
  writer.at = 0;
  writer.str(text);
  return decode(writer.buffer.subarray(0, writer.at));
}

test("a writer of requests refuses texts that UTF-8 cannot hold, and no others", () => {
  const writer = new FrameWriter(8, "requests");
  for (const text of texts) expect(written(writer, text)).toBe(text);
  for (const text of illFormed) {
    expect(() => written(writer, text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => writer.strOrNil(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  }
});

test("a writer of replies goes on: half of a reply would be none", () => {
  const writer = new FrameWriter(8);
  for (const text of texts) expect(written(writer, text)).toBe(text);
  for (const text of illFormed) expect(written(writer, text)).toBe(text.toWellFormed());
});
