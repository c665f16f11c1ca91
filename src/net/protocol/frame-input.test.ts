import { expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../../core/limits.ts";
import { FrameInput } from "./frame-input.ts";

function frameOf(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeUInt32BE(body.length);
  frame.set(body, 4);
  return frame;
}

/** The frames that come out when the bytes arrive in these pieces; the memory of a piece is overwritten afterwards. */
function framesOf(pieces: readonly Buffer[]): string[] {
  const input = new FrameInput();
  const frames: string[] = [];
  for (const piece of pieces) {
    const arrived = Buffer.from(piece);
    input.push(arrived);
    while (input.next()) frames.push(input.bytes.toString("hex", input.frameStart, input.frameEnd));
    input.keep();
    arrived.fill(0xff);
  }
  expect(input.waiting).toBe(0);
  expect(input.keptBytes).toBe(0);
  return frames;
}

test("frames come out the same byte by byte, in one piece and in any pieces", () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(bodies, fc.array(fc.nat({ max: 4000 }), { maxLength: 20 }), (given, cuts) => {
      const bytes = Buffer.concat(given.map(frameOf));
      const expected = given.map((body) => Buffer.from(body).toString("hex"));
      const places = [0, ...cuts.map((cut) => cut % bytes.length), bytes.length].sort((a, b) => a - b);
      const pieces = places.slice(1).map((to, i) => bytes.subarray(places[i] ?? 0, to));
      expect(framesOf([bytes])).toEqual(expected);
      expect(framesOf(pieces)).toEqual(expected);
      expect(framesOf([...bytes].map((byte) => Buffer.of(byte)))).toEqual(expected);
    }),
  );
});

test("a length of zero and one above the limit are refused before anything else arrives", () => {
  for (const length of [0, limits.frameBytesMax + 1, 2 ** 32 - 1]) {
    const input = new FrameInput();
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    input.push(head);
    expect(() => input.next()).toThrow("a frame has 1 to");
  }
});

test("what a frame may have can be raised when it is known who sends it", () => {
  const input = new FrameInput(10);
  const frames = [frameOf(new Uint8Array(10)), frameOf(new Uint8Array(11))];
  input.push(Buffer.concat(frames));
  expect(input.next()).toBe(true);
  expect(() => input.next()).toThrow("a frame has 1 to 10 bytes");
  input.frameBytesMax = 11;
  expect(input.next()).toBe(true);
});

test("a frame takes memory as its bytes arrive, not as its length says", () => {
  const input = new FrameInput();
  const head = Buffer.alloc(4);
  head.writeUInt32BE(limits.frameBytesMax);
  for (const piece of [head, ...Array.from({ length: 100 }, () => Buffer.alloc(10))]) {
    input.push(piece);
    expect(input.next()).toBe(false);
    input.keep();
  }
  expect(input.keptBytes).toBeLessThan(4096);
});
