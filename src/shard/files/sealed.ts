/**
 * What of a shard is encrypted, and with which associated data. The cipher is core/aead.ts.
 *
 * - Associated data: a label for the kind, the context, u16 shard, f64 number and three f64 that the kind defines, so
 *   a value that was moved to another row, shard or context does not open.
 * - The plaintext of runs and snapshots begins with a byte that says whether the rest is compressed (zstd).
 *   Compression comes before encryption: ciphertext has no redundancy left.
 * - A caller key is found by a keyed hash: HMAC-SHA256 under the entity's key, cut to 16 bytes. It dies with the key.
 */
import { open, release, seal } from "../../core/aead.ts";

/** Compressed when at least this large; docs/decisions/0003-run-compression.md has the measurements. */
const compressBytesMin = 4096;
/** … and when it saves at least this share. */
const compressedShareMax = 0.8;
const zstdLevel = 1;

const form = { plain: 0, zstd: 1 } as const;
export const formBytes = 1;
export const keyHashBytes = 16;

type Label = "entity key" | "run" | "snapshot" | "caller key" | "hold" | "backup id" | "personal part";

/** Associated data of one kind, refilled for every call. */
export class Associated {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #at: number;

  constructor(label: Label, context: string, shard: number) {
    const prefix = Buffer.from(`warp ${label}|${context}|`);
    this.#bytes = Buffer.alloc(prefix.length + 34);
    this.#bytes.set(prefix);
    this.#at = prefix.length;
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    this.#view.setUint16(this.#at, shard, true);
  }

  of(number: number, first = 0, second = 0, third = 0): Buffer {
    const at = this.#at + 2;
    this.#view.setFloat64(at, number, true);
    this.#view.setFloat64(at + 8, first, true);
    this.#view.setFloat64(at + 16, second, true);
    this.#view.setFloat64(at + 24, third, true);
    return this.#bytes;
  }
}

/** The associated data of everything in one shard's runs.db. */
export interface ShardAssociated {
  /** seq, count, batch. */
  readonly run: Associated;
  /** Aggregate hash, version, seq. */
  readonly snapshot: Associated;
  /** First seq, count. */
  readonly callerKey: Associated;
  readonly hold: Associated;
  /** Of a subject's number: the host's number, seq. */
  readonly personal: Associated;
}

export function shardAssociated(context: string, shard: number): ShardAssociated {
  return {
    run: new Associated("run", context, shard),
    snapshot: new Associated("snapshot", context, shard),
    callerKey: new Associated("caller key", context, shard),
    hold: new Associated("hold", context, shard),
    personal: new Associated("personal part", context, shard),
  };
}

/**
 * Seals `scratch[1 … end)`, compressed when it pays. The first byte of `scratch` is the caller's gift: it becomes the
 * form byte, so that nothing is copied.
 */
export function sealPacked(key: Uint8Array, scratch: Buffer, end: number, associated: Uint8Array): Buffer {
  if (end >= compressBytesMin) {
    const packed = Bun.zstdCompressSync(scratch.subarray(formBytes, end), { level: zstdLevel });
    if (packed.length < end * compressedShareMax) {
      const plaintext = Buffer.allocUnsafe(formBytes + packed.length);
      plaintext[0] = form.zstd;
      plaintext.set(packed, formBytes);
      const sealed = seal(key, plaintext, associated);
      release(plaintext);
      release(packed);
      return sealed;
    }
    release(packed);
  }
  scratch[0] = form.plain;
  return seal(key, scratch.subarray(0, end), associated);
}

/** What {@link sealPacked} sealed, or undefined when key, associated data or bytes are not those. */
export function openPacked(
  key: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
): Uint8Array | undefined {
  const plaintext = open(key, sealed, associated);
  if (plaintext === undefined) return undefined;
  const body = plaintext.subarray(formBytes);
  if (plaintext[0] === form.plain) return body;
  if (plaintext[0] !== form.zstd) return undefined;
  const unpacked = Bun.zstdDecompressSync(body);
  release(plaintext);
  return unpacked;
}

/** Number that stands for an aggregate in runs.db, where no names are: 48 bits of SHA-256. */
export function aggregateHash(context: string, aggregate: string): number {
  const digest = new Bun.CryptoHasher("sha256").update(`warp aggregate|${context}|${aggregate}`).digest();
  return digest.readUIntLE(0, 6);
}

/** The hash by which a caller key is found. */
export function callerKeyHash(entityKey: Uint8Array, callerKey: Uint8Array): Buffer {
  const hasher = new Bun.CryptoHasher("sha256", entityKey);
  return hasher.update("warp caller key|").update(callerKey).digest().subarray(0, keyHashBytes);
}
