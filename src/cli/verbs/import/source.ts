/**
 * Where an import reads from: a file or standard input, unpacked when it is gzip.
 *
 * A regular file's identity is its base name, its size and a hash of its first and last 64 KiB: enough to tell two exports
 * apart, and quick for a file of any size. Standard input and pipes have none.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { toWarpError, WarpError } from "../../../core/errors.ts";

const pieceBytes = 256 * 1024;
const identityBytes = 64 * 1024;

export interface Source {
  /** Base name without `.gz`; "-" for standard input. */
  readonly name: string;
  /** What names this input among imports; undefined for what is no regular file. */
  readonly identity: string | undefined;
  /** Bytes there are to read, before unpacking; undefined for what is no regular file. */
  readonly bytesTotal: number | undefined;
  /** Bytes read so far, before unpacking. */
  readonly bytesRead: number;
  /** The unpacked bytes. Errors: IO_ERROR, and INVALID_ARGUMENT when the gzip is damaged or cut off. */
  pieces(): AsyncGenerator<Buffer>;
  close(): Promise<void>;
}

/** Opens a file, or standard input for "-". Errors: IO_ERROR with `details.errno`. */
export async function openSource(path: string): Promise<Source> {
  if (path === "-") return new ByteSource("-", Bun.stdin.stream());
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const stats = await file.stat();
    const base = basename(path);
    // A named pipe has no size and no end to look at, so it is like standard input.
    if (!stats.isFile()) return new ByteSource(base, readPieces(file), file);
    const identity = await identityOf(file, base, stats.size);
    return new ByteSource(base, readPieces(file), file, { identity, bytesTotal: stats.size });
  } catch (error) {
    await file?.close();
    throw toWarpError(error, "IO_ERROR", { file: path });
  }
}

async function identityOf(file: FileHandle, base: string, size: number): Promise<string> {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(identityBytes);
  for (const at of [0, Math.max(0, size - identityBytes)]) {
    const { bytesRead } = await file.read(buffer, 0, identityBytes, at);
    hash.update(buffer.subarray(0, bytesRead));
  }
  return `${base}:${hash.update(String(size)).digest("hex").slice(0, 16)}`;
}

async function* readPieces(file: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

class ByteSource implements Source {
  readonly name: string;
  readonly identity: string | undefined;
  readonly bytesTotal: number | undefined;
  bytesRead = 0;
  private readonly raw: AsyncIterable<Uint8Array>;
  private readonly file: FileHandle | undefined;
  private readonly isNamedGzip: boolean;

  constructor(
    base: string,
    raw: AsyncIterable<Uint8Array>,
    file?: FileHandle,
    known?: { identity: string; bytesTotal: number },
  ) {
    this.isNamedGzip = base.toLowerCase().endsWith(".gz");
    this.name = this.isNamedGzip ? base.slice(0, -3) : base;
    this.identity = known?.identity;
    this.bytesTotal = known?.bytesTotal;
    this.raw = raw;
    this.file = file;
  }

  async close(): Promise<void> {
    await this.file?.close();
  }

  async *pieces(): AsyncGenerator<Buffer> {
    const counted = this.counted();
    const first = await counted.next();
    if (first.done === true) {
      if (this.isNamedGzip) throw damagedGzip("it is empty");
      return;
    }
    const all = startingWith(first.value, counted);
    if (this.isNamedGzip || (first.value[0] === 0x1f && first.value[1] === 0x8b)) yield* unpack(all);
    else yield* all;
  }

  private async *counted(): AsyncGenerator<Buffer> {
    try {
      for await (const piece of this.raw) {
        this.bytesRead += piece.length;
        if (piece.length > 0) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      }
    } catch (error) {
      throw toWarpError(error, "IO_ERROR", { file: this.name });
    }
  }
}

async function* startingWith(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

async function* unpack(packed: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: pieceBytes });
  const input = Readable.from(packed, { objectMode: false });
  // `pipe` does not hand errors on.
  input.on("error", (error) => gunzip.destroy(error));
  input.pipe(gunzip);
  try {
    for await (const piece of gunzip) yield piece as Buffer;
  } catch (error) {
    const isGzipError = error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
    throw isGzipError ? damagedGzip(error.message) : toWarpError(error, "IO_ERROR");
  } finally {
    input.destroy();
  }
}

function damagedGzip(why: string): WarpError {
  return new WarpError("INVALID_ARGUMENT", `the gzip input is damaged or cut off: ${why}`);
}
