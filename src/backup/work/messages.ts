/**
 * What goes to a backup Worker and comes back. A Worker does one task at a time, each for one shard.
 */
import type { KeyringFile } from "../../core/keyring.ts";
import type { WireError } from "../../shard/messages.ts";

/** What every task says. */
interface Task {
  readonly target: string;
  readonly shard: number;
  readonly context: string;
  /** Of the data directory that is backed up, not of what is restored. */
  readonly incarnation: string;
}

export interface BackupTask extends Task {
  readonly type: "backup";
  readonly dataDir: string;
  /** As it stands in the directory, and the keys of its periods; there is no rotation meanwhile. */
  readonly keyring: KeyringFile;
  readonly periods: SharedArrayBuffer;
  readonly idHashKey: Uint8Array;
  /** The target was found empty: nothing that is remembered of it holds. */
  readonly isNewTarget: boolean;
  /** Memory of the flag that ends it early (stop-flag.ts). */
  readonly stop: SharedArrayBuffer;
}

export interface VerifyTask extends Task {
  readonly type: "verify";
  /** Undefined: nothing is decrypted. */
  readonly rootKey: Uint8Array | undefined;
}

export interface RestoreTask extends Task {
  readonly type: "restore";
  /** The new data directory, which is still being made. */
  readonly dataDir: string;
  readonly shards: number;
  readonly rootKey: Uint8Array;
  /** That of the new directory. */
  readonly keyring: KeyringFile;
  /** Nothing that was recorded later, ms. */
  readonly at: number | undefined;
  /** Nothing but this entity. */
  readonly entity: string | undefined;
}

export type ToBackupWorker = BackupTask | VerifyTask | RestoreTask | { readonly type: "close" };

export type FromBackupWorker =
  | { readonly type: "progress"; readonly bytes: number }
  | { readonly type: "done"; readonly result: ShardBackedUp | ShardVerified | ShardRestored }
  | { readonly type: "failed"; readonly error: WireError };

export interface ShardBackedUp {
  readonly type: "backup";
  readonly shard: number;
  /** Everything up to here is in the backup. */
  readonly position: number;
  /** Entries of the ledger whose entities' keys are in the backup no more. */
  readonly ledger: number;
  readonly segments: number;
  readonly rows: number;
  readonly bytes: number;
  /** Objects of the key set that were written. */
  readonly keyObjects: number;
  /** Numbers whose keys neither directory nor target has, and what is wrong with the first; all else is in the backup. */
  readonly damaged: { readonly numbers: number; readonly first: WireError } | undefined;
}

export interface ShardVerified {
  readonly type: "verify";
  readonly shard: number;
  readonly position: number;
  /** `recordedAt` of the newest record, ms. */
  readonly lastRecordedAt: number;
  readonly entities: number;
  /** Entities, and subjects of personal parts, that the ledger names. */
  readonly erased: number;
  readonly erasedSubjects: number;
  readonly segments: number;
  readonly rows: number;
  readonly bytes: number;
}

export interface ShardRestored {
  readonly type: "restore";
  readonly shard: number;
  readonly position: number;
  readonly lastRecordedAt: number;
  readonly entities: number;
  /** Entities, and subjects of personal parts, that the ledger names. */
  readonly erased: number;
  readonly erasedSubjects: number;
  readonly events: number;
  readonly rows: number;
  /** Holds that cannot be read, and are in force all the same. */
  readonly unreadableHolds: number;
  /** Entities and subjects that are left out, because the backup has no key of theirs. */
  readonly withoutKey: number;
  /** When what was restored was backed up, ms. */
  readonly backedUpAt: number;
}
