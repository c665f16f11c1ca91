/**
 * Replaying one entity from its own history, so that following it costs what it has and not what its shard has.
 *
 * It reads settled runs only, up to a settled position that was fixed when it began. What is behind that comes from the
 * feed. Seqs and positions of an entity rise together, so a position is found by seq.
 */
import type { Reading } from "../actor/storage/reading.ts";
import { aboutDropped } from "../core/dropped.ts";
import { type Bytes, bytesOf, entryCount, entryLength, entryPosition, readEntry } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { EntriesPage } from "../shard/messages.ts";
import { Chunk, noteSubjects, type Subjects } from "./chunk.ts";
import type { Filter } from "./filter.ts";

interface Replayed {
  readonly chunks: readonly Chunk[];
  readonly upTo: number;
}

/** Events of one record, and where they stand in a page. */
interface Entry {
  readonly bytes: Bytes;
  readonly at: number;
  readonly seq: number;
  readonly position: number;
  readonly events: StoredEvent[];
}

export class EntityReplay {
  readonly #reading: Reading;
  readonly #filter: Filter;
  readonly #entity: string;
  readonly #shard: number;
  /** It ends at this position. */
  readonly to: number;
  #number = 0;
  #nextSeq = 0;

  constructor(reading: Reading, filter: Filter, entity: string, shard: number, to: number) {
    this.#reading = reading;
    this.#filter = filter;
    this.#entity = entity;
    this.#shard = shard;
    this.to = to;
  }

  /**
   * The next events behind `after`, and what of them is gone, up to `upTo`; at its end, everything up to `to` has been looked at.
   */
  async next(after: number): Promise<Replayed> {
    try {
      return await this.#next(after);
    } catch (thrown) {
      // She was erased behind `to`: the feed tells it, which is read from there on.
      if (thrown instanceof WarpError && thrown.code === "ERASED") return { chunks: [], upTo: this.to };
      throw thrown;
    }
  }

  async #next(after: number): Promise<Replayed> {
    if (this.#nextSeq === 0) await this.#begin(after);
    const page = this.#number === 0 ? undefined : await this.#page(this.#nextSeq);
    const events: StoredEvent[] = [];
    const subjects = new Map<StoredEvent, number>();
    const bytes = page?.bytes.length ?? 0;
    const gap = page === undefined ? undefined : this.#gap(page, after);
    const begin = gap?.upTo ?? after;
    let upTo = begin;
    const done = (end: number) => {
      const chunk = events.length > 0 ? [this.#chunk(begin, end, events, bytes, subjects)] : [];
      return { chunks: gap === undefined ? chunk : [gap, ...chunk], upTo: end };
    };
    for (const entry of page === undefined ? [] : this.#entries(page)) {
      if (entry.position > this.to) return done(this.to);
      if (entry.position <= after) continue;
      const selected = this.#filter.select(entry.events);
      for (const event of selected) events.push(event);
      noteSubjects(subjects, selected, entry.bytes, entry.at, entry.seq);
      upTo = entry.position;
    }
    if (page?.next === undefined) return done(this.to);
    this.#nextSeq = page.next;
    return done(upTo);
  }

  /** What of a page's beginning is gone that the filter would have let through. */
  #gap({ dropped }: EntriesPage, after: number): Chunk | undefined {
    const last = dropped === undefined ? [] : (aboutDropped(dropped).last ?? []);
    const newest = this.#filter.lastDropped(last);
    if (dropped === undefined || newest === undefined) return undefined;
    const upTo = newest.position;
    if (upTo <= after || upTo > this.to) return undefined;
    const gap = { entity: this.#entity, droppedTo: dropped.seq, ...newest };
    return new Chunk({ shard: this.#shard, after, upTo }, [], [this.#number], 0, { gap });
  }

  #chunk(
    after: number,
    upTo: number,
    events: readonly StoredEvent[],
    bytes: number,
    subjects: Subjects,
  ): Chunk {
    const numbers = new Array<number>(events.length).fill(this.#number);
    return new Chunk({ shard: this.#shard, after, upTo }, events, numbers, bytes, { subjects });
  }

  /** Finds the entity, and its first seq whose position is behind `after` (or one in front of it, of the same run). */
  async #begin(after: number): Promise<void> {
    this.#nextSeq = 1;
    const prefix = this.#entity;
    const [name] = await this.#reading.names({ shard: this.#shard, prefix, after: undefined, limit: 1 });
    if (name?.entity !== this.#entity) return;
    this.#number = name.number;
    if (after === 0) return;
    let low = 1;
    let high = name.seq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const [first] = this.#entries(await this.#page(middle, 1));
      if (first === undefined || first.position > after) high = middle;
      else low = middle + 1;
    }
    this.#nextSeq = Math.max(1, low - 1);
  }

  #page(from: number, bytesMax: number = limits.followPageBytes): Promise<EntriesPage> {
    const to = Number.MAX_SAFE_INTEGER;
    const direction = "forward" as const;
    return this.#reading.entries({ shard: this.#shard, number: this.#number, from, to, direction, bytesMax });
  }

  *#entries(page: EntriesPage): Generator<Entry> {
    const { buffer, byteOffset, length } = page.bytes;
    const bytes = bytesOf(buffer, byteOffset, length);
    let seq = page.firstSeq;
    for (let at = 0; at < length; at += entryLength(bytes, at)) {
      const events = readEntry(bytes, at, this.#entity, seq);
      yield { bytes, at, seq, position: entryPosition(bytes, at), events };
      seq += entryCount(bytes, at);
    }
  }
}
