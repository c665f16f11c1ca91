/**
 * How long an aggregate needs the events that it folds, as its definition says.
 */
import { WarpError } from "../core/errors.ts";

export interface Retention {
  /** The newest events of an entity to keep. */
  readonly keepLast?: number;
  /** Events that were recorded within so many days are kept. With both, an event goes when neither keeps it. */
  readonly keepDays?: number;
  /**
   * What becomes of the others: `drop` removes them; `backup-only` removes them when a backup of this process has them,
   * and a restore brings them back.
   */
  readonly beyond: "drop" | "backup-only";
}

/** Errors: APPLICATION_INVALID. */
export function checkRetention(given: unknown, where: string): Retention | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== "object" || given === null) throw invalid(`${where}: retention is an object`);
  const { keepLast, keepDays, beyond, ...others } = given as Record<string, unknown>;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw invalid(`${where}: retention has no ${unknown}`);
  if (keepLast === undefined && keepDays === undefined) {
    throw invalid(`${where}: retention says keepLast or keepDays`);
  }
  if (keepLast !== undefined && !(Number.isSafeInteger(keepLast) && Number(keepLast) >= 0)) {
    throw invalid(`${where}: retention.keepLast is a whole number of events from 0`);
  }
  if (
    keepDays !== undefined &&
    !(typeof keepDays === "number" && keepDays >= 0 && Number.isFinite(keepDays))
  ) {
    throw invalid(`${where}: retention.keepDays is a number of days from 0`);
  }
  if (beyond !== "drop" && beyond !== "backup-only") {
    throw invalid(`${where}: retention.beyond is "drop" or "backup-only"`);
  }
  return Object.freeze({
    beyond,
    ...(keepLast === undefined ? {} : { keepLast: keepLast as number }),
    ...(keepDays === undefined ? {} : { keepDays: keepDays as number }),
  });
}

function invalid(message: string): WarpError {
  return new WarpError("APPLICATION_INVALID", message);
}
