import { afterAll, describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { PeriodKeys } from "../../core/period-keys.ts";
import { WarpError } from "../../core/errors.ts";
import { sampleDirectory } from "../sample.ts";
import { slotBytes, slotOffset, Vault, type VaultOptions } from "./vault.ts";
import { vaultHeaderBytes } from "./vault-header.ts";

const directory = sampleDirectory();
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;

function freshOptions(change: Partial<VaultOptions> = {}): VaultOptions {
  const path = join(directory, `vault-${++count}`);
  Vault.create(path, "sample", 5);
  const periods = PeriodKeys.of([{ period: 1, key: new Uint8Array(32).fill(1) }]).memory;
  return { path, shard: 5, context: "sample", periods, cachedKeysMax: 1024, ...change };
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof WarpError ? error.code : String(error);
  }
  return "no error";
}

function zeroSlot(path: string, number: number): void {
  const file = openSync(path, "r+");
  writeSync(file, Buffer.alloc(slotBytes), 0, slotBytes, slotOffset(number));
  closeSync(file);
}

function copyOfKey(vault: Vault, number: number): Buffer {
  return Buffer.from(vault.keyOf(number) ?? []);
}

describe("the vault", () => {
  test("gives back the keys it made, from the cache, from the disk and to a reader", () => {
    const options = freshOptions();
    const writer = Vault.open(options, "write");
    const numbers = [1, 2, 3, 900, 901, 5000];
    for (const number of numbers) writer.mint(number);
    writer.sync();
    const keys = numbers.map((number) => copyOfKey(writer, number));
    expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(numbers.length);
    for (const access of ["read", "write"] as const) {
      const vault = Vault.open(options, access);
      for (const _ of [1, 2]) expect(numbers.map((number) => copyOfKey(vault, number))).toEqual(keys);
      expect(vault.keyOf(4)).toBeUndefined();
      expect(vault.keyOf(1_000_000)).toBeUndefined();
      vault.close();
    }
    writer.close();
    expect((statSync(options.path).size - vaultHeaderBytes) % slotBytes).toBe(0);
  });

  test("writes a key once more that an earlier life has left, since its sync may have failed", () => {
    const options = freshOptions();
    const earlier = Vault.open(options, "write");
    earlier.mint(1);
    earlier.sync();
    const key = copyOfKey(earlier, 1);
    earlier.close();
    const vault = Vault.open(options, "write");
    vault.findUnused(1);
    vault.mint(1);
    // The system had it in memory, and the disk has not.
    zeroSlot(options.path, 1);
    vault.mint(2);
    vault.sync();
    vault.close();
    const reader = Vault.open(options, "read");
    expect(copyOfKey(reader, 1)).toEqual(key);
    expect(copyOfKey(reader, 2)).toHaveLength(32);
    reader.close();
  });

  test("has what a killed process wrote on the disk before it relies on it", () => {
    const options = freshOptions();
    const sync = spyOn(fs, "fdatasyncSync");
    try {
      Vault.open(options, "read").close();
      expect(sync).toHaveBeenCalledTimes(0);
      Vault.open(options, "write").close();
      expect(sync).toHaveBeenCalledTimes(1);
    } finally {
      sync.mockRestore();
    }
  });

  test("shows a reader that was open before the keys that are made when the file grows", () => {
    const options = freshOptions();
    const writer = Vault.open(options, "write");
    const reader = Vault.open(options, "read");
    for (const number of [1, 1024, 1025, 5000]) {
      expect(reader.keyOf(number)).toBeUndefined();
      writer.mint(number);
      writer.sync();
      expect(copyOfKey(reader, number)).toEqual(copyOfKey(writer, number));
    }
    reader.close();
    writer.close();
  });

  test("keeps every key apart when more numbers share its cache than fit", () => {
    const options = freshOptions({ cachedKeysMax: 256 });
    const vault = Vault.open(options, "write");
    for (let number = 1; number <= 3000; number++) vault.mint(number);
    vault.sync();
    const keys = Array.from({ length: 3000 }, (_, i) => copyOfKey(vault, i + 1).toString("hex"));
    expect(new Set(keys).size).toBe(3000);
    for (let number = 3000; number >= 1; number -= 7) {
      expect(copyOfKey(vault, number).toString("hex")).toBe(keys[number - 1] ?? "");
    }
    vault.close();
  });

  test("has no plaintext key in its file", () => {
    const options = freshOptions();
    const vault = Vault.open(options, "write");
    vault.mint(1);
    vault.sync();
    expect(readFileSync(options.path).includes(copyOfKey(vault, 1))).toBe(false);
    vault.close();
  });

  test("keeps a key that a crash left behind, and makes a torn one anew", () => {
    const options = freshOptions();
    const before = Vault.open(options, "write");
    for (const number of [1, 2, 3]) before.mint(number);
    before.sync();
    const [first, second] = [copyOfKey(before, 1), copyOfKey(before, 2)];
    before.close();
    const bytes = readFileSync(options.path);
    bytes.fill(0, slotOffset(2) + 20, slotOffset(2) + slotBytes);
    writeFileSync(options.path, bytes);

    const after = Vault.open(options, "write");
    after.findUnused(1);
    for (const number of [1, 2, 3, 4]) after.mint(number);
    after.sync();
    expect(copyOfKey(after, 1)).toEqual(first);
    expect(copyOfKey(after, 2)).not.toEqual(second);
    expect(copyOfKey(after, 4).length).toBe(32);
    after.close();
  });

  test("answers a zeroed slot with no key, once it has forgotten the cached one", () => {
    const options = freshOptions();
    const vault = Vault.open(options, "write");
    for (const number of [1, 2]) vault.mint(number);
    vault.sync();
    zeroSlot(options.path, 1);
    vault.forget(1);
    expect(vault.keyOf(1)).toBeUndefined();
    expect(vault.keyOf(2)).toBeDefined();
    vault.close();
  });

  test("calls every single damaged bit of a slot CORRUPT and names file and offset", () => {
    const options = freshOptions();
    const vault = Vault.open(options, "write");
    for (const number of [1, 2, 3]) vault.mint(number);
    vault.sync();
    vault.close();
    const whole = readFileSync(options.path);
    for (let bit = 0; bit < slotBytes * 8; bit++) {
      const bytes = Buffer.from(whole);
      const at = slotOffset(2) + (bit >> 3);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      writeFileSync(options.path, bytes);
      const damaged = Vault.open(options, "read");
      expect(codeOf(() => damaged.keyOf(2))).toBe("CORRUPT");
      expect(damaged.keyOf(1)).toBeDefined();
      expect(() => damaged.keyOf(2)).toThrow(`${options.path}: the slot of number 2 at ${slotOffset(2)}`);
      damaged.close();
    }
  });

  test("does not open a slot that was moved to another number, shard or context", () => {
    const options = freshOptions();
    const vault = Vault.open(options, "write");
    for (const number of [1, 2]) vault.mint(number);
    vault.sync();
    vault.close();
    const bytes = readFileSync(options.path);
    bytes.copy(bytes, slotOffset(1), slotOffset(2), slotOffset(3));
    writeFileSync(options.path, bytes);
    const moved = Vault.open(options, "read");
    expect(codeOf(() => moved.keyOf(1))).toBe("CORRUPT");
    moved.close();
    expect(codeOf(() => Vault.open({ ...options, shard: 6 }, "read"))).toBe("CONFIG_MISMATCH");
    expect(codeOf(() => Vault.open({ ...options, context: "other" }, "read"))).toBe("CONFIG_MISMATCH");
  });

  test("unwraps keys of older periods, and refuses those of periods it does not know", () => {
    const first = { period: 1, key: new Uint8Array(32).fill(1) };
    const second = { period: 2, key: new Uint8Array(32).fill(2) };
    const options = freshOptions();
    const before = Vault.open(options, "write");
    before.mint(1);
    before.sync();
    const key = copyOfKey(before, 1);
    before.close();
    const both = Vault.open({ ...options, periods: PeriodKeys.of([first, second]).memory }, "write");
    expect(copyOfKey(both, 1)).toEqual(key);
    both.mint(2);
    both.sync();
    both.close();
    const old = Vault.open(options, "read");
    expect(codeOf(() => old.keyOf(2))).toBe("CORRUPT");
    old.close();
  });

  test("wraps its keys by a new period in pieces, and then opens without the old one", () => {
    const options = freshOptions();
    const vault = Vault.open(options, "write");
    const numbers = Array.from({ length: 2500 }, (_, i) => i + 1);
    for (const number of numbers) vault.mint(number);
    vault.sync();
    const keys = numbers.map((number) => copyOfKey(vault, number));
    vault.erase([7, 1500]);
    const periods = new PeriodKeys(options.periods);
    periods.add({ period: 2, key: new Uint8Array(32).fill(2) });
    // What is made meanwhile is under the new period.
    vault.mint(2501);
    vault.sync();
    let rewrapped = 0;
    let pieces = 0;
    for (let first: number | undefined = 1; first !== undefined; pieces++) {
      const piece = vault.rewrap(first);
      if (piece instanceof WarpError) throw piece;
      rewrapped += piece.keys;
      first = piece.next;
    }
    expect([rewrapped, pieces]).toEqual([2498, 3]);
    expect(vault.rewrap(1)).toEqual({ keys: 0, next: 1025 });
    periods.dropOld();
    vault.close();
    const opened = Vault.open(options, "read");
    for (const number of numbers) {
      const key = number === 7 || number === 1500 ? undefined : keys[number - 1];
      expect([number, opened.keyOf(number) && copyOfKey(opened, number)]).toEqual([number, key]);
    }
    opened.close();
  });

  test("with a damaged header, or of a later format, does not open", () => {
    const options = freshOptions();
    const whole = readFileSync(options.path);
    for (const offset of [0, 9, 12, 14, 16, 1000, vaultHeaderBytes - 1]) {
      const bytes = Buffer.from(whole);
      bytes[offset] = (bytes[offset] ?? 0) ^ 0x10;
      writeFileSync(options.path, bytes);
      expect(codeOf(() => Vault.open(options, "read"))).toBe("CORRUPT");
    }
    writeFileSync(options.path, whole.subarray(0, 100));
    expect(codeOf(() => Vault.open(options, "read"))).toBe("CORRUPT");
    const later = Buffer.from(whole);
    later.writeUInt32LE(2, 8);
    later.writeUInt32LE(Bun.hash.crc32(later.subarray(0, vaultHeaderBytes - 4)), vaultHeaderBytes - 4);
    writeFileSync(options.path, later);
    expect(codeOf(() => Vault.open(options, "read"))).toBe("FORMAT_UNSUPPORTED");
  });
});
