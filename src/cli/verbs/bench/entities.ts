/**
 * The entities that a run drives, by number: their handles, and how many events those were given that are verified at its end.
 *
 * That is a sample, because a count that is not in the processor's cache would cost the load a thirtieth of an append.
 */
import type { Payments } from "./payload.ts";
import type { DrivenEntity, EntitySource } from "./subject.ts";

export interface DrivenOptions {
  readonly source: EntitySource;
  /** What ids begin with, before the number. */
  readonly prefix?: string;
  /** Entities in the directory. */
  readonly entities: number;
  /** The first so many of them are driven. */
  readonly active: number;
  /** Look an entity up by its id at every call, as a server does, instead of keeping its handle. */
  readonly lookup: boolean;
}

const usualPrefix = "entity-";
const setupCallers = 512;
const samplesMax = 1000;
const historyCallers = 16;
const historyBatch = 500;

export class DrivenEntities {
  readonly active: number;
  readonly #source: EntitySource;
  readonly #prefix: string;
  readonly #entities: number;
  readonly #lookup: boolean;
  readonly #handles: (DrivenEntity | undefined)[];
  /** Events of each entity; during a load those of the sample alone are kept up. */
  readonly #given: Uint32Array;
  /** One of so many entities is in the sample. */
  readonly #sampleEvery: number;

  constructor({ source, prefix = usualPrefix, entities, active, lookup }: DrivenOptions) {
    this.#source = source;
    this.#prefix = prefix;
    this.#entities = entities;
    this.active = active;
    this.#lookup = lookup;
    this.#handles = new Array(lookup ? 0 : active).fill(undefined);
    this.#given = new Uint32Array(entities);
    this.#sampleEvery = Math.ceil(active / samplesMax);
  }

  entity(number: number): DrivenEntity {
    if (this.#lookup) return this.#source.entity(this.#idOf(number));
    const known = this.#handles[number];
    if (known !== undefined) return known;
    const made = this.#source.entity(this.#idOf(number));
    this.#handles[number] = made;
    return made;
  }

  /** Hears that this entity was given `count` events more. */
  note(number: number, count: number): void {
    if (number % this.#sampleEvery === 0) this.#add(number, count);
  }

  /** Gives every entity of the directory, or the first `count` of them, an event. */
  async create(payments: Payments, count: number = this.#entities): Promise<void> {
    let next = 0;
    const caller = async () => {
      while (next < count) {
        const number = next++;
        const result = await this.#source.entity(this.#idOf(number)).append(payments.event());
        if (result.ok) this.#add(number, 1);
      }
    };
    await Promise.all(Array.from({ length: setupCallers }, caller));
  }

  /** Gives every driven entity events until it has `count`. */
  async giveHistory(payments: Payments, count: number): Promise<void> {
    let next = 0;
    const caller = async () => {
      while (next < this.active) {
        const number = next++;
        for (let missing = count - (this.#given[number] ?? 0); missing > 0; missing -= historyBatch) {
          const size = Math.min(missing, historyBatch);
          const result = await this.entity(number).appendBatch(payments.batch(size));
          if (result.ok) this.#add(number, size);
        }
      }
    };
    await Promise.all(Array.from({ length: historyCallers }, caller));
  }

  /** Carries on with a context that was opened again. */
  reopened(source: EntitySource): DrivenEntities {
    const again = new DrivenEntities({
      source,
      prefix: this.#prefix,
      entities: this.#entities,
      active: this.active,
      lookup: this.#lookup,
    });
    again.#given.set(this.#given);
    return again;
  }

  /** Throws unless the entities of the sample have exactly the events that they were given; returns how many they are. */
  async verify(): Promise<number> {
    let verified = 0;
    for (let number = 0; number < this.active; number += this.#sampleEvery) {
      const id = this.#idOf(number);
      const seq = await this.#source.entity(id).seq();
      if (seq !== this.#given[number]) {
        throw new Error(`${id} has ${seq} events and was given ${this.#given[number]}`);
      }
      verified++;
    }
    return verified;
  }

  #add(number: number, count: number): void {
    this.#given[number] = (this.#given[number] ?? 0) + count;
  }

  #idOf(number: number): string {
    return `${this.#prefix}${number}`;
  }
}

export function idOf(number: number): string {
  return `${usualPrefix}${number}`;
}
