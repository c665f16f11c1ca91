/**
 * Who was erased out of turn: before the build has come to the erasure in the feed.
 *
 * Pages that were sent before may still have what she said, and what others said of her, up to there. None of it is taken any
 * more, or her rows would come back after the receipt said that they are gone.
 */
import type { Erasure } from "../messages.ts";
import type { EventsOf, FeedRecord } from "./records.ts";

export class ErasedOutOfTurn {
  /** By shard, the numbers of who was erased, and where. */
  readonly #shards = new Map<number, Map<number, number>>();

  add({ shard, number, position }: Pick<Erasure, "shard" | "number" | "position">): void {
    const erased = this.#shards.get(shard) ?? new Map<number, number>();
    erased.set(number, Math.max(position, erased.get(number) ?? 0));
    this.#shards.set(shard, erased);
  }

  /** The erasure at this place of the feed was done out of turn. */
  has({ shard, number, position }: Pick<Erasure, "shard" | "number" | "position">): boolean {
    return position <= (this.#shards.get(shard)?.get(number) ?? 0);
  }

  /** The shard is taken up to here: later pages are known not to have it. */
  passed(shard: number, position: number): void {
    const erased = this.#shards.get(shard);
    if (erased === undefined) return;
    for (const [number, at] of erased) if (at <= position) erased.delete(number);
    if (erased.size === 0) this.#shards.delete(shard);
  }

  /** Records of a shard as they would be read now. */
  without(records: readonly FeedRecord[]): readonly FeedRecord[] {
    const erased = this.#shards.get(records[0]?.shard ?? -1);
    if (erased === undefined) return records;
    return records.map((record) => {
      const isGone = (number: number) => record.position < (erased.get(number) ?? 0);
      const parts = record.parts.filter(({ number }) => !isGone(number));
      return { ...record, parts: parts.map((part) => withoutSubjects(part, isGone)) };
    });
  }
}

function withoutSubjects(part: EventsOf, isGone: (number: number) => boolean): EventsOf {
  const gone = new Set(part.subjects.filter(({ number }) => isGone(number)).map(({ seq }) => seq));
  if (gone.size === 0) return part;
  return {
    ...part,
    events: part.events.map((event) => (gone.has(event.seq) ? { ...event, personal: null } : event)),
    subjects: part.subjects.filter(({ number }) => !isGone(number)),
  };
}
