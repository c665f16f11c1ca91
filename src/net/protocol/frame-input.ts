/**
 * Cuts what arrives on a connection into frames.
 *
 * - Frames that lie whole in what has arrived are read where they are; only the rest is copied and kept.
 * - A frame takes memory as its bytes arrive, not as its length says.
 */
import { limits } from "../../core/limits.ts";
import { protocolError } from "./protocol-error.ts";
import { lengthBytes } from "./words.ts";

const keptBytesMin = 512;
const nothing = Buffer.alloc(0);

export class FrameInput {
  /** What a frame may have, without its length. */
  frameBytesMax: number;
  bytes: Buffer = nothing;
  /** The frame that {@link next} found, without its length. */
  frameStart = 0;
  frameEnd = 0;
  #from = 0;
  #to = 0;
  #isKept = false;

  constructor(frameBytesMax: number = limits.frameBytesMax) {
    this.frameBytesMax = frameBytesMax;
  }

  /** Bytes that wait to be a whole frame, or to be read. */
  get waiting(): number {
    return this.#to - this.#from;
  }

  /** Memory that is held between arrivals. */
  get keptBytes(): number {
    return this.#isKept ? this.bytes.length : 0;
  }

  /** Where the next frame begins, its length included. */
  get position(): number {
    return this.#from;
  }

  /** Where the whole frame ends that begins at `from`; 0 when it is not there or its length is out of bounds. */
  endOf(from: number): number {
    const length = this.#lengthAt(from);
    const end = from + lengthBytes + length;
    return length === 0 || end > this.#to ? 0 : end;
  }

  /** Takes what has arrived; it must not change until {@link keep}. */
  push(chunk: Buffer): void {
    if (this.waiting === 0) {
      this.bytes = chunk;
      this.#from = 0;
      this.#to = chunk.length;
      this.#isKept = false;
      return;
    }
    this.#room(chunk.length);
    chunk.copy(this.bytes, this.#to);
    this.#to += chunk.length;
  }

  /** Whether a whole frame is there; it is consumed. Errors: PROTOCOL_ERROR for a length out of bounds. */
  next(): boolean {
    const { waiting } = this;
    if (waiting < lengthBytes) return false;
    const from = this.#from;
    const length = this.#lengthAt(from);
    const { frameBytesMax } = this;
    if (length === 0 || length > frameBytesMax) {
      throw protocolError(`a frame has 1 to ${frameBytesMax} bytes, not ${length}`);
    }
    if (waiting < lengthBytes + length) return false;
    this.frameStart = from + lengthBytes;
    this.frameEnd = this.frameStart + length;
    this.#from = this.frameEnd;
    return true;
  }

  /** Forgets everything. */
  drop(): void {
    this.bytes = nothing;
    this.#from = 0;
    this.#to = 0;
    this.#isKept = false;
  }

  /** Copies what waits out of memory that is the caller's. */
  keep(): void {
    const { waiting } = this;
    if (waiting === 0) {
      this.drop();
      return;
    }
    if (this.#isKept) return;
    const kept = Buffer.allocUnsafeSlow(Math.max(keptBytesMin, waiting));
    this.bytes.copy(kept, 0, this.#from, this.#to);
    this.bytes = kept;
    this.#from = 0;
    this.#to = waiting;
    this.#isKept = true;
  }

  #lengthAt(from: number): number {
    const { bytes } = this;
    const high = ((bytes[from] ?? 0) << 8) | (bytes[from + 1] ?? 0);
    return high * 0x10000 + (((bytes[from + 2] ?? 0) << 8) | (bytes[from + 3] ?? 0));
  }

  #room(more: number): void {
    const { waiting } = this;
    if (this.#isKept && this.#to + more <= this.bytes.length) return;
    const isEnough = this.#isKept && waiting + more <= this.bytes.length;
    const target = isEnough
      ? this.bytes
      : Buffer.allocUnsafeSlow(Math.max((waiting + more) * 2, keptBytesMin));
    this.bytes.copy(target, 0, this.#from, this.#to);
    this.bytes = target;
    this.#from = 0;
    this.#to = waiting;
    this.#isKept = true;
  }
}
