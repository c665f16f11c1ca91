/**
 * What operators see of a projection.
 */
import type { FeederState } from "./feeder.ts";

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
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Version and progress, 0 to 1, of the build that will take the place of the present one. */
  readonly building: { readonly version: number; readonly progress: number } | null;
}
