/**
 * One projection as the main thread runs it: the build that queries see, and the one that is made to take its place.
 *
 * - The first build is seen from the start. A later one, for a new version, a rebuild, or because the rows of the present
 *   one are worthless, is seen when it has caught up; until then the present one stays.
 * - A build whose handlers are gone (an older version that the application does not export any more) stands still.
 * - Tables that changed without a new version are CONFIG_MISMATCH: the rows stay as they are, and nothing is added.
 * - What cannot be done now, because the disk is full or a database is away, is tried again.
 */
import type { ErasureFollower } from "../core/erasure.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { FeedSource } from "../core/feed.ts";
import type { Logger } from "../core/logger.ts";
import { erasureNow } from "./build/records.ts";
import { Builds, Ending } from "./builds.ts";
import { Changes } from "./changes.ts";
import type { BuildRecord, Control } from "./control.ts";
import { type Projection, schemaOf } from "./definition.ts";
import { Feeder } from "./feeder.ts";
import type { ParkedEntity } from "./messages.ts";
import type { Places } from "./places.ts";
import { committedIn } from "./progress.ts";
import { Retry } from "./retry.ts";
import { type ProjectionStatus, statusOf } from "./status.ts";

export interface RunningParts {
  readonly application: string;
  readonly source: FeedSource;
  readonly control: Control;
  readonly places: Places;
  readonly startWorker: () => Worker;
  readonly logger: Logger;
}

export class RunningProjection implements ErasureFollower {
  /** For receipts of erasures. */
  readonly name: string;
  readonly #projection: string;
  readonly #parts: RunningParts;
  /** By version. */
  readonly #declared: ReadonlyMap<number, Projection>;
  readonly #newest: Projection | undefined;
  readonly #builds: Builds;
  #live: Feeder | undefined;
  #building: Feeder | undefined;
  #buildingRecord: BuildRecord | undefined;
  #isSwapping = false;
  /** A rebuild that has not begun yet, and its build. */
  #beginning: Promise<void> | undefined;
  #beginningRecord: BuildRecord | undefined;
  readonly #ending: Ending;
  /** Feeders whose rows could not be replaced yet, and why they have to be. */
  readonly #worthless = new Map<Feeder, string>();
  readonly #retry = new Retry(() => this.#tryAgain());
  #error: WarpError | undefined;
  readonly #changes = new Changes();
  #isClosed = false;

