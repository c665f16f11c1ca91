/**
 * Appends of one turn that lie in one frame (docs/protocol.md, *appends*): one event each, of one type, of entities that the
 * connection numbers.
 *
 * A group is sent whole or not at all. When one of its appends is given up before that, or when the connection ends, those
 * that are left are written once more, each as a request of its own.
 */
import { writeAppend } from "../../net/protocol/requests.ts";
import type { Delivery } from "../../net/protocol/outcomes.ts";
import type { Request, Requests } from "./requests.ts";
import type { Slab, Slabs } from "./slabs.ts";

export class AppendGroup {
  /** Number of its first request; the others follow it without a gap. */
  readonly first: number;
  count = 0;
  readonly type: string;
  readonly sessionStart: number;
  readonly sessionNumber: number;
  /** No older write waited for its answer when the group began. */
  readonly oldestWrite: number;
  readonly slab: Slab;
  /** Where its frame lies in the slab; `to` once it is closed. */
  readonly from: number;
  to = 0;

  constructor(
    type: string,
    { sessionStart, sessionNumber, counter, behind = 0 }: Delivery,
    slab: Slab,
    from: number,
  ) {
    this.first = counter;
    this.type = type;
    this.sessionStart = sessionStart;
    this.sessionNumber = sessionNumber;
    this.oldestWrite = counter - behind;
    this.slab = slab;
    this.from = from;
  }

  /** Whether a request of this type and delivery can be its next one. */
  continues(type: string, delivery: Delivery): boolean {
    return (
      delivery.counter === this.first + this.count &&
      type === this.type &&
      delivery.sessionNumber === this.sessionNumber &&
      delivery.sessionStart === this.sessionStart
    );
  }

  /** Writes those of its requests that still wait once more, as requests of their own that name the id. */
  dissolve(requests: Requests, slabs: Slabs): void {
    for (let number = this.first; number < this.first + this.count; number++) {
      const request = requests.get(number);
      if (request !== undefined) writeAlone(request, this, slabs);
    }
  }
}

/** Writes a request of a group once more. The delivery id stays what it was, so a repeat counts once. */
export function writeAlone(request: Request, group: AppendGroup, slabs: Slabs): void {
  const { number, entity } = request;
  const data = request.slab.buffer.toString("utf8", request.from, request.to);
  const { type, sessionStart, sessionNumber, oldestWrite } = group;
  const delivery = { sessionStart, sessionNumber, counter: number, behind: number - oldestWrite };
  const writer = slabs.begin((data.length + type.length + entity.length) * 3 + 128);
  const { at } = writer;
  writeAppend(writer, number >>> 0, entity, { types: type, data, occurred: undefined }, undefined, delivery);
  request.move(slabs.keep(), at, writer.at);
}
