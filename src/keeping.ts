/**
 * What keeps a context's data beyond its files, and what lets go of it: backups and retention, wired.
 */
import type { Folding } from "./actor/folding.ts";
import type { Reading } from "./actor/storage/reading.ts";
import type { Settling } from "./actor/storage/settling.ts";
import type { ShardState } from "./actor/storage/shard-state.ts";
import { Backups } from "./backup/backup.ts";
import type { DataDirectory } from "./core/data-directory.ts";
import type { WarpError } from "./core/errors.ts";
import type { Keyring } from "./core/keyring.ts";
import type { Logger } from "./core/logger.ts";
import { Retention } from "./retention/retention.ts";

export interface Keeping {
  readonly backups: Backups;
  readonly retention: Retention;
}

export interface KeepingParts {
  readonly directory: DataDirectory;
  readonly keyring: Keyring;
  readonly folding: Folding;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  readonly logger: Logger;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

export function startKeeping(parts: KeepingParts): Keeping {
  const backups = new Backups(parts);
  const retention = new Retention({ ...parts, backedUpTo: (shard) => backups.backedUpTo(shard) });
  return { backups, retention };
}

/** Finishes what is under way; of a failed engine nothing can be waited for but its backups. */
export async function stopKeeping(
  { backups, retention }: Keeping,
  failed: Promise<WarpError>,
): Promise<void> {
  await Promise.race([retention.close(), failed]);
  await backups.close();
}
