import { describe, expect, test } from "bun:test";
import { open, release, seal, sealOverheadBytes } from "./aead.ts";

const key = new Uint8Array(32).fill(1);
const associated = Buffer.from("where it belongs");

describe("a seal", () => {
  test("opens with its key and associated data, for plaintexts of every length", () => {
    for (const length of [0, 1, 15, 16, 17, 4096, 1_000_000]) {
      const plaintext = Buffer.alloc(length, 7);
      const sealed = seal(key, plaintext, associated);
      expect(sealed.length).toBe(length + sealOverheadBytes);
      expect(open(key, sealed, associated)).toEqual(plaintext);
    }
  });

  test("is another each time", () => {
    const seals = new Set(
      Array.from({ length: 5000 }, () => seal(key, Buffer.of(1), associated).toString("hex")),
    );
    expect(seals.size).toBe(5000);
  });

  test("gives out nothing when a bit of it, its key or its associated data is another", () => {
    const sealed = seal(key, Buffer.from("secret"), associated);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const flipped = Buffer.from(sealed);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(open(key, flipped, associated)).toBeUndefined();
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(open(key, sealed.subarray(0, length), associated)).toBeUndefined();
    }
    expect(open(new Uint8Array(32).fill(2), sealed, associated)).toBeUndefined();
    expect(open(key, sealed, Buffer.from("elsewhere"))).toBeUndefined();
  });
});

describe("releasing bytes", () => {
  test("takes their memory away when it is theirs alone", () => {
    const bytes = new Uint8Array(100_000);
    release(bytes);
    expect(bytes.length).toBe(0);
  });

  test("leaves memory alone that others have a view of", () => {
    const whole = new Uint8Array(100_000).fill(1);
    release(whole.subarray(0, 50_000));
    release(whole.subarray(50_000));
    expect(whole.every((byte) => byte === 1)).toBe(true);
    const shared = new Uint8Array(new SharedArrayBuffer(100_000));
    release(shared);
    expect(shared.length).toBe(100_000);
  });

  test("keeps what was sealed and opened as it is", () => {
    for (const length of [500, 2000, 100_000]) {
      const plaintext = Buffer.alloc(length, 9);
      const sealed = seal(key, plaintext, associated);
      const copy = Buffer.from(sealed);
      release(sealed);
      expect(open(key, copy, associated)).toEqual(Buffer.alloc(length, 9));
    }
  });
});
