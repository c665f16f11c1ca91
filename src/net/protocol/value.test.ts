import { expect, test } from "bun:test";
import { WarpError } from "../../core/errors.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { readError, writeError } from "./replies.ts";
import { encodeDetails, shortMessage } from "./value.ts";

const sizeOf = (encoded: string | Uint8Array) => Buffer.from(encoded as string).length;

test("details of an error are bounded, in whichever form they are", () => {
  const details = [
    { name: "n".repeat(300_000) },
    { name: "é".repeat(60_000) },
    { bytes: new Uint8Array(300_000) },
    { name: "\ud800".repeat(60_000) },
    { cause: new Error("x"), name: "\u0001".repeat(60_000) },
    undefined,
  ];
  for (const one of details) expect(sizeOf(encodeDetails(one))).toBeLessThanOrEqual(64 * 1024);
  expect(encodeDetails({ limit: 5 })).toBe('{"limit":5}');
});

test("a message of any length is cut between characters", () => {
  expect(shortMessage(new Error("as it is"))).toBe("as it is");
  for (const text of ["x".repeat(1e6), "😀".repeat(1e6), `x${"😀".repeat(1e6)}`]) {
    const short = shortMessage(new Error(text));
    expect(short.length).toBeLessThanOrEqual(4096);
    expect(short.length).toBeGreaterThan(4093);
    expect(short.isWellFormed()).toBe(true);
  }
});

test("an error can be written whatever it carries", () => {
  const writer = new FrameWriter(16);
  const long = "\u0001".repeat(11_000_000);
  writeError(writer, 7, new WarpError("INVALID_ARGUMENT", long, { long, self: long }));
  expect(writer.at).toBeLessThan(10_000);
  const reader = new FrameReader();
  reader.begin(writer.buffer, 4, writer.at);
  expect([reader.whole(), reader.whole()]).toEqual([2, 7]);
  expect(readError(reader)).toMatchObject({ code: "INVALID_ARGUMENT", details: {} });
});
