/**
 * The memory in which requests are encoded, one behind the other, and from which they are sent.
 *
 * - A slab is used again when every request in it was answered: fresh memory costs a page fault per 4 KiB, which is
 *   more than the encoding. An answer proves that the bytes have been sent.
 * - A slab with a request that was given up is never used again: a socket may still be holding it.
 */
import { FrameWriter } from "../../net/protocol/frame-writer.ts";

const slabBytes = 256 * 1024;
/** The first one: a connection of few callers needs no more, and there may be thousands of them. */
const firstBytes = 16 * 1024;
const spareMax = 8;

export interface Slab {
  readonly buffer: Buffer;
  /** Requests in it that are not answered. */
  unanswered: number;
}

export class Slabs {
  readonly writer = new FrameWriter(firstBytes, "requests");
  readonly #spare: Slab[] = [];
  #slab: Slab = { buffer: this.writer.buffer, unanswered: 0 };

  /** The writer, with room for about `bytes` more in one piece. */
  begin(bytes: number): FrameWriter {
    const { writer } = this;
    const { at, capacity } = writer;
    if (at + bytes > capacity && (at > 0 || capacity === firstBytes)) this.#change();
    return writer;
  }

  /** That the writer writes to. */
  get current(): Slab {
    return this.#slab;
  }

  /** The slab of the request that has been written, which is kept until {@link answered}. */
  keep(): Slab {
    // The writer has moved what would not fit to memory of its own.
    if (this.writer.buffer !== this.#slab.buffer) this.#slab = { buffer: this.writer.buffer, unanswered: 0 };
    this.#slab.unanswered++;
    return this.#slab;
  }

  /** One of its requests was answered. */
  answered(slab: Slab): void {
    if (--slab.unanswered > 0) return;
    const { length } = slab.buffer;
    if (length !== slabBytes && length !== firstBytes) return;
    if (slab === this.#slab) this.writer.at = 0;
    else if (length === slabBytes && this.#spare.length < spareMax) this.#spare.push(slab);
  }

  #change(): void {
    this.#slab = this.#spare.pop() ?? { buffer: Buffer.allocUnsafeSlow(slabBytes), unanswered: 0 };
    this.writer.use(this.#slab.buffer);
  }
}
