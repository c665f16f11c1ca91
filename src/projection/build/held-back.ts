/**
 * Taking the events again of an entity that is held back.
 *
 * - It is let go when they reach where the shard is; until then, and from the first that fails, it stays held back, so that
 *   every commit says what is left.
 * - A sink that refuses them is given them record by record, and the entity is held back again from the one at fault on.
 */
import type { FeedPage } from "../../core/feed.ts";
import type { ParkedEntity } from "../messages.ts";
import type { Sink } from "../sink.ts";
import type { Batch } from "./batch.ts";
import { type EventFailure, refusalOf } from "./outcomes.ts";
import type { Patience } from "./patience.ts";
import { readParked } from "./reading-rows.ts";
import type { FeedRecord, RecordReader } from "./records.ts";

export interface HeldBackParts {
  readonly sink: Sink;
  readonly batch: Batch;
  readonly reader: RecordReader;
  readonly patience: Patience;
  /** Commits what was taken. Errors: PROJECTION_FAILED, with the batch as it was. */
  readonly commit: () => Promise<void>;
  /** Up to where the shard is taken. */
  readonly positionOf: (shard: number) => number;
}

export class HeldBack {
  readonly #parts: HeldBackParts;

  constructor(parts: HeldBackParts) {
    this.#parts = parts;
  }

  /** Takes a page of the entity's events, with nothing else in the batch; the failure that holds it back again. */
  async take(number: number, page: FeedPage): Promise<EventFailure | undefined> {
    const { batch, commit, positionOf } = this.#parts;
    let failure: EventFailure | undefined;
    try {
      failure = await this.#take(number, page, false);
      await commit();
    } catch (thrown) {
      refusalOf(thrown);
      batch.clear();
      failure = await this.#take(number, page, true);
    }
    if (failure !== undefined || page.upTo < positionOf(page.shard)) return failure;
    batch.forget(page.shard, number);
    await commit();
    return undefined;
  }

  async #take(number: number, page: FeedPage, isOneByOne: boolean): Promise<EventFailure | undefined> {
    const { sink, batch, reader, patience, commit, positionOf } = this.#parts;
    const all = await patience.with(() => readParked(sink));
    const held = all.find((one) => one.shard === page.shard && one.number === number);
    if (held === undefined) return undefined;
    const place = positionOf(page.shard);
    for (const record of reader.recordsOf(page)) {
      if (record.position < held.position || record.position > place) continue;
      const parts = record.parts
        .filter((part) => part.number === number)
        .map((part) => ({ ...part, events: part.events.filter(({ seq }) => seq >= held.seq) }));
      const again = { ...record, parts };
      let taken = await patience.with(() => batch.takeAgain(again, held));
      while (taken.end === "commit") {
        await commit();
        taken = await patience.with(() => batch.takeAgain(again, held));
      }
      const refused = isOneByOne ? await this.#commitAlone(again, held) : undefined;
      const failure = refused ?? taken.failures[0];
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  /** Commits the record that was taken; the failure when the sink refuses it. */
  async #commitAlone(record: FeedRecord, held: ParkedEntity): Promise<EventFailure | undefined> {
    const { batch, commit } = this.#parts;
    try {
      await commit();
      return undefined;
    } catch (thrown) {
      const { message } = refusalOf(thrown);
      batch.clear();
      const [failure] = batch.giveUp(record, message, held);
      await commit();
      return failure;
    }
  }
}
