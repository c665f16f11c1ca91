/**
 * Starting what works beside a context: the Workers of projections and the processes of queries. The addresses stand here
 * because a compiled binary finds a Worker only beside the file that names it.
 */
import { fileURLToPath } from "node:url";
import { WarpError } from "./core/errors.ts";
import type { FeedSource } from "./core/feed.ts";
import { Projections, type ProjectionsParts } from "./projection/projections.ts";
import { QueryPool } from "./projection/query/pool.ts";
import { Queries } from "./projection/query/query.ts";

/** They are to be started, and closed also when that fails: some of their Workers may run by then. */
export function createProjections(parts: Omit<ProjectionsParts, "startWorker">): Projections {
  return new Projections({
    ...parts,
    startWorker: () => new Worker(new URL("./projection-worker.ts", import.meta.url)),
  });
}

/** The word that makes the executable a query process. */
export const queryProcessWord = "query-process";

/** True in Warp's own executable, which can be started again as a query process. */
let isOwnExecutable = false;

/** Said by main.ts. */
export function announceExecutable(): void {
  isOwnExecutable = true;
}

export function createQueries(projections: Projections, source: FeedSource): Queries {
  const pool = new QueryPool(() => {
    const isCompiled = import.meta.path.startsWith("/$bunfs/") || import.meta.path.startsWith("B:/~BUN/");
    if (!isCompiled) return [process.execPath, fileURLToPath(new URL("./query-process.ts", import.meta.url))];
    if (isOwnExecutable) return [process.execPath, queryProcessWord];
    throw new WarpError(
      "UNSUPPORTED",
      "a program that is compiled together with Warp cannot query embedded rows",
    );
  });
  return new Queries(projections, source, pool);
}
