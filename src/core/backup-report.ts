/** What a backup did. */
export interface BackupReport {
  readonly target: string;
  /** ms since 1970. */
  readonly startedAt: number;
  readonly elapsedMs: number;
  readonly shards: number;
  /** Segments, rows and bytes that were added. */
  readonly segments: number;
  readonly rows: number;
  readonly bytes: number;
  /** Objects of the key set that were written. */
  readonly keyObjects: number;
  /** By shard: everything up to this position is in the backup. */
  readonly positions: readonly number[];
}
