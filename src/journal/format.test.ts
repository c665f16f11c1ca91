import { describe, expect, test } from "bun:test";
import { WarpError } from "../core/errors.ts";
import {
  beginBlockHeader,
  blockBytes,
  blockHeaderBytes,
  blockKind,
  decodeBlockHeader,
  decodeSegmentHeader,
  decodeSlot,
  encodeSegmentHeader,
  encodeSlot,
  finishBlockHeader,
  segmentName,
} from "./format.ts";

/** Calls `check` with a copy for each of the first `end` bytes, in which that byte is another. */
function forEachFlip(bytes: Buffer, end: number, check: (flipped: Buffer, at: number) => void): void {
  for (let at = 0; at < end; at++) {
    const flipped = Buffer.from(bytes);
    flipped[at] = (flipped[at] ?? 0) ^ 0x41;
    check(flipped, at);
  }
}

describe("a segment header", () => {
  const header = {
    use: 2 ** 40 + 1,
    segmentBytes: 2 ** 25,
    firstSequence: 2 ** 41 + 7,
    durability: "os",
  } as const;

  test("comes back, and is nothing when any byte of it is another", () => {
    const bytes = encodeSegmentHeader(header);
    expect(decodeSegmentHeader(bytes, "f")).toEqual(header);
    forEachFlip(bytes, 40, (flipped) => expect(decodeSegmentHeader(flipped, "f")).toBeUndefined());
    for (let length = 0; length < 40; length++) {
      expect(decodeSegmentHeader(bytes.subarray(0, length), "f")).toBeUndefined();
    }
  });

  test("of another format is refused by name", () => {
    const bytes = encodeSegmentHeader(header);
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(Bun.hash.crc32(bytes.subarray(8, 40)), 4);
    expect(() => decodeSegmentHeader(bytes, "journal/0007")).toThrow(
      expect.objectContaining({ code: "FORMAT_UNSUPPORTED" }),
    );
  });
});

describe("a block header", () => {
  test("comes back, and is nothing when any byte of it is another", () => {
    const bytes = Buffer.alloc(blockHeaderBytes);
    const nonce = Buffer.alloc(12, 1);
    const block = { use: 5, sequence: 2 ** 42, kind: blockKind.records, bodyBytes: 123_456, nonce };
    const associated = beginBlockHeader(bytes, block);
    expect(associated.length).toBe(28);
    const tag = Buffer.alloc(16, 2);
    finishBlockHeader(bytes, tag);
    const found = decodeBlockHeader(bytes);
    expect(found && { ...found, nonce: Buffer.from(found.nonce), tag: Buffer.from(found.tag) }).toEqual({
      ...block,
      tag,
    });
    forEachFlip(bytes, bytes.length, (flipped) => expect(decodeBlockHeader(flipped)).toBeUndefined());
  });

  test.each([
    [0, 4096],
    [4096 - 64, 4096],
    [4096 - 63, 8192],
    [1_000_000, 1_003_520],
  ])("and a body of %p bytes take %p bytes, whole sectors", (body, bytes) => {
    expect(blockBytes(body)).toBe(bytes);
  });
});

describe("a key slot", () => {
  const slot = { use: 9, period: 3, wrapped: Buffer.alloc(60, 8) };

  test("comes back; zeros are an empty one; any other byte in it is damage with file and offset", () => {
    const bytes = encodeSlot(slot);
    expect(decodeSlot(bytes, "journal/keys", 0)).toEqual(slot);
    expect(decodeSlot(Buffer.alloc(bytes.length), "journal/keys", 0)).toBeUndefined();
    forEachFlip(bytes, 80, (flipped) => {
      try {
        decodeSlot(flipped, "journal/keys", 4096);
        throw new Error("it was taken");
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(WarpError);
        expect(thrown).toMatchObject({ code: "CORRUPT", details: { file: "journal/keys", offset: 4096 } });
      }
    });
  });
});

test("segments are named by four digits", () => {
  expect([1, 42, 1024].map(segmentName)).toEqual(["0001", "0042", "1024"]);
});
