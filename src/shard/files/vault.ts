/**
 * The vault: one fixed slot per entity number, which holds the entity's key wrapped by a period key.
 *
 * - A slot is written and fdatasynced before any transaction that needs its key, and never moves.
 * - A slot of zeros has no key: it was erased, or its number was never given out. A number that is given out and has
 *   no key is erased; it never gets another one.
 * - A slot that is neither zero nor whole is damage (CORRUPT with file and offset), never "erased".
 * - Unwrapped keys are cached in one block of memory, direct-mapped by number; `forget` wipes one.
 *
 * Layout, little-endian: a header of 4096 bytes (8 bytes "WARPVALT", u32 format, u16 shard, u16 length of the context,
 * the context, zeros, last a u32 CRC-32 of what is before), then slot 1, 2, 3 … of 64 bytes: u16 period, u16 check (CRC-32 of the
 * other 62 bytes, lower half), 12 bytes nonce, 32 bytes wrapped key, 16 bytes tag.
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { keyBytes, open, seal, sealOverheadBytes } from "../../core/aead.ts";
import { assert, toWarpError, WarpError } from "../../core/errors.ts";
import type { PeriodKey } from "../../core/keyring.ts";
import { PeriodKeys } from "../../core/period-keys.ts";
import { randomBytesPooled } from "../../core/random.ts";
import { replaceFile } from "../../core/replace-file.ts";
import { Associated } from "./sealed.ts";
import { vaultHeader, vaultHeaderBytes, vaultHeaderFault } from "./vault-header.ts";

export const slotBytes = 64;
const sealedAt = 4;
/** The file grows by zeroed chunks of this many slots. */
const chunkSlots = 1024;
const cachedKeysMin = 256;

export interface VaultOptions {
  readonly path: string;
  readonly shard: number;
  readonly context: string;
  /** The period keys (core/period-keys.ts). */
  readonly periods: SharedArrayBuffer;
  /** Unwrapped keys to keep at most. */
  readonly cachedKeysMax: number;
}

/** How many keys of a piece were wrapped anew, and where it goes on; undefined at the end. */
export interface Rewrapped {
  readonly keys: number;
  readonly next: number | undefined;
}

export class Vault {
  readonly #path: string;
  readonly #file: number;
  readonly #periods: PeriodKeys;
  readonly #associated: Associated;
  readonly #cachedKeysMax: number;
  #cachedNumbers = new Float64Array(0);
  #cachedKeys: Uint8Array = new Uint8Array(0);
  #slots: number;
  /** Numbers from here on were never given a key, so their slots need no look. */
  #unusedFrom = 1;
  readonly #slot = Buffer.alloc(slotBytes);
  /** New slots that are not written yet: numbers in rising order, and their bytes. */
  #pending: number[] = [];
  #pendingBytes = Buffer.alloc(64 * slotBytes);

  private constructor(options: VaultOptions, file: number) {
    this.#path = options.path;
    this.#file = file;
    this.#periods = new PeriodKeys(options.periods);
    this.#associated = new Associated("entity key", options.context, options.shard);
    this.#cachedKeysMax = options.cachedKeysMax;
    this.#slots = slotsIn(file);
  }

  /** Makes the file of a new shard, whole or not at all. */
  static create(path: string, context: string, shard: number): void {
    const bytes = Buffer.alloc(vaultHeaderBytes + chunkSlots * slotBytes);
    bytes.set(vaultHeader(context, shard));
    replaceFile(path, bytes);
  }

