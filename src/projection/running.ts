/**
 * One projection as the main thread runs it: the build that queries see, and the one that is made to take its place.
 *
 * - The first build is seen from the start. A later one, for a new version, a rebuild, or because the rows of the present
 *   one are worthless, is seen when it has caught up; until then the present one stays.
 * - A build whose handlers are gone (an older version that the application does not export any more) stands still.
 * - Tables that changed without a new version are CONFIG_MISMATCH: the rows stay as they are, and nothing is added.
 */
import { rmSync } from "node:fs";
import type { ErasureFollower } from "../core/erasure.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { FeedSource } from "../core/feed.ts";
import type { Logger } from "../core/logger.ts";
import { erasureNow } from "./build/records.ts";
import { Changes } from "./changes.ts";
import type { BuildRecord, Control, ProjectionRecord } from "./control.ts";
import { type Projection, schemaOf } from "./definition.ts";
import { Feeder } from "./feeder.ts";
import type { ParkedEntity } from "./messages.ts";
import type { Places } from "./places.ts";
import { committedIn } from "./progress.ts";
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
  readonly #record: ProjectionRecord;
  #live: Feeder | undefined;
  #building: Feeder | undefined;
  #buildingRecord: BuildRecord | undefined;
  #isSwapping = false;
  /** A rebuild that has not begun yet. */
  #beginning: Promise<void> | undefined;
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
    this.#record = parts.control.of(name);
  }

  /** The build that queries see. */
  get liveBuild(): BuildRecord | undefined {
    return this.#record.builds.find(({ number }) => number === this.#record.live);
  }

  get isPaused(): boolean {
    return this.#record.isPaused;
  }

  start(): void {
    const newest = this.#newest;
    if (newest === undefined) return;
    const live = this.liveBuild;
    if (live !== undefined) this.#startLive(live);
    // One that had been begun for this version goes on: the version is new, or its rows are made again.
    const begun = this.#record.builds.findLast(
      ({ number, version, schema }) =>
        number !== live?.number && version === newest.version && schema === schemaOf(newest),
    );
    if (begun !== undefined) this.#build(begun);
    else if (live?.version !== newest.version) this.#build(this.#addBuild(newest));
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
    this.#record.isPaused = true;
    this.#parts.control.save();
    this.#changes.tell();
  }

  /** Goes on, also after a failure. */
  resume(): void {
    this.#record.isPaused = false;
    this.#parts.control.save();
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
    if (newest === undefined) throw this.#notDeclared();
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

  /** Resolves when it is past them. It may change to a build that is not, any time after. */
  async past(positions: readonly number[], signal: AbortSignal): Promise<void> {
    while (!this.isPast(positions) && !signal.aborted) await this.#changes.next(signal);
  }

  async passed(shard: number, position: number): Promise<void> {
    // A build that nobody goes on with is not cleaned.
    if (this.#newest === undefined) this.#dropOthers();
    const { source } = this.#parts;
    // Rows about her may come from events of others, in other shards, of which the feed has no common order: she is
    // removed once more when everything that is there now has been taken in.
    const now = committedIn(source);
    const asked = new Set<Feeder>();
    for (;;) {
      const unclean = this.#feeders().filter((feeder) => !feeder.isClean(shard, position));
      if (unclean.length === 0) return;
      if (this.#isClosed) throw new WarpError("CLOSED", "this context is closed");
      for (const feeder of unclean) {
        // What takes no pages now would not get there by itself.
        const isFed = feeder.state === "running" && !this.isPaused && !feeder.isCleaner;
        if (asked.has(feeder) || (isFed && !feeder.progress.isPast(now))) continue;
        asked.add(feeder);
        feeder.erase(await erasureNow(source, shard, position));
      }
      await this.#changes.next();
    }
  }

  /** Every row of the build that queries see that is about the entity. Errors: SINK_UNAVAILABLE when they cannot be read now. */
  async *holds(entity: string): AsyncGenerator<Readonly<Record<string, unknown>>> {
    if (this.liveBuild === undefined) return;
    this.#feeders();
    const feeder = this.#live;
    if (feeder === undefined) return;
    feeder.start();
    const now = committedIn(this.#parts.source);
    const isToCome = () =>
      feeder.state === "starting" ||
      (feeder.state === "running" && !feeder.isCleaner && !this.isPaused && !feeder.progress.isPast(now));
    while (isToCome() && !this.#isClosed) await this.#changes.next();
    yield* (await feeder.rowsAbout(entity)).map(({ table, row }) => ({ table, row }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const begun = this.#beginning?.catch(() => undefined);
    await Promise.all([this.#live?.close(), this.#building?.close(), begun]);
    this.#changes.tell();
  }

  #startLive(build: BuildRecord): void {
    const declared = this.#declared.get(build.version);
    if (declared !== undefined && schemaOf(declared) !== build.schema) {
      const message = `the tables or views of projection ${this.#projection} changed: give it a version above ${build.version}`;
      const details = { projection: this.#projection, version: build.version };
      this.#error = new WarpError("CONFIG_MISMATCH", message, details);
      this.#parts.logger.error("a projection does not run", this.#error.toWire());
    }
    const isFed = declared !== undefined && this.#error === undefined;
    this.#live = this.#feeder(build, isFed ? declared : undefined);
    if (isFed) this.#live.start();
  }

  #addBuild(projection: Projection): BuildRecord {
    const { version, tables, views, sink } = projection;
    return this.#parts.control.addBuild(this.#projection, {
      version,
      schema: schemaOf(projection),
      tables,
      views: Object.fromEntries(views),
      ...(sink === undefined ? undefined : { sink }),
    });
  }

  #build(build: BuildRecord): void {
    const isFirst = this.#record.live === undefined;
    if (isFirst) {
      // There is nothing to be seen instead.
      this.#record.live = build.number;
      this.#parts.control.save();
    }
    const feeder = this.#feeder(build, this.#declared.get(build.version));
    if (isFirst) {
      this.#live = feeder;
    } else {
      this.#building = feeder;
      this.#buildingRecord = build;
    }
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
        isLive: build.number === this.#record.live,
      },
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
    // One that is being ended has been replaced already.
    if (this.#isClosed || (feeder !== this.#live && feeder !== this.#building)) return;
    this.#parts.logger.warn("a projection is built again", { projection: this.#projection, why });
    if (this.#newest === undefined) {
      // Nobody can make its rows again.
      const live = this.liveBuild;
      await feeder.close();
      if (feeder !== this.#live) return;
      this.#live = undefined;
      if (live !== undefined) this.#drop(live);
      this.#changes.tell();
      return;
    }
    // A build that began before knows of the same; one that is tainted itself begins anew.
    if (feeder === this.#building || this.#building === undefined) await this.rebuild();
  }

  #onFeeder(): void {
    this.#changes.tell();
    const building = this.#building;
    if (building?.state !== "running" || this.#isSwapping || this.#isClosed) return;
    if (building.progress.hasNearlyCaughtUp) void this.#swap(building);
  }

  async #swap(building: Feeder): Promise<void> {
    this.#isSwapping = true;
    try {
      // What somebody was told is in the rows is in these too.
      const seen = [...(this.#live?.progress.applied ?? [])];
      while (!building.progress.isPast(seen)) {
        if (building.state !== "running" || this.isPaused) return;
        await this.#changes.next();
      }
      await building.publish();
    } catch (thrown) {
      if (building.state === "closed") return;
      // Its status says why; it is tried again when it runs and has caught up.
      this.#parts.logger.warn("a projection could not be swapped in", {
        projection: this.#projection,
        ...toWarpError(thrown, "SINK_UNAVAILABLE").toWire(),
      });
      return;
    } finally {
      this.#isSwapping = false;
      this.#changes.tell();
    }
    const build = this.#buildingRecord;
    // Another build may have been begun meanwhile, from which this one is dropped.
    if (build === undefined || this.#building !== building || this.#isClosed) return;
    const old = this.liveBuild;
    const oldFeeder = this.#live;
    this.#record.live = build.number;
    this.#parts.control.save();
    this.#live = building;
    this.#building = undefined;
    this.#buildingRecord = undefined;
    this.#error = undefined;
    await oldFeeder?.close();
    // Otherwise the next start does.
    if (old !== undefined && !this.#isClosed) this.#drop(old);
    this.#parts.logger.info("a projection was swapped in", {
      projection: this.#projection,
      version: build.version,
    });
    this.#changes.tell();
  }

  async #beginAnew(projection: Projection): Promise<void> {
    // It is on disk before the other is dropped, so an end in between does not lose it.
    const build = this.#addBuild(projection);
    await this.#dropBuilding();
    if (this.#isClosed) return;
    this.#error = undefined;
    this.#build(build);
  }

  async #dropBuilding(): Promise<void> {
    const { control } = this.#parts;
    const feeder = this.#building;
    const build = this.#buildingRecord;
    this.#building = undefined;
    this.#buildingRecord = undefined;
    await feeder?.close();
    if (build !== undefined && control.get(this.#projection) !== undefined) this.#drop(build);
  }

  /** Builds that are neither live nor wanted any more. */
  #dropOthers(): void {
    for (const build of [...this.#record.builds]) {
      if (build.number !== this.#record.live && build !== this.#buildingRecord) this.#drop(build);
    }
  }

  #drop(build: BuildRecord): void {
    const { control, places } = this.#parts;
    control.retire(this.#projection, build);
    if (build.sink !== undefined) {
      void places.drop(this.#projection, build);
      return;
    }
    const file = control.fileOf(this.#projection, build.number);
    for (const path of [file, `${file}-wal`, `${file}-shm`]) rmSync(path, { force: true });
  }

  /** Every build whose rows may be about somebody. */
  #feeders(): Feeder[] {
    const live = this.liveBuild;
    // Rows of a projection that is not declared have nobody who feeds them, only somebody who cleans them.
    if (this.#live === undefined && live !== undefined) this.#live = this.#feeder(live, undefined);
    return [this.#live, this.#building].filter((feeder) => feeder !== undefined);
  }

  #notDeclared(): WarpError {
    const projection = this.#projection;
    const message = `the application does not declare projection ${projection}`;
    return new WarpError("UNKNOWN_PROJECTION", message, { projection });
  }
}
