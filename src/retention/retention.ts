/**
 * The search for events that may go: every entity of every shard, one after the other, again and again.
 *
 * - It costs one opened run per entity that has nothing to let go, and folds what goes once more.
 * - One order is under way at a time; shard writers carry it out between their rounds. Actors do not notice: neither the
 *   newest run nor a state changes.
 */
import type { Folding } from "../actor/folding.ts";
import type { Reading } from "../actor/storage/reading.ts";
import type { Settling } from "../actor/storage/settling.ts";
import type { ShardState } from "../actor/storage/shard-state.ts";
import { type AboutDropped, aboutDropped } from "../core/dropped.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../core/entry.ts";
import { toWarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import { RetentionRules } from "./rules.ts";

export interface RetentionOptions {
  readonly folding: Folding;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  /** The position up to which a shard is in a backup. */
  readonly backedUpTo: (shard: number) => number;
  readonly logger: Logger;
}

/** What one search let go. */
export interface RetentionReport {
  readonly entities: number;
  readonly runs: number;
  readonly events: number;
}

const numbersAtOnce = 256;
const runsAtOnce = 32;

export class Retention {
  readonly #options: RetentionOptions;
  readonly #rules: RetentionRules;
  #running: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#rules = new RetentionRules(options.folding.plan);
    if (!this.#rules.isEmpty) this.#schedule();
  }

  /** Looks through everything once. Errors: those of reading and folding; what was let go before stays so. */
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
    const report = { entities: 0, runs: 0, events: 0 };
    if (this.#rules.isEmpty) return report;
    for (const shard of this.#options.shards) {
      let after = 0;
      while (!this.#isClosed) {
        const numbers = await this.#options.reading.withRuns(shard.index, after, numbersAtOnce);
        for (const number of numbers) {
          if (this.#isClosed) return report;
          const { runs, events } = await this.#retain(shard, number);
          report.entities += runs > 0 ? 1 : 0;
          report.runs += runs;
          report.events += events;
        }
        if (numbers.length < numbersAtOnce) break;
        after = numbers.at(-1) ?? after;
      }
    }
    return report;
  }

  /** Lets go of what may go of one entity. */
  async #retain(shard: ShardState, number: number): Promise<{ runs: number; events: number }> {
    const { reading, backedUpTo } = this.#options;
    const total = { runs: 0, events: 0 };
    for (;;) {
      const now = Date.now();
      const request = { shard: shard.index, number, limit: runsAtOnce, ...this.#rules.bounds(now) };
      const old = await reading.oldRuns(request).catch(ignoreErased);
      const backedUp = backedUpTo(shard.index);
      const isKept = (run: (typeof old)[number]) => !this.#rules.letsGo(run, now, backedUp);
      const kept = old.findIndex(isKept);
      const going = kept < 0 ? old : old.slice(0, kept);
      const to = going.at(-1)?.end;
      if (to === undefined) return total;
      const dropped = await this.#drop(shard, number, to).catch(ignoreErased);
      if (dropped.length === 0) return total;
      for (const { runs, events } of dropped) {
        total.runs += runs;
        total.events += events;
      }
      if (going.length < runsAtOnce) return total;
    }
  }

  /** Folds what goes into the states before it, and has the writer put the new ones in its place. */
  async #drop(shard: ShardState, number: number, to: number): Promise<{ runs: number; events: number }[]> {
    const { folding, reading, settlings } = this.#options;
    const [entity = ""] = await reading.ids(shard.index, Float64Array.of(number));
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
    if (drafts.length < folding.snapshotVersions.length) return [];
    const order = { shard: shard.index, number, to, states: drafts, about: about.toJson() };
    const runs = (await settlings[shard.writer]?.drop(order)) ?? 0;
    return runs === 0 ? [] : [{ runs, events: to - before }];
  }
}

/** What is known of events that went, as it grows. */
class About {
  readonly #types: Set<string>;
  #recordedAt: number;
  #occurredAt: number;

  constructor(known: AboutDropped | undefined) {
    this.#types = new Set(known?.types);
    this.#recordedAt = known?.recordedAt ?? 0;
    this.#occurredAt = known?.occurredAt ?? 0;
  }

  add(event: { readonly type: string; readonly recordedAt: number; readonly occurredAt?: number }): void {
    this.#types.add(event.type);
    this.#recordedAt = Math.max(this.#recordedAt, event.recordedAt);
    this.#occurredAt = Math.max(this.#occurredAt, event.occurredAt ?? event.recordedAt);
  }

  toJson(): string {
    const about: AboutDropped = {
      types: [...this.#types].sort(),
      recordedAt: this.#recordedAt,
      occurredAt: this.#occurredAt,
    };
    return JSON.stringify(about);
  }
}

/** An entity that is erased meanwhile has nothing left to let go. */
function ignoreErased(thrown: unknown): never[] {
  const error = toWarpError(thrown, "IO_ERROR");
  if (error.code === "ERASED") return [];
  throw error;
}
