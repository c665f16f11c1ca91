/**
 * What remains to be done for entities that are fenced: their rows, then their names once every follower has passed.
 *
 * One loop over all shards, a slice at a time; writers settle rounds between the slices.
 */
import type { Actor } from "../actor/actor.ts";
import type { Erased } from "../actor/storage/eraser.ts";
import type { Reading } from "../actor/storage/reading.ts";
import type { Settling } from "../actor/storage/settling.ts";
import type { ErasureFollower, ErasureFollowers } from "../core/erasure.ts";
import { stepDone } from "../core/erasure-steps.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { SweptEntity } from "../shard/messages.ts";

export interface TidyingParts {
  readonly settlings: readonly Settling[];
  readonly reading: Reading;
  readonly followers: ErasureFollowers;
  readonly logger: Logger;
}

/** Rows that one writer removes before it looks at its rounds again, and their bytes: it reads and frees each page of them. */
const sliceRows = 2000;
const sliceBytes = 8 << 20;
/** Names are removed together: vacuuming costs as much for one as for a thousand. */
const gatherMs = 250;
/** Somebody outside reads an older state of a names.db: that shard is tried again after this time, twice as long each time. */
const againMs = 100;
const againMsMax = 5000;

/** An erasure from its fence to its receipt. */
export class UnderWay {
  readonly actor: Actor;
  readonly erased: Erased;
  swept: SweptEntity | undefined;
  /** False as long as a journal segment that can be read may hold a record of the entity. */
  isOutOfJournal = false;
  isReleased = false;
  /** Followers that have not passed. */
  missing: readonly string[] = [];
  readonly #complete = Promise.withResolvers<void>();

  constructor(actor: Actor, erased: Erased) {
    this.actor = actor;
    this.erased = erased;
    if (erased.number === 0) this.#complete.resolve();
  }

  /** Resolves when nothing is pending. */
  get complete(): Promise<void> {
    return this.#complete.promise;
  }

  /** What it waits for, in words. */
  get pending(): string[] {
    if (this.erased.number === 0) return [];
    const pending = [...this.missing];
    if (!this.isOutOfJournal) pending.push("the journal's segments");
    if (this.swept === undefined) pending.push("the rows of its shard");
    else if (!this.isReleased) pending.push("its name");
    return pending;
  }

  check(): void {
    if (this.pending.length === 0) this.#complete.resolve();
  }
}

export class Tidying {
  readonly #parts: TidyingParts;
  /** By shard and number. */
  readonly #underWay = new Map<string, UnderWay>();
  /** Swept entities that every follower has passed. */
  #passed: SweptEntity[] = [];
  #isRunning = false;
  #isDue = false;
  #isClosed = false;
  #lastRelease = 0;
  /** Shards where somebody is in the way, until they are tried again, and how long is waited the next time. */
  readonly #blocked = new Map<number, Timer>();
  readonly #againMs = new Map<number, number>();
  /** How often followers are waited for. */
  #passing = 0;
  readonly #idle: (() => void)[] = [];

  constructor(parts: TidyingParts) {
    this.#parts = parts;
  }

  /** Takes in an entity that is fenced; the next slices find its rows once the fence is settled. */
  add(underWay: UnderWay): void {
    const { shard } = underWay.actor;
    this.#underWay.set(nameOf(shard.index, underWay.erased.number), underWay);
  }

