/**
 * The builds of one projection: which there are, which of them queries see, and ending and dropping those that nobody needs.
 *
 * - A change counts when it is on disk; one that cannot be written there is taken back.
 * - What is dropped is known until nothing is left of it: a file until it is removed, rows elsewhere until their database was reached.
 */
import { rmSync } from "node:fs";
import { toWarpError } from "../core/errors.ts";
import type { Changes } from "./changes.ts";
import type { BuildRecord, Control, ProjectionRecord } from "./control.ts";
import { type Projection, schemaOf } from "./definition.ts";
import type { Feeder } from "./feeder.ts";
import type { Places } from "./places.ts";

export class Builds {
  readonly #projection: string;
  readonly #control: Control;
  readonly #places: Places;
  readonly #record: ProjectionRecord;
  /** Those of a database elsewhere that are being dropped, by their numbers. */
  readonly #underWay = new Set<number>();
  #isClosed = false;
  /** Something is left of a build no longer, or could not be reached. */
  onDropped: (isDone: boolean) => void = () => {};

  constructor(projection: string, control: Control, places: Places) {
    this.#projection = projection;
    this.#control = control;
    this.#places = places;
    this.#record = control.of(projection);
  }

  get isPaused(): boolean {
    return this.#record.isPaused;
  }

  /** The one that queries see. */
  get live(): BuildRecord | undefined {
    return this.#record.builds.find(({ number }) => number === this.#record.live);
  }

  /** The newest that was begun for these tables and is not seen. */
  begunFor(projection: Projection): BuildRecord | undefined {
    const schema = schemaOf(projection);
    return this.#record.builds.findLast(
      (one) =>
        one.number !== this.#record.live && one.version === projection.version && one.schema === schema,
    );
  }

  /** Errors: DISK_FULL, IO_ERROR; so do all that follow. */
  setPaused(isPaused: boolean): void {
    this.#control.change(this.#record, { isPaused });
  }

  add(projection: Projection): BuildRecord {
    const { version, tables, views, sink } = projection;
    const build: BuildRecord = {
      number: this.#control.nextNumber(),
      version,
      schema: schemaOf(projection),
      tables,
      views: Object.fromEntries(views),
      ...(sink === undefined ? undefined : { sink }),
    };
    this.#control.change(this.#record, { builds: [...this.#record.builds, build] });
    return build;
  }

  /** Queries see this one from now on, or none. */
  show(build: BuildRecord | undefined): void {
    this.#control.change(this.#record, { live: build?.number });
  }

  /** Drops all but these. False while something is left of another one; {@link onDropped} says when to ask again. */
  dropOthers(needed: ReadonlySet<BuildRecord | undefined>): boolean {
    for (const build of this.#record.builds) {
      if (needed.has(build)) continue;
      if (build.sink === undefined) this.#removeFiles(build);
      this.#control.retire(this.#projection, this.#record, build);
    }
    return this.dropRetired();
  }

  /** Goes on dropping rows elsewhere. Those of a sink that the settings do not name any more are nobody's to wait for. */
  dropRetired(): boolean {
    const left = this.#control.dropping.filter(
      ({ projection, build }) => projection === this.#projection && this.#places.knows(build),
    );
    for (const { build } of left) void this.#dropElsewhere(build);
    return left.length === 0;
  }

  close(): void {
    this.#isClosed = true;
  }

  #removeFiles({ number }: BuildRecord): void {
    const file = this.#control.fileOf(this.#projection, number);
    try {
      for (const path of [file, `${file}-wal`, `${file}-shm`]) rmSync(path, { force: true });
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file });
    }
  }

  async #dropElsewhere(build: BuildRecord): Promise<void> {
    if (this.#underWay.has(build.number) || this.#isClosed) return;
    this.#underWay.add(build.number);
    const isDone = (await this.#places.drop(this.#projection, build)) && this.#forget(build);
    this.#underWay.delete(build.number);
    if (!this.#isClosed) this.onDropped(isDone);
  }

  /** False when that could not be written: then it is dropped once more, which changes nothing. */
  #forget(build: BuildRecord): boolean {
    // The list is another one's by now.
    if (this.#isClosed) return false;
    try {
      this.#control.dropped(build);
      return true;
    } catch {
      return false;
    }
  }
}

export interface EndingParts {
  /** The build that queries see. */
  readonly live: () => Feeder | undefined;
  readonly changes: Changes;
  /** One build less, and it may be dropped. */
  readonly onEnded: () => void;
}

/** Builds whose Workers may still write, and whose rows a database elsewhere may still show. */
export class Ending {
  readonly #parts: EndingParts;
  readonly #feeders = new Map<BuildRecord, Feeder>();
  #isClosed = false;

  constructor(parts: EndingParts) {
    this.#parts = parts;
  }

  /** Not to be dropped yet. */
  get builds(): readonly BuildRecord[] {
    return [...this.#feeders.keys()];
  }

  /** Resolves when its Worker has ended. */
  async end(feeder: Feeder | undefined, build: BuildRecord | undefined): Promise<void> {
    if (feeder !== undefined && build !== undefined) {
      this.#feeders.set(build, feeder);
      await feeder.close();
      // The views of a database go with the tables that they show.
      if (build.sink !== undefined && feeder.mayBeShown) void this.#showLive(build);
      else this.#feeders.delete(build);
    }
    this.#parts.onEnded();
  }

  /** The Workers end; what is left of their builds is dropped at the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#feeders.values()].map((feeder) => feeder.close()));
  }

  /** The database is told to show the live build instead, as soon as it can be told. */
  async #showLive(build: BuildRecord): Promise<void> {
    const { live, changes, onEnded } = this.#parts;
    while (!this.#isClosed) {
      try {
        await live()?.publish();
        break;
      } catch {
        // The status of the projection says why.
        await changes.next();
      }
    }
    this.#feeders.delete(build);
    onEnded();
  }
}
