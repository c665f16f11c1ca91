/**
 * The projections of a context: started when it serves, ended before the feed is.
 *
 * - None of them can fail the engine or another projection; what is wrong with one is in its status.
 * - Without projections nothing follows the feed.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ErasureFollowers } from "../core/erasure.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { FeedSource } from "../core/feed.ts";
import type { Logger } from "../core/logger.ts";
import { syncDirectory } from "../core/replace-file.ts";
import { Control } from "./control.ts";
import type { Projection } from "./definition.ts";
import type { ParkedEntity, SinkPlace } from "./messages.ts";
import { Places, type SinkSettings } from "./places.ts";
import { RunningProjection } from "./running.ts";
import type { ProjectionStatus } from "./status.ts";

export interface ProjectionsParts {
  readonly dataDir: string;
  readonly context: string;
  readonly source: FeedSource;
  readonly followers: ErasureFollowers;
  /** Path of the application's module. */
  readonly application: string | undefined;
  readonly declared: readonly Projection[];
  readonly sinks: SinkSettings;
  readonly startWorker: () => Worker;
  readonly logger: Logger;
}

/** What a query runs over. */
export type QueryPlace =
  | {
      readonly kind: "sqlite";
      readonly files: readonly { readonly name: string; readonly path: string }[];
      readonly views: readonly (readonly [name: string, sql: string])[];
    }
  | Exclude<SinkPlace, { kind: "sqlite" }>;

export class Projections {
  readonly #parts: ProjectionsParts;
  readonly #control: Control;
  readonly #places: Places;
  readonly #running = new Map<string, RunningProjection>();
  #unwatch: (() => void) | undefined;

  /** Errors: CORRUPT, FORMAT_UNSUPPORTED, IO_ERROR, INVALID_ARGUMENT, CONFIG_MISMATCH. */
  constructor(parts: ProjectionsParts) {
    this.#parts = parts;
    const { dataDir, context, sinks, logger, declared, application = "" } = parts;
    this.#control = new Control(dataDir);
    this.#places = new Places({ control: this.#control, context, sinks, logger });
    const names = new Set([...this.#control.names, ...declared.map(({ name }) => name)]);
    for (const name of names) {
      const versions = declared.filter((projection) => projection.name === name);
      for (const { sink } of versions) if (sink !== undefined) this.#places.named(sink);
      const running = new RunningProjection(name, versions, {
        application,
        source: parts.source,
        control: this.#control,
        places: this.#places,
        startWorker: parts.startWorker,
        logger,
      });
      this.#running.set(name, running);
      parts.followers.register(running);
    }
  }

  start(): void {
    this.#removeStrangers();
    for (const running of this.#running.values()) running.start();
    if (this.#parts.declared.length === 0) return;
    this.#unwatch = this.#parts.source.watch(() => {
      for (const running of this.#running.values()) running.wake();
    });
  }

  get status(): ProjectionStatus[] {
    return [...this.#running.values()].map(({ status }) => status).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  pause(name: string): void {
    this.#get(name).pause();
  }

  resume(name: string): void {
    this.#get(name).resume();
  }

  async rebuild(name: string): Promise<void> {
    await this.#get(name).rebuild();
  }

  async parked(name: string): Promise<readonly ParkedEntity[]> {
    return await this.#get(name).parked();
  }

  /** Takes the events of an entity, or of all, again that are held back. Returns what is held back still. */
  async unpark(name: string, entity?: string): Promise<readonly ParkedEntity[]> {
    return await this.#get(name).unpark(entity);
  }

  /**
   * Where a query finds the rows of a sink, when they are past the positions. Errors: TIMEOUT, naming what is behind;
   * CLOSED, CONFIG_MISMATCH for an unknown sink.
   */
  async placeFor(
    sink: string | undefined,
    positions: readonly number[] | undefined,
    timeoutMs: number,
  ): Promise<QueryPlace> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const wanted = positions ?? [];
    let members = this.#members(sink);
    // While one is waited for another may change its rows: all have to be there in the moment in which they are named.
    while (!members.every((one) => one.isPast(wanted))) {
      await Promise.all(members.map((one) => one.past(wanted, timeout)));
      if (timeout.aborted) throw this.#late(members, timeoutMs);
      members = this.#members(sink);
    }
    if (sink !== undefined) return this.#places.named(sink) as QueryPlace;
    const files = members.flatMap(({ liveBuild, status }) =>
      liveBuild === undefined
        ? []
        : [{ name: status.name, path: this.#control.fileOf(status.name, liveBuild.number) }],
    );
    return {
      kind: "sqlite",
      files,
      views: members.flatMap(({ liveBuild }) => Object.entries(liveBuild?.views ?? {})),
    };
  }

  /** Resolves when the rows that queries of a sink see are past a write. Errors: CLOSED. */
  async past(after: { readonly shard: number; readonly position: number }, sink?: string): Promise<void> {
    const positions = new Array<number>(this.#parts.source.shards).fill(0);
    positions[after.shard] = after.position;
    const never = new AbortController().signal;
    await Promise.all(this.#members(sink).map((one) => one.past(positions, never)));
  }

  #members(sink: string | undefined): RunningProjection[] {
    return [...this.#running.values()].filter(
      ({ liveBuild }) => liveBuild !== undefined && liveBuild.sink === sink,
    );
  }

  async close(): Promise<void> {
    this.#unwatch?.();
    // They stay followers of erasures, which they refuse from now on: nobody may take them for past one.
    await Promise.all([...this.#running.values()].map((running) => running.close()));
  }

  #get(name: string): RunningProjection {
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    throw new WarpError("UNKNOWN_PROJECTION", `there is no projection ${name}`, { projection: name });
  }

  #late(members: readonly RunningProjection[], timeoutMs: number): WarpError {
    const behind = members
      .map(({ status }) => status)
      .filter(({ lagRecords, state }) => lagRecords > 0 || state !== "live");
    const names = behind.map(({ name, state }) => `${name} (${state})`).join(", ");
    return new WarpError("TIMEOUT", `not up to what was asked for within ${timeoutMs} ms: ${names}`, {
      projections: behind.map(({ name }) => name),
    });
  }

  /** Files of builds that the list does not know: what a crash left of one that was being dropped. */
  #removeStrangers(): void {
    const { directory } = this.#control;
    if (!existsSync(directory)) return;
    const known = new Set(
      this.#control.names.flatMap((name) =>
        (this.#control.get(name)?.builds ?? []).map(({ number }) => this.#control.fileOf(name, number)),
      ),
    );
    try {
      for (const file of readdirSync(directory)) {
        const [, database] = /^(.*\.\d+\.db)(?:-wal|-shm)?$/.exec(file) ?? [];
        if (database !== undefined && !known.has(join(directory, database)))
          rmSync(join(directory, file), { force: true });
      }
      syncDirectory(directory);
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file: directory });
    }
  }
}
