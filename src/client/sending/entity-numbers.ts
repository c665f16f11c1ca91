/**
 * The numbers by which a client calls entities on its present connection (docs/protocol.md).
 *
 * - An entity gets one with the second call of its handle, as far as the server lets it; the call says number and id, later ones the
 *   number alone.
 * - When all are taken, one that was not used lately goes to another entity, for one in some calls that lack one: entities that are
 *   called once in a while would take them from each other all the time.
 * - They end with the connection. What is to be sent on another one names the id, and so does what is behind a call that was to tell a
 *   number and is given up.
 */
import { entityIdFault } from "../../core/entity-id.ts";
import { type EntityName, withId } from "../../net/protocol/entity-number.ts";
import { writeAlone } from "./append-group.ts";
import type { Requests } from "./requests.ts";
import type { Slabs } from "./slabs.ts";

/** A handle that may have a number. */
export interface Numberable {
  readonly id: string;
  /** Its number if it is the owner of that; below 0 without. */
  number: number;
}

/** States of {@link Numberable.number} without one. */
export const neverCalled = -2;
const calledOnce = -1;
/** One in so many calls that find all numbers taken may take one. */
const takesOneIn = 8;

export class EntityNumbers {
  #limit = 0;
  #owners: (Numberable | undefined)[] = [];
  #isRecent = new Uint8Array(0);
  #hand = 0;
  #turnedAway = 0;

  /** A connection begins, on which so many may be given. */
  begin(limit: number): void {
    this.#limit = limit;
    this.#isRecent = new Uint8Array(limit);
    this.clear();
  }

  /** None is known to the server any more, or none for certain. */
  clear(): void {
    this.#owners = [];
    this.#hand = 0;
  }

  /** How the next call names the entity. A number that is told with it counts once {@link keep} has heard of it. */
  nameOf(entity: Numberable): EntityName {
    const number = this.numberOf(entity);
    if (number >= 0) return number;
    if (entity.number === neverCalled) {
      entity.number = calledOnce;
      return entity.id;
    }
    const free = this.#free();
    return free < 0 || entityIdFault(entity.id) !== undefined ? entity.id : { number: free, id: entity.id };
  }

  /** The number by which the entity can be named, or -1. */
  numberOf(entity: Numberable): number {
    const { number } = entity;
    if (number < 0 || this.#owners[number] !== entity) return -1;
    this.#isRecent[number] = 1;
    return number;
  }

  /** A call with both is on its way. */
  keep(entity: Numberable, number: number): void {
    this.#owners[number] = entity;
    this.#isRecent[number] = 1;
    entity.number = number;
  }

  /** A number that may be given, or -1. */
  #free(): number {
    if (this.#owners.length < this.#limit) return this.#owners.length;
    if (this.#limit === 0 || ++this.#turnedAway % takesOneIn !== 0) return -1;
    const hand = this.#hand;
    this.#hand = (hand + 1) % this.#limit;
    if (this.#isRecent[hand] === 0) return hand;
    this.#isRecent[hand] = 0;
    return -1;
  }
}

/** Writes the requests from number `from` on once more where they name their entity by a number, so that they name the id. */
export function nameByIds(requests: Requests, from: number, slabs: Slabs): void {
  for (const request of requests) {
    if (request.number < from || request.naming === "id") continue;
    if (request.group !== undefined) {
      writeAlone(request, request.group, slabs);
      continue;
    }
    const frame = request.slab.buffer.subarray(request.from, request.to);
    const writer = slabs.begin(frame.length + request.entity.length * 3 + 8);
    const { at } = writer;
    withId(frame, request.entity, writer);
    request.move(slabs.keep(), at, writer.at);
  }
}