  /** There are, or may be, rows to remove. */
  wake(): void {
    if (this.#isClosed) return;
    this.#isDue = true;
    if (this.#isRunning) return;
    void this.#run();
  }

  /** Waits for nothing but Workers, which never refuse: when they fail, the engine does, and this waits for ever. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (!this.#isClosed && (this.#isDue || this.#isFree)) {
      this.#isDue = false;
      const slices = await Promise.all(
        this.#parts.settlings.map((settling) => settling.sweep(sliceRows, sliceBytes)),
      );
      const hasMore = slices.some((slice) => slice.hasMore);
      this.#isDue ||= hasMore;
      this.#takeSwept(slices.flatMap((slice) => slice.entities));
      const isLate = Date.now() - this.#lastRelease > gatherMs;
      if (this.#isFree && (!hasMore || isLate)) await this.#release();
    }
    this.#isRunning = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** There are names that nobody is known to be in the way of. */
  get #isFree(): boolean {
    return this.#passed.some(({ shard }) => !this.#blocked.has(shard));
  }

  /** Nothing is begun or tried again. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#blocked.values()) clearTimeout(timer);
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when nothing is left to do, and no follower is waited for. Errors: CLOSED when that is left to the next start. */
  async whenIdle(): Promise<void> {
    const isBusy = () => this.#isRunning || this.#passing > 0 || this.#blocked.size > 0;
    while (isBusy() && !this.#isClosed) await new Promise<void>((resolve) => this.#idle.push(resolve));
    if (this.#isClosed && (isBusy() || this.#isDue || this.#underWay.size > 0))
      throw new WarpError("CLOSED", "this context is closed");
  }

  /** Rows are gone; names may go when the followers have passed these erasures, each of them. */
  #takeSwept(entities: readonly SweptEntity[]): void {
    for (const [shard, swept] of byShard(entities)) {
      const followers = this.#parts.followers.all;
      const isMissing = new Set(followers.map(({ name }) => name));
      const known = swept.map((entity) => ({ entity, underWay: this.#find(entity) }));
      const tell = () => {
        for (const { underWay } of known) if (underWay !== undefined) underWay.missing = [...isMissing];
      };
      for (const { entity, underWay } of known) if (underWay !== undefined) underWay.swept = entity;
      tell();
      const passing = followers.map(async (follower) => {
        // Each by itself: one that follows nothing at the time cleans what it is asked for, and no more.
        await Promise.all(swept.map(({ position }) => this.#waitFor(follower, shard, position)));
        isMissing.delete(follower.name);
        tell();
      });
      const pass = () => {
        stepDone("followers", shard);
        this.#passed.push(...swept);
      };
      if (passing.length === 0) {
        pass();
        continue;
      }
      this.#passing++;
      void Promise.all(passing)
        .then(pass, () => {})
        .then(() => {
          this.#passing--;
          this.wake();
        });
    }
  }

  async #waitFor(follower: ErasureFollower, shard: number, position: number): Promise<void> {
    try {
      await follower.passed(shard, position);
    } catch (thrown) {
      const error = toWarpError(thrown, "ENGINE_FAILED").toWire();
      const details = { ...error, follower: follower.name };
      if (!this.#isClosed && error.code !== "CLOSED")
        this.#parts.logger.warn("an erasure stays pending until the next start", details);
      throw thrown;
    }
  }

  async #release(): Promise<void> {
    const { settlings, reading } = this.#parts;
    const shards = byShard(this.#passed.filter(({ shard }) => !this.#blocked.has(shard)));
    this.#passed = this.#passed.filter(({ shard }) => this.#blocked.has(shard));
    // A reader that has the files open could keep a WAL from being emptied.
    for (const shard of shards.keys()) reading.forget(shard, []);
    const released = await Promise.all(
      settlings.map((settling) => {
        const own = [...shards].filter(([shard]) => settling.owns(shard));
        if (own.length === 0) return [];
        return settling.release(
          own.map(([shard, swept]) => ({ shard, numbers: swept.map(({ number }) => number) })),
        );
      }),
    );
    this.#lastRelease = Date.now();
    const done = new Set(released.flat());
    for (const [shard, swept] of shards) {
      if (done.has(shard)) {
        this.#againMs.delete(shard);
        for (const entity of swept) this.#done(entity);
      } else {
        this.#passed.push(...swept);
        this.#tryAgainLater(shard);
      }
    }
  }

  #tryAgainLater(shard: number): void {
    const ms = this.#againMs.get(shard) ?? againMs;
    this.#againMs.set(shard, Math.min(againMsMax, ms * 2));
    const timer = setTimeout(() => {
      this.#blocked.delete(shard);
      this.wake();
    }, ms);
    this.#blocked.set(shard, timer);
  }

  #done(entity: SweptEntity): void {
    const underWay = this.#find(entity);
    this.#underWay.delete(nameOf(entity.shard, entity.number));
    if (underWay === undefined) return;
    underWay.isReleased = true;
    underWay.check();
  }

  #find({ shard, number }: SweptEntity): UnderWay | undefined {
    return this.#underWay.get(nameOf(shard, number));
  }
}

function nameOf(shard: number, number: number): string {
  return `${shard}/${number}`;
}

function byShard(entities: readonly SweptEntity[]): Map<number, SweptEntity[]> {
  return Map.groupBy(entities, ({ shard }) => shard);
}
