/**
 * Projections over a feed in memory, with what a test asks of them: start, end, ask, wait for a condition.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadApplication } from "../../src/application.ts";
import { ErasureFollowers } from "../../src/core/erasure.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createProjections, createQueries } from "../../src/projecting.ts";
import type { Projections } from "../../src/projection/projections.ts";
import type { QueryParam } from "../../src/projection/query/messages.ts";
import type { Queries, QueryOptions } from "../../src/projection/query/query.ts";
import { provideWarpModule } from "../../src/warp-module.ts";
import type { MemoryFeed } from "./memory-feed.ts";

// The applications of the tests stand in temporary folders, which have no package "warp" around them.
provideWarpModule();

/** Directories that were made here. A test may open one again after it was closed. */
const made: string[] = [];

/** To be called when all tests of a file are over. */
export function removeDirectories(): void {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
}

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "warp-projection-"));
  made.push(directory);
  return directory;
}

export interface HarnessSettings {
  readonly feed: MemoryFeed;
  readonly application: string;
  readonly dataDir?: string;
  readonly sinks?: Readonly<Record<string, string>>;
  readonly context?: string;
}

export class Harness {
  readonly dataDir: string;
  readonly context: string;
  readonly feed: MemoryFeed;
  readonly followers = new ErasureFollowers();
  readonly projections: Projections;
  readonly queries: Queries;

  private constructor(
    settings: HarnessSettings,
    projections: (dataDir: string, followers: ErasureFollowers) => Projections,
  ) {
    this.dataDir = settings.dataDir ?? makeDirectory();
    this.context = settings.context ?? "tests";
    this.feed = settings.feed;
    this.projections = projections(this.dataDir, this.followers);
    this.projections.start();
    this.queries = createQueries(this.projections, this.feed);
  }

  static async open(settings: HarnessSettings): Promise<Harness> {
    const { feed, application, sinks = {}, context = "tests" } = settings;
    const { projections: declared } = await loadApplication(application);
    return new Harness(settings, (dataDir, followers) =>
      createProjections({
        dataDir,
        context,
        source: feed,
        followers,
        application,
        declared,
        sinks,
        logger: silentLogger,
      }),
    );
  }

  async rows(
    sql: string,
    params: readonly QueryParam[] = [],
    options: QueryOptions = {},
  ): Promise<unknown[][]> {
    const after = Array.from({ length: this.feed.shards }, (_, shard) => ({
      shard,
      position: this.feed.committed(shard),
    }));
    const { rows } = await this.queries.run(sql, params, { after, timeoutMs: 240_000, ...options });
    return rows.map((row) => [...row]);
  }

  status(name: string) {
    const status = this.projections.status.find((one) => one.name === name);
    if (status === undefined) throw new Error(`there is no projection ${name}`);
    return status;
  }

  async close(): Promise<void> {
    await this.queries.close();
    await this.projections.close();
  }
}

/** Waits until `holds`; the time is only for a test that fails. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 240_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`it did not come to be: ${what}`);
    await Bun.sleep(2);
  }
}
