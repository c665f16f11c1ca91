/**
 * Many outcomes in one frame: what a server answers to appends that came in one frame, when they did what nearly all do,
 * append one event now. Everything else is answered as any request is.
 *
 * An outcome takes 24 bytes: id and shard of 32 bits, seq and position of 64.
 */
import type { FrameReader } from "../frame-reader.ts";
import type { FrameWriter } from "../frame-writer.ts";
import type { Appended } from "../outcomes.ts";
import { protocolError } from "../protocol-error.ts";
import { frameKind } from "../words.ts";

const outcomeBytes = 24;
/** A client gives out answers some at a time, and a frame at once. */
const outcomesMax = 32;
const two32 = 2 ** 32;

/** Adds outcomes to a frame for as long as nothing else is written behind it. */
export class OutcomesWriter {
  #frame = 0;
  #bytes = 0;
  #end = -1;

  /** The next outcome begins another frame: this one is being sent. */
  close(): void {
    this.#end = -1;
  }

  add(writer: FrameWriter, id: number, { shard, seq, position }: Appended): void {
    if (writer.at !== this.#end || this.#end - this.#bytes === outcomesMax * outcomeBytes) {
      this.#frame = writer.startFrame(2);
      writer.num(frameKind.outcomes);
      this.#bytes = writer.startBytes();
    }
    writer.u32(id);
    writer.u32(shard);
    writer.u32(Math.floor(seq / two32));
    writer.u32(seq >>> 0);
    writer.u32(Math.floor(position / two32));
    writer.u32(position >>> 0);
    writer.endBytes(this.#bytes);
    writer.endFrame(this.#frame);
    this.#end = writer.at;
  }
}

/** Calls `take` with the id and the outcome of each of a frame, beginning behind its kind; returns how many there are. */
export function readOutcomes(reader: FrameReader, take: (id: number, outcome: Appended) => void): number {
  const from = reader.span();
  const end = reader.at;
  reader.finish();
  if ((end - from) % outcomeBytes !== 0) throw protocolError("a frame of outcomes ends in the middle of one");
  for (let at = from; at < end; at += outcomeBytes) {
    const seq = reader.u32At(at + 8) * two32 + reader.u32At(at + 12);
    take(reader.u32At(at), {
      ok: true,
      seq,
      firstSeq: seq,
      count: 1,
      duplicate: false,
      shard: reader.u32At(at + 4),
      position: reader.u32At(at + 16) * two32 + reader.u32At(at + 20),
    });
  }
  return (end - from) / outcomeBytes;
}