  /** For writing it is synced: what a killed process wrote may be on no disk yet. Errors: CORRUPT, FORMAT_UNSUPPORTED, CONFIG_MISMATCH. */
  static open(options: VaultOptions, access: "read" | "write"): Vault {
    const file = openSync(options.path, access === "read" ? "r" : "r+");
    try {
      const header = Buffer.alloc(vaultHeaderBytes);
      const length = readSync(file, header, 0, vaultHeaderBytes, 0);
      const fault = vaultHeaderFault(header.subarray(0, length), options);
      if (fault !== undefined) throw fault;
      if (access === "write") fdatasyncSync(file);
      return new Vault(options, file);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** Looks which of the numbers from `nextNumber` on have slots already: a crash may have come after writing them. */
  findUnused(nextNumber: number): void {
    const at = slotOffset(nextNumber);
    const end = slotOffset(this.#slots + 1);
    this.#unusedFrom = nextNumber;
    if (end <= at) return;
    const bytes = Buffer.alloc(end - at);
    const length = readSync(this.#file, bytes, 0, bytes.length, at);
    for (let slot = 0; (slot + 1) * slotBytes <= length; slot++) {
      if (!isZero(bytes, slot * slotBytes)) this.#unusedFrom = nextNumber + slot + 1;
    }
  }

  get slots(): number {
    return this.#slots;
  }

  /**
   * The key of a number, valid until the next call: a view of the cache. Undefined when it was erased.
   * Errors: CORRUPT.
   */
  keyOf(number: number): Uint8Array | undefined {
    const found = this.keyOrFault(number);
    if (found instanceof WarpError) throw found;
    return found;
  }

  /** As {@link keyOf}; of a damaged slot what is wrong with it, for who goes on without the key. */
  keyOrFault(number: number): Uint8Array | WarpError | undefined {
    const capacity = this.#cachedNumbers.length;
    if (capacity > 0) {
      const at = number & (capacity - 1);
      if (this.#cachedNumbers[at] === number) {
        return this.#cachedKeys.subarray(at * keyBytes, (at + 1) * keyBytes);
      }
    }
    // A reader's file grows while it is open.
    if (number > this.#slots) this.#slots = slotsIn(this.#file);
    if (number > this.#slots) return undefined;
    const key = this.#readKey(number);
    if (key instanceof Uint8Array) this.#cache(number, key);
    return key;
  }

  /** Another thread may be writing the slot, in a rotation or an erasure: what is damaged reads the same again. */
  #readKey(number: number): Buffer | WarpError | undefined {
    for (let before: Buffer | undefined; ; ) {
      const length = readSync(this.#file, this.#slot, 0, slotBytes, slotOffset(number));
      if (length !== slotBytes) return this.#damaged(number, "the file ends inside it");
      if (isZero(this.#slot, 0)) return undefined;
      const key = this.#unwrap(number, this.#slot);
      if (typeof key !== "string") return key;
      if (before?.equals(this.#slot)) return this.#damaged(number, key);
      before = Buffer.from(this.#slot);
    }
  }

  /**
   * Gives a number a key if it has none yet. The slot is on disk after the next `sync`, also one that an earlier life wrote: its sync may
   * have failed. One that is torn is made anew: nothing can have been sealed under it. Numbers come in rising order.
   */
  mint(number: number): void {
    let found: Buffer | string = "";
    if (number < this.#unusedFrom && number <= this.#slots) {
      readSync(this.#file, this.#slot, 0, slotBytes, slotOffset(number));
      if (!isZero(this.#slot, 0)) found = this.#unwrap(number, this.#slot);
    }
    const last = this.#pending[this.#pending.length - 1] ?? 0;
    assert(number > last, "keys are made in rising order of their numbers");
    const key = typeof found === "string" ? randomBytesPooled(keyBytes) : found;
    const at = this.#pending.length * slotBytes;
    if (at === this.#pendingBytes.length) {
      this.#pendingBytes = Buffer.concat([this.#pendingBytes], this.#pendingBytes.length * 2);
    }
    this.#wrap(number, key, this.#pendingBytes, at);
    this.#pending.push(number);
    this.#cache(number, key);
  }

  /** Writes what `mint` made, and returns when it is on the disk. Errors: IO_ERROR, DISK_FULL. */
  sync(): void {
    const pending = this.#pending;
    const last = pending[pending.length - 1];
    if (last === undefined) return;
    try {
      if (last > this.#slots) this.#growTo(last);
      this.#writePending();
      fdatasyncSync(this.#file);
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file: this.#path });
    }
    this.#unusedFrom = Math.max(this.#unusedFrom, last + 1);
    this.#pending = [];
  }

  /** Slots of consecutive numbers go in one write. */
  #writePending(): void {
    const pending = this.#pending;
    let from = 0;
    for (let i = 1; i <= pending.length; i++) {
      const first = pending[from] ?? 0;
      if (i < pending.length && pending[i] === first + (i - from)) continue;
      const bytes = this.#pendingBytes.subarray(from * slotBytes, i * slotBytes);
      writeAll(this.#file, bytes, bytes.length, slotOffset(first));
      from = i;
    }
  }

  /** Destroys keys: their slots are zeros on the disk when it returns. Errors: IO_ERROR. */
  erase(numbers: readonly number[]): void {
    const zeros = Buffer.alloc(slotBytes);
    try {
      for (const number of numbers) {
        this.forget(number);
        if (number <= this.#slots) writeAll(this.#file, zeros, slotBytes, slotOffset(number));
      }
      fdatasyncSync(this.#file);
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file: this.#path });
    }
  }

  /**
   * Wraps the keys of some numbers from `first` on by the current period; on the disk when it returns. Slots do not cross
   * sectors, so a power failure leaves each as it was or as it is to be. Returns which slot is damaged, if one is: then nothing
   * was written. Errors: IO_ERROR.
   */
  rewrap(first: number): Rewrapped | WarpError {
    const chunk = Buffer.alloc(chunkSlots * slotBytes);
    const length = readSync(this.#file, chunk, 0, chunk.length, slotOffset(first));
    const { period } = this.#periods.current;
    let keys = 0;
    for (let at = 0; at + slotBytes <= length; at += slotBytes) {
      const number = first + at / slotBytes;
      if (isZero(chunk, at) || chunk.readUInt16LE(at) === period) continue;
      const key = this.#unwrap(number, chunk.subarray(at, at + slotBytes));
      if (typeof key === "string") return this.#damaged(number, key);
      this.#wrap(number, key, chunk, at);
      keys++;
    }
    if (keys > 0) {
      writeAll(this.#file, chunk, length, slotOffset(first));
      fdatasyncSync(this.#file);
    }
    return { keys, next: first + chunkSlots <= this.#slots ? first + chunkSlots : undefined };
  }

  /** Wipes the cached key of a number. */
  forget(number: number): void {
    if (this.#cachedNumbers.length === 0) return;
    const at = number & (this.#cachedNumbers.length - 1);
    if (this.#cachedNumbers[at] !== number) return;
    this.#cachedNumbers[at] = 0;
    this.#cachedKeys.fill(0, at * keyBytes, (at + 1) * keyBytes);
  }

  close(): void {
    this.#cachedKeys.fill(0);
    this.#cachedNumbers.fill(0);
    closeSync(this.#file);
  }

  /** Whether the bytes of a slot hold no key, hold one, or what is wrong with them. */
  slotState(number: number, slot: Buffer): "empty" | "whole" | (string & {}) {
    if (isZero(slot, 0)) return "empty";
    const key = this.#unwrap(number, slot);
    return typeof key === "string" ? key : "whole";
  }

  /** The key in a copy of a number's slot, or what is wrong with it; undefined when the slot is empty. */
  openSlot(number: number, slot: Buffer): Buffer | WarpError | undefined {
    if (isZero(slot, 0)) return undefined;
    const key = this.#unwrap(number, slot);
    return typeof key === "string" ? this.#damaged(number, key) : key;
  }

  #wrap(number: number, key: Uint8Array, out: Buffer, at: number): void {
    wrapSlot(this.#periods.current, this.#associated, number, key, out, at);
  }

  /** The key of a slot, or why there is none. */
  #unwrap(number: number, slot: Buffer): Buffer | string {
    return unwrapSlot((period) => this.#periods.keyOf(period), this.#associated, number, slot);
  }

  #cache(number: number, key: Uint8Array): void {
    const capacity = this.#cachedNumbers.length;
    if (number >= capacity && capacity < this.#cachedKeysMax) this.#growCache(number);
    const at = number & (this.#cachedNumbers.length - 1);
    this.#cachedNumbers[at] = number;
    this.#cachedKeys.set(key, at * keyBytes);
  }

  /** The cache grows with the numbers in use, so that a small shard does not pay for a large one. */
  #growCache(number: number): void {
    const old = { numbers: this.#cachedNumbers, keys: this.#cachedKeys };
    let capacity = Math.max(cachedKeysMin, old.numbers.length);
    while (capacity <= number && capacity * 2 <= this.#cachedKeysMax) capacity *= 2;
    if (capacity === old.numbers.length) return;
    this.#cachedNumbers = new Float64Array(capacity);
    this.#cachedKeys = new Uint8Array(capacity * keyBytes);
    for (let i = 0; i < old.numbers.length; i++) {
      const cached = old.numbers[i] ?? 0;
      if (cached === 0) continue;
      const at = cached & (capacity - 1);
      this.#cachedNumbers[at] = cached;
      this.#cachedKeys.set(old.keys.subarray(i * keyBytes, (i + 1) * keyBytes), at * keyBytes);
    }
    old.keys.fill(0);
  }

  #growTo(number: number): void {
    const slots = Math.ceil(number / chunkSlots) * chunkSlots;
    const zeros = Buffer.alloc((slots - this.#slots) * slotBytes);
    writeAll(this.#file, zeros, zeros.length, slotOffset(this.#slots + 1));
    this.#slots = slots;
  }

  #damaged(number: number, why: string): WarpError {
    const offset = slotOffset(number);
    return new WarpError(
      "CORRUPT",
      `${this.#path}: the slot of number ${number} at ${offset} is damaged: ${why}`,
      {
        file: this.#path,
        offset,
        number,
      },
    );
  }
}

/** Puts the slot of a number with this key at `at`. */
export function wrapSlot(
  under: PeriodKey,
  associated: Associated,
  number: number,
  key: Uint8Array,
  out: Buffer,
  at: number,
): void {
  const sealed = seal(under.key, key, associated.of(number));
  assert(sealed.length === keyBytes + sealOverheadBytes, "a wrapped key fills its slot");
  out.writeUInt16LE(under.period, at);
  out.set(sealed, at + sealedAt);
  out.writeUInt16LE(slotCheck(out, at), at + 2);
}

/** The key in the slot of a number, or why there is none. */
export function unwrapSlot(
  keyOf: (period: number) => Uint8Array | undefined,
  associated: Associated,
  number: number,
  slot: Buffer,
): Buffer | string {
  if (slot.readUInt16LE(2) !== slotCheck(slot, 0)) return "its check does not match";
  const periodKey = keyOf(slot.readUInt16LE(0));
  if (periodKey === undefined) return `the keyring has no period ${slot.readUInt16LE(0)}`;
  const key = open(periodKey, slot.subarray(sealedAt), associated.of(number));
  return key ?? "its tag does not match";
}

const slotsIn = (file: number): number => Math.floor((fstatSync(file).size - vaultHeaderBytes) / slotBytes);

export function slotOffset(number: number): number {
  return vaultHeaderBytes + (number - 1) * slotBytes;
}

/** Lower half of the CRC-32 over a slot but for the check itself. */
function slotCheck(bytes: Buffer, at: number): number {
  const period = Bun.hash.crc32(bytes.subarray(at, at + 2));
  return Bun.hash.crc32(bytes.subarray(at + sealedAt, at + slotBytes), period) & 0xffff;
}

function isZero(bytes: Buffer, at: number): boolean {
  for (let i = at; i < at + slotBytes; i++) if (bytes[i] !== 0) return false;
  return true;
}

function writeAll(file: number, bytes: Uint8Array, length: number, offset: number): void {
  for (let at = 0; at < length; ) at += writeSync(file, bytes, at, length - at, offset + at);
}
