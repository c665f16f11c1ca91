/**
 * What operators see of a projection.
 */
import type { WarpError } from "../core/errors.ts";
import type { FeedSource } from "../core/feed.ts";
import type { BuildRecord } from "./control.ts";
import type { Projection } from "./definition.ts";
import type { Feeder, FeederState } from "./feeder.ts";

export interface ProjectionStatus {
  readonly name: string;
  /** The newest that is declared; that of the rows for one that is not. */
  readonly version: number;
  /** `embedded`, or the name of the sink. */
  readonly sink: string;
  /** `frozen`: no handlers for its rows are declared. */
  readonly state: "building" | "live" | "paused" | "frozen" | Exclude<FeederState, "running">;
  /** Records that are durable and not in the rows. */
  readonly lagRecords: number;
  /** Events in them, estimated by those that were taken; exact when it is 0. */
  readonly lagEvents: number;
  /** Age of the oldest of them. */
  readonly lagMs: number;
  readonly parked: number;
  readonly skipped: number;
  /** How often retention had dropped events of an entity before they were taken in, since the process began. */
  readonly gaps: number;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Version and progress, 0 to 1, of the build that will take the place of the present one. */
  readonly building: { readonly version: number; readonly progress: number } | null;
}

/** What a status is made of. */
export interface StatusParts {
  readonly projection: string;
  readonly newest: Projection | undefined;
  readonly liveBuild: BuildRecord | undefined;
  readonly live: Feeder | undefined;
  readonly building: Feeder | undefined;
  readonly buildingVersion: number;
  readonly isPaused: boolean;
  readonly error: WarpError | undefined;
  readonly source: FeedSource;
}

export function statusOf(parts: StatusParts): ProjectionStatus {
  const { newest, liveBuild, live, source } = parts;
  const feeder = live ?? parts.building;
  const { records = 0, ms = 0 } = feeder?.progress.lag ?? {};
  const perRecord = feeder === undefined || feeder.records === 0 ? 1 : feeder.events / feeder.records;
  const error = parts.error ?? feeder?.error ?? parts.building?.error;
  // The first build takes nobody's place.
  const building = live === undefined && liveBuild === undefined ? undefined : parts.building;
  return {
    name: parts.projection,
    version: newest?.version ?? liveBuild?.version ?? 0,
    sink: newest?.sink ?? liveBuild?.sink ?? "embedded",
    state: stateOf(parts, feeder),
    lagRecords: records,
    lagEvents: Math.round(records * perRecord),
    lagMs: Math.round(ms * 10) / 10,
    parked: feeder?.parked ?? 0,
    skipped: feeder?.skipped ?? 0,
    gaps: feeder?.gaps ?? 0,
    error: error === undefined ? null : { code: error.code, message: error.message },
    building:
      building === undefined
        ? null
        : { version: parts.buildingVersion, progress: progressOf(building, source) },
  };
}

function stateOf(
  { live, isPaused, error }: StatusParts,
  feeder: Feeder | undefined,
): ProjectionStatus["state"] {
  if (error !== undefined) return "failed";
  if (feeder === undefined || feeder.isCleaner) return "frozen";
  if (isPaused) return "paused";
  if (feeder.state !== "running") return feeder.state;
  return live === feeder && live.hasCaughtUp ? "live" : "building";
}

function progressOf({ progress }: Feeder, source: FeedSource): number {
  let applied = 0;
  let all = 0;
  for (let shard = 0; shard < source.shards; shard++) {
    applied += progress.applied[shard] ?? 0;
    all += source.committed(shard);
  }
  return all === 0 ? 1 : Math.min(1, Math.floor((applied / all) * 1000) / 1000);
}