  /** `declared`: all versions that the application exports, none for a projection that it does not know. */
  constructor(name: string, declared: readonly Projection[], parts: RunningParts) {
    this.name = `projection ${name}`;
    this.#projection = name;
    this.#parts = parts;
    this.#declared = new Map(declared.map((projection) => [projection.version, projection]));
    this.#newest = this.#declared.get(Math.max(...this.#declared.keys()));
    this.#builds = new Builds(name, parts.control, parts.places);
    this.#ending = new Ending({
      live: () => this.#live,
      changes: this.#changes,
      onEnded: () => {
        this.#retry.reset();
        this.#dropOthers();
        this.#changes.tell();
      },
    });
    this.#builds.onDropped = (isDone) => {
      if (isDone) this.#retry.reset();
      else this.#retry.plan();
      this.#changes.tell();
    };
  }

  /** The build that queries see. */
  get liveBuild(): BuildRecord | undefined {
    return this.#builds.live;
  }

  get isPaused(): boolean {
    return this.#builds.isPaused;
  }

  start(): void {
    this.#builds.dropRetired();
    const newest = this.#newest;
    if (newest === undefined) return;
    const live = this.liveBuild;
    if (live !== undefined) this.#startLive(live);
    // One that had been begun for this version goes on: the version is new, or its rows are made again.
    const begun = this.#builds.begunFor(newest);
    if (begun !== undefined) this.#build(begun);
    else if (live?.version !== newest.version) this.#build(this.#builds.add(newest));
    this.#dropOthers();
  }

  wake(): void {
    this.#live?.wake();
    this.#building?.wake();
  }

  get status(): ProjectionStatus {
    return statusOf({
      projection: this.#projection,
      newest: this.#newest,
      liveBuild: this.liveBuild,
      live: this.#live,
      building: this.#building,
      buildingVersion: this.#buildingRecord?.version ?? 0,
      isPaused: this.isPaused,
      error: this.#error,
      source: this.#parts.source,
    });
  }

  pause(): void {
    this.#builds.setPaused(true);
    this.#changes.tell();
  }

  /** Goes on, also after a failure. */
  resume(): void {
    this.#builds.setPaused(false);
    this.#live?.start();
    this.#building?.start();
    this.wake();
  }

  /**
   * Makes all rows again; the present ones stay until the new ones have caught up. Who asks while one is being begun shares it:
   * nothing has been taken in by then.
   */
  async rebuild(): Promise<void> {
    const newest = this.#newest;
    const projection = this.#projection;
    const unknown = `the application does not declare projection ${projection}`;
    if (newest === undefined) throw new WarpError("UNKNOWN_PROJECTION", unknown, { projection });
    if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
    this.#beginning ??= this.#beginAnew(newest).finally(() => {
      this.#beginning = undefined;
    });
    await this.#beginning;
  }

  async parked(): Promise<readonly ParkedEntity[]> {
    return (await this.#live?.parkedEntities()) ?? [];
  }

  /** Takes the events of entities again that are held back; returns those that are held back still. */
  async unpark(entity: string | undefined): Promise<readonly ParkedEntity[]> {
    const feeder = this.#live;
    for (const one of await this.parked()) {
      if (entity === undefined || one.entity === entity) await feeder?.unpark(one);
    }
    return await this.parked();
  }

  /**
   * Whether the rows that queries see are there and past these positions. Rows of a projection that is not declared are as far as
   * they will ever be: they hold nobody up.
   */
  isPast(positions: readonly number[]): boolean {
    if (this.#newest === undefined) return true;
    // A database elsewhere shows the new rows before it has said so.
    const isElsewhere = this.#buildingRecord?.sink !== undefined;
    if (this.#isSwapping && isElsewhere && this.#building?.progress.isPast(positions) === false) return false;
    return this.#live?.isOpen === true && this.#live.progress.isPast(positions);
  }

  /** Resolves when it is past them. It may change to a build that is not, any time after. Errors: CLOSED. */
  async past(positions: readonly number[], signal: AbortSignal): Promise<void> {
    while (!this.isPast(positions) && !signal.aborted) {
      if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
      await this.#changes.next(signal);
    }
  }

  async passed(shard: number, position: number): Promise<void> {
    const { source } = this.#parts;
    // Rows about her may come from events of others, in other shards, of which the feed has no common order: she is
    // removed once more when everything that is there now has been taken in.
    const now = committedIn(source);
    const asked = new Set<Feeder>();
    for (;;) {
      // A build that nobody goes on with is not cleaned: nothing may be left of it.
      const areOthersGone = this.#dropOthers();
      const unclean = this.#feeders().filter((feeder) => !feeder.isClean(shard, position));
      if (areOthersGone && unclean.length === 0) return;
      if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
      // What takes no pages now would not get there by itself; what is far behind might meet her next life first.
      const willCome = ({ isFed, progress }: Feeder) => isFed && progress.isNear && !progress.isPast(now);
      const next = unclean.find((feeder) => !asked.has(feeder) && !willCome(feeder));
      if (next !== undefined) {
        asked.add(next);
        // What changes while the feed is read is not told again: all are looked at once more.
        next.erase(await erasureNow(source, shard, position));
      } else await this.#changes.next();
    }
  }

  /** Every row of the build that queries see that is about the entity. Errors: SINK_UNAVAILABLE when they cannot be read now. */
  async *holds(entity: string): AsyncGenerator<Readonly<Record<string, unknown>>> {
    if (this.liveBuild === undefined) return;
    this.#feeders();
    const now = committedIn(this.#parts.source);
    const isToCome = (one: Feeder) => one.state === "starting" || (one.isFed && !one.progress.isPast(now));
    let feeder: Feeder | undefined;
    do {
      feeder = this.#live;
      if (feeder === undefined) return;
      feeder.start();
      while (isToCome(feeder) && !this.#isClosed) await this.#changes.next();
      // Where another one is seen by now, it is that one that knows.
    } while (feeder !== this.#live && !this.#isClosed);
    yield* (await feeder.rowsAbout(entity)).map(({ table, row }) => ({ table, row }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry.cancel();
    this.#builds.close();
    const begun = this.#beginning?.catch(() => undefined);
    await Promise.all([this.#live?.close(), this.#building?.close(), this.#ending.close(), begun]);
    this.#changes.tell();
  }

  #startLive(build: BuildRecord): void {
    const declared = this.#declared.get(build.version);
    if (declared !== undefined && schemaOf(declared) !== build.schema) {
      const { version } = build;
      const message = `the tables or views of projection ${this.#projection} changed: give it a version above ${version}`;
      this.#error = new WarpError("CONFIG_MISMATCH", message, { projection: this.#projection, version });
      this.#parts.logger.error("a projection does not run", this.#error.toWire());
    }
    const isFed = declared !== undefined && this.#error === undefined;
    this.#live = this.#feeder(build, isFed ? declared : undefined);
    if (isFed) this.#live.start();
  }

  #build(build: BuildRecord): void {
    const isFirst = this.liveBuild === undefined;
    // There is nothing to be seen instead.
    if (isFirst) this.#builds.show(build);
    const feeder = this.#feeder(build, this.#declared.get(build.version));
    if (isFirst) this.#live = feeder;
    else [this.#building, this.#buildingRecord] = [feeder, build];
    feeder.start();
  }

  #feeder(build: BuildRecord, declared: Projection | undefined): Feeder {
    const { application, source, places, startWorker, logger } = this.#parts;
    const feeder: Feeder = new Feeder({
      source,
      order: {
        application: declared === undefined ? undefined : application,
        projection: this.#projection,
        version: build.version,
        schema: build.schema,
        build: build.number,
        tables: build.tables,
        incarnation: source.incarnation,
        place: places.of(this.#projection, build),
      },
      isLive: () => build.number === this.liveBuild?.number,
      startWorker,
      isPaused: () => this.isPaused,
      onChange: () => this.#onFeeder(),
      onFailures: (failures) => {
        for (const failure of failures) {
          logger.warn("a handler failed", { projection: this.#projection, ...failure });
        }
      },
      onGaps: (entities) =>
        logger.warn("a projection lacks dropped events", { projection: this.#projection, entities }),
      onWorthless: (why) => void this.#replace(feeder, why),
    });
    return feeder;
  }

  /** The rows of a build are worthless: others are made. */
  async #replace(feeder: Feeder, why: string): Promise<void> {
    this.#worthless.delete(feeder);
    // One that is being ended has been replaced already.
    if (this.#isClosed || (feeder !== this.#live && feeder !== this.#building)) return;
    this.#parts.logger.warn("a projection is built again", { projection: this.#projection, why });
    try {
      if (this.#newest === undefined) {
        // Nobody can make its rows again.
        const live = this.liveBuild;
        this.#builds.show(undefined);
        this.#live = undefined;
        await this.#ending.end(feeder, live);
      } else if (feeder === this.#building || this.#building === undefined) {
        // A build that began before knows of the same; one that is tainted itself begins anew.
        await this.rebuild();
      }
    } catch (thrown) {
      this.#worthless.set(feeder, why);
      this.#putOff("a projection could not be built again", thrown);
    }
  }

  #onFeeder(): void {
    this.#changes.tell();
    const building = this.#building;
    if (building?.state !== "running" || this.#isSwapping || this.#isClosed) return;
    if (building.progress.hasNearlyCaughtUp) void this.#swap(building);
  }

  async #swap(building: Feeder): Promise<void> {
    const old = { feeder: this.#live, build: this.liveBuild };
    this.#isSwapping = true;
    try {
      // What somebody was told is in the rows is in these too.
      const seen = [...(this.#live?.progress.applied ?? [])];
      while (!building.progress.isPast(seen)) {
        if (building.state !== "running" || this.isPaused) return;
        await this.#changes.next();
      }
      await building.publish();
      const build = this.#buildingRecord;
      if (build === undefined || this.#building !== building || this.#isClosed) return;
      this.#builds.show(build);
      this.#live = building;
      building.mayBeShown = false;
      this.#building = undefined;
      this.#buildingRecord = undefined;
      this.#error = undefined;
      const { version } = build;
      this.#parts.logger.info("a projection was swapped in", { projection: this.#projection, version });
    } catch (thrown) {
      // Its status says why where it is the sink.
      if (building.state !== "closed") this.#putOff("a projection could not be swapped in", thrown);
      return;
    } finally {
      this.#isSwapping = false;
      this.#changes.tell();
    }
    await this.#ending.end(old.feeder, old.build);
  }

  async #beginAnew(projection: Projection): Promise<void> {
    // It is on disk before the other is dropped, so an end in between does not lose it.
    const build = this.#builds.add(projection);
    this.#beginningRecord = build;
    try {
      const [feeder, record] = [this.#building, this.#buildingRecord];
      [this.#building, this.#buildingRecord] = [undefined, undefined];
      await this.#ending.end(feeder, record);
      if (this.#isClosed) return;
      this.#error = undefined;
      this.#build(build);
    } finally {
      this.#beginningRecord = undefined;
    }
  }

  /** Drops the builds that nobody needs. False while something is left of one; then it is told when that is less. */
  #dropOthers(): boolean {
    // The next start does.
    if (this.#isClosed || this.#retry.isPlanned) return false;
    const needed = [this.liveBuild, this.#buildingRecord, this.#beginningRecord, ...this.#ending.builds];
    try {
      return this.#builds.dropOthers(new Set(needed)) && this.#ending.builds.length === 0;
    } catch (thrown) {
      this.#putOff("rows of an old build are still there", thrown);
      return false;
    }
  }

  #putOff(what: string, thrown: unknown): void {
    if (this.#isClosed) return;
    const why = toWarpError(thrown, "SINK_UNAVAILABLE").toWire();
    this.#parts.logger.warn(what, { projection: this.#projection, ...why });
    this.#retry.plan();
  }

  #tryAgain(): void {
    for (const [feeder, why] of [...this.#worthless]) void this.#replace(feeder, why);
    this.#dropOthers();
    this.#onFeeder();
  }

  /** Every build whose rows may be about somebody. */
  #feeders(): Feeder[] {
    const live = this.liveBuild;
    // Rows of a projection that is not declared have nobody who feeds them, only somebody who cleans them.
    if (this.#live === undefined && live !== undefined) this.#live = this.#feeder(live, undefined);
    return [this.#live, this.#building].filter((feeder) => feeder !== undefined);
  }
}
