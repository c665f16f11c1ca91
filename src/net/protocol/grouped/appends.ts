/**
 * Many appends in one frame: what a client's callers ask within a turn, one event each, of entities that the connection numbers.
 *
 * It stands for as many append requests, one behind the other: ids and delivery counters count up from those of the first.
 * What they have in common is said once, so that a frame costs both sides what a single append did.
 */
import type { FrameReader } from "../frame-reader.ts";
import type { FrameWriter } from "../frame-writer.ts";
import type { Delivery } from "../outcomes.ts";
import { protocolError } from "../protocol-error.ts";
import { type AppendRequest, readDelivery, startRequest, writeDelivery } from "../requests.ts";
import { operation } from "../words.ts";

/** Appends of one frame, of those that this version sends or takes. */
export const groupedAppendsMax = 32;
/** Number of the entity and bytes of the text, 32 bits each. */
const headBytes = 8;
/** Room for all of a frame but its texts: type and session beside the heads. */
export const groupedFrameBytes = 1024 + groupedAppendsMax * headBytes;

/** Writes one frame while its appends are asked for. */
export class AppendsWriter {
  readonly #heads = new Uint32Array(groupedAppendsMax * 2);
  #frame = 0;
  #texts = 0;
  count = 0;

  /** `id` and `delivery` are those of the first append. */
  begin(writer: FrameWriter, id: number, type: string, delivery: Delivery): void {
    this.#frame = startRequest(writer, id, operation.appends, 4);
    writer.str(type);
    writeDelivery(writer, delivery);
    this.#texts = writer.startBytes();
    this.count = 0;
  }

  /** `text` is JSON of a list of one event's data. */
  add(writer: FrameWriter, entity: number, text: string): void {
    const heads = this.#heads;
    const at = this.count++ * 2;
    heads[at] = entity;
    heads[at + 1] = writer.utf8(text);
  }

  end(writer: FrameWriter): void {
    writer.endBytes(this.#texts);
    const heads = writer.startBytes();
    for (let i = 0; i < this.count * 2; i++) writer.u32(this.#heads[i] ?? 0);
    writer.endBytes(heads);
    writer.endFrame(this.#frame);
  }
}

/** The appends of a frame; they are read out of it one by one, as long as the reader stays with it. */
export class GroupedAppends {
  readonly count: number;
  readonly #reader: FrameReader;
  readonly #type: string;
  readonly #delivery: Delivery | undefined;
  readonly #headsAt: number;
  #textAt: number;

  /** Begins behind the operation. Errors: PROTOCOL_ERROR, also for counts and lengths that do not add up. */
  constructor(reader: FrameReader) {
    this.#reader = reader;
    this.#type = reader.knownStr();
    this.#delivery = reader.isNil() ? undefined : readDelivery(reader);
    this.#textAt = reader.span();
    const textsEnd = reader.at;
    this.#headsAt = reader.span();
    const bytes = reader.at - this.#headsAt;
    this.count = bytes / headBytes;
    reader.finish();
    if (bytes === 0 || bytes % headBytes !== 0 || this.count > groupedAppendsMax)
      throw protocolError(`a frame of appends has 1 to ${groupedAppendsMax} of them`);
    let end = this.#textAt;
    for (let i = 0; i < this.count; i++) end += this.#lengthAt(i);
    if (end !== textsEnd) throw protocolError("the lengths of the appends' data do not add up");
  }

  /** The number of the entity of an append, 0 being the first. */
  entityAt(index: number): number {
    return this.#reader.u32At(this.#headsAt + index * headBytes);
  }

  /** The append that comes next; they are asked for in their order. */
  read(index: number): AppendRequest {
    const from = this.#textAt;
    this.#textAt = from + this.#lengthAt(index);
    return {
      entity: this.entityAt(index),
      types: this.#type,
      data: this.#reader.textAt(from, this.#textAt),
      occurred: undefined,
      options: this.#optionsAt(index),
      personal: undefined,
    };
  }

  #lengthAt(index: number): number {
    return this.#reader.u32At(this.#headsAt + index * headBytes + 4);
  }

  #optionsAt(index: number): AppendRequest["options"] {
    const first = this.#delivery;
    if (first === undefined) return undefined;
    const { sessionStart, sessionNumber, counter, behind } = first;
    // All wait for the same oldest write.
    return {
      delivery: {
        sessionStart,
        sessionNumber,
        counter: counter + index,
        behind: behind === undefined ? undefined : behind + index,
      },
    };
  }
}
