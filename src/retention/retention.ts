/**
 * The search for events that may go: every entity of every shard, one after the other, again and again.
 *
 * - It costs one opened run per entity that has nothing to let go, and folds what goes once more.
 * - An entity that cannot be folded keeps its events; the search goes on with the others and tells once how many there were.
 * - One order is under way at a time; shard writers carry it out between their rounds. Actors do not notice: neither the
 *   newest run nor a state changes.
 * - Nothing goes while a backup is made: it reads page by page, and would have neither the events nor what stands in their place.
 */
import type { Folding } from "../actor/folding.ts";
import type { Reading } from "../actor/storage/reading.ts";
import type { Settling } from "../actor/storage/settling.ts";
import type { ShardState } from "../actor/storage/shard-state.ts";
import { type AboutDropped, aboutDropped, type LastDropped } from "../core/dropped.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../core/entry.ts";
import { toWarpError, type WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import { RetentionRules } from "./rules.ts";

export interface RetentionOptions {
  readonly folding: Folding;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  /** A hold was set on the id before there was the entity; those set since are known to the shard. */
  readonly isHeldAsSubject: (id: string) => Promise<boolean>;
  /** The position up to which a shard is in a backup. */
  readonly backedUpTo: (shard: number) => number;
  /** Does something while no backup is made. */
  readonly apart: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly logger: Logger;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

/** What one search let go. */
export interface RetentionReport {
  readonly entities: number;
  readonly runs: number;
  readonly events: number;
  /** Entities that keep events which may go, because their states cannot be folded. */
  readonly failed: number;
}

/** What became of one entity. */
interface Retained {
  readonly runs: number;
  readonly events: number;
  readonly failure?: WarpError;
}

/** What is wrong with one entity alone. */
const ownFailures: ReadonlySet<string> = new Set([
  "EVENTS_DROPPED",
  "EVOLVE_FAILED",
  "APPLICATION_INVALID",
  "CORRUPT",
]);

const numbersAtOnce = 256;
const runsAtOnce = 32;

export class Retention {
  readonly #options: RetentionOptions;
  readonly #rules: RetentionRules;
  #running: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #isClosed = false;
  #failure: WarpError | undefined;
  /** Ends the waiting for the order under way. */
  #giveUp: ((error: WarpError) => void) | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
    void options.failed.then((error) => {
      this.#failure = error;
      this.#giveUp?.(error);
    });
    this.#rules = new RetentionRules(options.folding.plan);
    if (!this.#rules.isEmpty) this.#schedule();
  }

  /** Looks through everything once. Errors: those of reading and settling; what was let go before stays so. */
  run(): Promise<RetentionReport> {
    const run = this.#running.then(() => this.#run());
    this.#running = run.catch(() => undefined);
    return run;
  }

  /** Ends after the entity that is looked at. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.run()
        .catch((thrown: unknown) => {
          const error = toWarpError(thrown, "IO_ERROR").toWire();
          this.#options.logger.error("retention could not go on; it is tried again", error);
        })
        .finally(() => {
          if (!this.#isClosed) this.#schedule();
        });
    }, limits.retentionEveryMs);
    this.#timer.unref();
  }

  async #run(): Promise<RetentionReport> {
    const report = { entities: 0, runs: 0, events: 0, failed: 0 };
    if (this.#rules.isEmpty) return report;
    let first: WarpError | undefined;
    for (const shard of this.#options.shards) {
      let after = 0;
      while (!this.#isClosed) {
        const numbers = await this.#options.reading.withRuns(shard.index, after, numbersAtOnce);
        for (const number of numbers) {
          if (this.#isClosed) break;
          const { runs, events, failure } = await this.#retain(shard, number);
          report.entities += runs > 0 ? 1 : 0;
          report.runs += runs;
          report.events += events;
          if (failure !== undefined) report.failed++;
          first ??= failure;
        }
        if (numbers.length < numbersAtOnce) break;
        after = numbers.at(-1) ?? after;
      }
    }
    if (first !== undefined) {
      const what = { entities: report.failed, first: first.toWire() };
      this.#options.logger.warn("retention left entities as they are, because they cannot be folded", what);
    }
    return report;
  }

  /** Lets go of what may go of one entity, as far as it can be folded. */
  async #retain(shard: ShardState, number: number): Promise<Retained> {
    const total = { runs: 0, events: 0 };
    try {
      await this.#shorten(shard, number, total);
      return total;
    } catch (thrown) {
      const error = toWarpError(thrown, "IO_ERROR");
      if (error.code === "ERASED") return total;
      if (!ownFailures.has(error.code)) throw error;
      return { ...total, failure: error };
    }
  }

  /** Adds to `total` what went, also when a later part cannot go. */
  async #shorten(shard: ShardState, number: number, total: { runs: number; events: number }): Promise<void> {
    const { reading, backedUpTo } = this.#options;
    for (;;) {
      const now = Date.now();
      const request = { shard: shard.index, number, limit: runsAtOnce, ...this.#rules.bounds(now) };
      const old = await reading.oldRuns(request);
      const backedUp = backedUpTo(shard.index);
      const isKept = (run: (typeof old)[number]) => !this.#rules.letsGo(run, now, backedUp);
      const kept = old.findIndex(isKept);
      const going = kept < 0 ? old : old.slice(0, kept);
      const to = going.at(-1)?.end;
      if (to === undefined) return;
      const { runs, events } = await this.#drop(shard, number, to);
      if (runs === 0) return;
      total.runs += runs;
      total.events += events;
      if (going.length < runsAtOnce) return;
    }
  }

  /** Folds what goes into the states before it, and has the writer put the new ones in its place. */
  async #drop(shard: ShardState, number: number, to: number): Promise<{ runs: number; events: number }> {
    const { folding, reading, apart, isHeldAsSubject } = this.#options;
    const [entity = ""] = await reading.ids(shard.index, Float64Array.of(number));
    if (await isHeldAsSubject(entity)) return { runs: 0, events: 0 };
    const base = await reading.base(shard.index, number, folding.snapshotVersions);
    const begun = folding.begin(entity, base?.snapshots ?? [], base?.dropped);
    const { covered } = begun;
    let { states } = begun;
    const about = new About(base === undefined ? undefined : aboutDropped(base.dropped));
    const before = base?.dropped.seq ?? 0;
    let from: number | undefined = before + 1;
    while (from !== undefined && from <= to) {
      const place = { shard: shard.index, number, from, to, bytesMax: limits.readPageBytes };
      const page = await reading.entries({ ...place, direction: "forward" });
      const bytes = bytesOf(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length);
      let seq = page.firstSeq;
      for (let at = 0; at < page.bytes.length; at += entryLength(bytes, at)) {
        for (const event of readEntry(bytes, at, entity, seq)) {
          if (event.seq > to) continue;
          states = folding.foldStored(states, event, covered);
          about.add(event);
        }
        seq += entryCount(bytes, at);
      }
      from = page.next;
    }
    const drafts = folding.encodeStates(states);
    // A state that cannot be stored has to be folded from the beginning: then nothing may go.
    if (drafts.length < folding.snapshotVersions.length) return { runs: 0, events: 0 };
    const order = {
      ...{ shard: shard.index, number, to, states: drafts },
      ...{ about: about.toJson(), places: about.places },
    };
    const runs = await apart(() => this.#carryOut(shard.writer, order));
    return { runs, events: to - before };
  }

  /** Returns the number of runs. A failed engine answers no order, and others wait for this one. Errors: ENGINE_FAILED. */
  #carryOut(writer: number, order: Parameters<Settling["drop"]>[0]): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#giveUp = reject;
      const dropped = this.#options.settlings[writer]?.drop(order) ?? Promise.resolve(0);
      dropped.then(resolve, reject);
    });
  }
}

/** What is known of events that went, as it grows. */
class About {
  readonly #types: Set<string>;
  readonly #last: Map<string, LastDropped>;
  #recordedAt: number;
  #occurredAt: number;

  constructor(known: AboutDropped | undefined) {
    this.#types = new Set(known?.types);
    this.#last = new Map(known?.last?.map((one) => [one[0], one]));
    this.#recordedAt = known?.recordedAt ?? 0;
    this.#occurredAt = known?.occurredAt ?? 0;
  }

  /** Where the newest of each type stood. */
  get places(): number[] {
    return [...new Set([...this.#last.values()].map(([, position]) => position))];
  }

  /** In the order of seqs. */
  add(event: StoredEvent): void {
    this.#types.add(event.type);
    this.#last.set(event.type, [event.type, event.position, event.recordedAt]);
    this.#recordedAt = Math.max(this.#recordedAt, event.recordedAt);
    this.#occurredAt = Math.max(this.#occurredAt, event.occurredAt ?? event.recordedAt);
  }

  toJson(): string {
    const about: AboutDropped = {
      types: [...this.#types].sort(),
      recordedAt: this.#recordedAt,
      occurredAt: this.#occurredAt,
      last: [...this.#last.values()],
    };
    return JSON.stringify(about);
  }
}
