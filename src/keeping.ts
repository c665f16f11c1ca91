/**
 * What keeps a context's data beyond its files, and what lets go of it: backups, retention, and the keys above, wired.
 */
import type { Folding } from "./actor/folding.ts";
import type { Reading } from "./actor/storage/reading.ts";
import type { Settling } from "./actor/storage/settling.ts";
import type { ShardState } from "./actor/storage/shard-state.ts";
import { Backups } from "./backup/backup.ts";
import type { KnownTargets } from "./backup/known-targets.ts";
import type { DataDirectory } from "./core/data-directory.ts";
import type { WarpError } from "./core/errors.ts";
import type { RootKeySource } from "./core/keyring.ts";
import type { Logger } from "./core/logger.ts";
import { PeriodKeys } from "./core/period-keys.ts";
import { Rotation, type RotationParts } from "./privacy/rotation.ts";
import { Retention } from "./retention/retention.ts";

export interface Keeping {
  readonly backups: Backups;
  readonly retention: Retention;
  readonly rotation: Rotation;
}

export interface KeepingParts {
  readonly directory: DataDirectory;
  /** Which targets the directory has been backed up into. */
  readonly known: KnownTargets;
  readonly idHashKey: Uint8Array;
  /** The period keys that all threads share. */
  readonly periods: SharedArrayBuffer;
  readonly rootKey: RootKeySource | undefined;
  readonly journal: RotationParts["journal"];
  readonly retireSegments: () => void;
  readonly folding: Folding;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  readonly isHeldAsSubject: (id: string) => Promise<boolean>;
  readonly logger: Logger;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

export function startKeeping(parts: KeepingParts): Keeping {
  const { path: dataDir, identity } = parts.directory;
  const { context, shards } = identity;
  const backups = new Backups({ ...parts, periods: new PeriodKeys(parts.periods) });
  const apart: RotationParts["apart"] = (work) => backups.apart(work);
  const rotation = new Rotation({ ...parts, dataDir, context, shards, apart });
  const retention = new Retention({ ...parts, backedUpTo: (shard) => backups.backedUpTo(shard), apart });
  return { backups, retention, rotation };
}

/** Finishes what is under way; of a failed engine nothing can be waited for but its backups. */
export async function stopKeeping(
  { backups, retention, rotation }: Keeping,
  failed: Promise<WarpError>,
): Promise<void> {
  rotation.close();
  await Promise.race([retention.close(), failed]);
  await backups.close();
}
