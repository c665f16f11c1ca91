/** What operators are told of the period keys. */

export interface PeriodStatus {
  readonly period: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Keys of entities that it wraps. */
  readonly keys: number;
  readonly isCurrent: boolean;
}

export interface RotationReport {
  /** The period that wraps everything now. */
  readonly period: number;
  /** Keys of entities that were wrapped anew. */
  readonly keys: number;
  readonly elapsedMs: number;
}
