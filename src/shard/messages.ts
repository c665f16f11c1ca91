/**
 * What the engine says to the Workers of the shards and what they answer. Everything here survives `postMessage`.
 *
 * - The writer reads record bytes out of the tail's shared memory, which the engine does not reuse before the round
 *   that covers them is reported settled.
 * - One round is under way per writer at any time. A Worker that meets an error reports `failed` once and ends.
 */
import type { DeliverySession, DeliveryWindowDraft, DeliveryWindows } from "../core/delivery-windows.ts";
import type { Dropped } from "../core/dropped.ts";
import type { ErrorCode, ErrorDetails } from "../core/errors.ts";
import type { Rewrapped } from "./files/vault.ts";
import type { PersonalRequest, PersonalResult } from "./read/personal.ts";
import type { ErasureResult, LedgerResult, SizesResult } from "./read/privacy.ts";

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** What a Worker needs to open the files of shards. */
export interface ShardWorkerOptions {
  readonly dataDir: string;
  readonly context: string;
  /** The shards of this Worker. */
  readonly shards: readonly number[];
  /** True while the data directory is being made: only then are missing files made. */
  readonly create: boolean;
  /** The period keys (core/period-keys.ts). */
  readonly periods: SharedArrayBuffer;
  /** Under "os" the journal is not fsynced, so each transaction of names.db is (`PRAGMA synchronous = FULL`). */
  readonly durability: "fsync" | "os";
  /** What ids are hashed with in the ledger. */
  readonly idHashKey: Uint8Array;
  /** Bytes of delivery windows of a shard that are handed to the engine when it opens. */
  readonly deliveryBytes: number;
}

export interface SnapshotDraft {
  readonly shard: number;
  readonly number: number;
  readonly aggregate: string;
  readonly version: number;
  readonly seq: number;
  /** Encoded state, plaintext; the writer seals it. */
  readonly state: Uint8Array;
}

export type ToWriter =
  | { readonly type: "open"; readonly options: ShardWorkerOptions; readonly tail: SharedArrayBuffer }
  | {
      readonly type: "settle";
      readonly round: number;
      /** Ranges of the tail, in order, that hold whole records: start, length, start, length … */
      readonly ranges: Float64Array;
      readonly snapshots: readonly SnapshotDraft[];
      readonly deliveries: readonly DeliveryWindows[];
      /** Entities of which the ranges hold the ERASE record: shard, number, shard, number … */
      readonly erased: Float64Array;
    }
  /** Set an entity's hold, or take it away; answered by `held` when that is on the disk. */
  | {
      readonly type: "hold";
      readonly shard: number;
      readonly number: number;
      /** Plaintext; the writer seals it. */
      readonly hold: Uint8Array | undefined;
    }
  /** All that the journal held has been settled; what it held is checkpointed, too, where nothing of it is kept. */
  | { readonly type: "recovered"; readonly isJournalKept: boolean }
  /** Remove rows of erased entities, about so many and of so many bytes; answered by `swept`. */
  | { readonly type: "sweep"; readonly rowsMax: number; readonly bytesMax: number }
  /** Remove the names of these, which are erased everywhere else; answered by `released`. */
  | { readonly type: "release"; readonly erased: readonly { shard: number; numbers: readonly number[] }[] }
  /** Drop the first events of an entity (files/bases.ts); answered by `dropped`. */
  | ({ readonly type: "drop" } & DropOrder)
  /** Wrap some slots of a vault from a number on by the current period; answered by `rewrapped`. */
  | { readonly type: "rewrap"; readonly shard: number; readonly first: number }
  /** Checkpoint all shards whatever the size of their WAL; answered by `checkpointed`. `patient`: with pauses, for whoever appends. */
  | { readonly type: "checkpoint"; readonly pace?: "patient" | "brief" }
  /** Finish, checkpoint, persist filters, close every file, end the Worker. */
  | { readonly type: "close" };

export type FromWriter =
  | { readonly type: "opened"; readonly shards: readonly ShardOpened[]; readonly thread: number }
  | { readonly type: "settled"; readonly round: number; readonly runs: number; readonly bytes: number }
  /** Everything up to and including this round is in main database files and fsynced. */
  | { readonly type: "checkpointed"; readonly round: number }
  /** A larger existence filter of a shard; it contains the layers of the smaller one, so nothing added there is lost. */
  | {
      readonly type: "filter";
      readonly shard: number;
      readonly of: "ids" | "keys";
      readonly filter: FilterMemory;
    }
  /** `hasMore`: rows remain, sweep again. Entities of which only the name remains, each named once. */
  | { readonly type: "swept"; readonly hasMore: boolean; readonly entities: readonly SweptEntity[] }
  /** The shards that are done. In the others a reader kept the files from being cleaned: ask again. */
  | { readonly type: "released"; readonly shards: readonly number[] }
  | { readonly type: "recovered" }
  /** How many runs were removed; none when the order did not fit any more. */
  | { readonly type: "dropped"; readonly runs: number }
  /** False when the entity has no key: it is erased. An error when its slot is damaged. */
  | { readonly type: "held"; readonly isDone: boolean | WireError }
  | { readonly type: "rewrapped"; readonly piece: Rewrapped | WireError }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly error: WireError };

/** What goes, and what a history begins with then: the states behind `to`, plaintext, and what is known of what went. */
export interface DropOrder {
  readonly shard: number;
  readonly number: number;
  /** The last seq of a run. */
  readonly to: number;
  readonly states: readonly Omit<SnapshotDraft, "shard" | "number" | "seq">[];
  readonly about: string;
  /** Positions of the newest dropped event of each type, each once. */
  readonly places: readonly number[];
}

/** An erased entity of which nothing remains but its name. */
export interface SweptEntity {
  readonly shard: number;
  readonly number: number;
  readonly position: number;
  readonly events: number;
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
  /** Its entry in the ledger. */
  readonly entry: number;
  readonly fingerprint: Uint8Array;
}

/** Bits of an existence filter over ids (seed 0) or caller keys (seed: the number of the entity); see files/filter.ts. */
export interface FilterMemory {
  /** Oldest first; additions go to the last. */
  readonly layers: readonly SharedArrayBuffer[];
  readonly hashes: number;
}

export interface ShardOpened {
  readonly shard: number;
  /**
   * Records up to this position are settled in runs.db, and in names.db. The latter stands still while no new entity
   * comes, so it may be behind for good reason.
   */
  readonly settledPosition: number;
  readonly namedPosition: number;
  /** The number the next new entity gets. */
  readonly nextNumber: number;
  /** `recordedAt` of the newest settled record, ms. */
  readonly lastRecordedAt: number;
  readonly ids: FilterMemory;
  readonly keys: FilterMemory;
  /** Those that were used last, as far as they fit. */
  readonly deliveries: readonly DeliveryWindowDraft[];
  /** The latest start of a session among the others. */
  readonly deliveriesAbsentTo: number | undefined;
  readonly epoch: number;
  /** The newest position in the ledger; beyond the settled one when the record is in the journal, or lost. */
  readonly erasedPosition: number;
  /** By entry of the ledger: the first 48 bits of the id's hash, and the time of the erasure. */
  readonly erasedIds: Float64Array;
  readonly erasedAt: Float64Array;
}

/** Requests to the reader; each message carries many and each is answered on its own. */
export type ReadRequest =
  /** Everything needed to make an actor: who it is, newest usable snapshot of each aggregate, events after the oldest. */
  | {
      readonly id: number;
      readonly op: "load";
      readonly shard: number;
      readonly entity: string;
      /** Aggregates with the version whose snapshots are usable; empty in log mode. */
      readonly aggregates: readonly { readonly name: string; readonly version: number }[];
    }
  /** One page of settled entries of an entity, seqs within [from, to], ascending or descending by entry. */
  | {
      readonly id: number;
      readonly op: "entries";
      readonly shard: number;
      readonly number: number;
      readonly from: number;
      readonly to: number;
      readonly direction: "forward" | "backward";
      readonly bytesMax: number;
    }
  /** Settled ids with a prefix, in UTF-8 byte order, after an id. */
  | {
      readonly id: number;
      readonly op: "names";
      readonly shard: number;
      readonly prefix: string;
      readonly after: string | undefined;
      readonly limit: number;
    }
  /** What is settled of an entity, and its hold. */
  | {
      readonly id: number;
      readonly op: "sizes";
      readonly shard: number;
      readonly number: number;
      readonly isHoldOnly: boolean;
    }
  | ({ readonly id: number; readonly shard: number } & PersonalRequest)
  /** Entries of the ledger behind `after`. */
  | {
      readonly id: number;
      readonly op: "ledger";
      readonly shard: number;
      readonly after: number;
      readonly limit: number;
    }
  /** The ledger's entry of an id that was erased at a time. */
  | {
      readonly id: number;
      readonly op: "erasure";
      readonly shard: number;
      readonly erasedAt: number;
      readonly idHash: Uint8Array;
    }
  /** Looks up a caller key of an entity. */
  | {
      readonly id: number;
      readonly op: "key";
      readonly shard: number;
      readonly number: number;
      readonly key: string;
    }
  /** The delivery window of a session. */
  | ({ readonly id: number; readonly op: "window"; readonly shard: number } & DeliverySession)
  /** A page of the shard's feed (core/feed.ts): records behind `after`, none behind `to`, which is settled. */
  | {
      readonly id: number;
      readonly op: "feed";
      readonly shard: number;
      readonly after: number;
      readonly to: number;
      readonly bytesMax: number;
    }
  /** The position behind which everything settled up to `to` was recorded at `time` (ms) or later. */
  | {
      readonly id: number;
      readonly op: "positionAt";
      readonly shard: number;
      readonly time: number;
      readonly to: number;
    }
  /** Numbers behind one that have more than one run, rising. */
  | {
      readonly id: number;
      readonly op: "withRuns";
      readonly shard: number;
      readonly after: number;
      readonly limit: number;
    }
  /** The oldest runs of an entity that end `keepLast` events before its newest and were recorded up to a time. */
  | {
      readonly id: number;
      readonly op: "oldRuns";
      readonly shard: number;
      readonly number: number;
      readonly keepLast: number;
      readonly recordedTo: number;
      readonly limit: number;
    }
  /** With what the history of an entity begins whose first events were dropped. */
  | {
      readonly id: number;
      readonly op: "base";
      readonly shard: number;
      readonly number: number;
      readonly aggregates: readonly { readonly name: string; readonly version: number }[];
    }
  /** The ids of numbers. */
  | { readonly id: number; readonly op: "ids"; readonly shard: number; readonly numbers: Float64Array };

export type ToReader =
  | { readonly type: "open"; readonly options: ShardWorkerOptions }
  | { readonly type: "read"; readonly requests: readonly ReadRequest[] }
  /** Forget keys that were destroyed, and pages that were read: numbers of a shard. */
  | { readonly type: "forget"; readonly shard: number; readonly numbers: readonly number[] }
  | { readonly type: "close" };

export type FromReader =
  | { readonly type: "opened" }
  | { readonly type: "answers"; readonly answers: readonly ReadAnswer[] }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly error: WireError };

export type ReadAnswer =
  | { readonly id: number; readonly ok: true; readonly result: ReadResult }
  | { readonly id: number; readonly ok: false; readonly error: WireError };

export type ReadResult =
  | LoadResult
  | EntriesResult
  | NamesResult
  | KeyResult
  | FeedResult
  | SizesResult
  | LedgerResult
  | ErasureResult
  | PersonalResult
  | { readonly op: "positionAt"; readonly position: number }
  | { readonly op: "window"; readonly results: Uint8Array | undefined }
  | { readonly op: "withRuns"; readonly numbers: readonly number[] }
  | { readonly op: "oldRuns"; readonly runs: readonly OldRun[] }
  | { readonly op: "base"; readonly base: Base | undefined }
  /** In the order of the numbers; an empty one for a number that has none. */
  | { readonly op: "ids"; readonly ids: readonly string[] };

export interface LoadResult {
  readonly op: "load";
  /** Undefined when the shard does not know the id. */
  readonly found:
    | undefined
    | {
        readonly number: number;
        /** Newest settled seq; 0 for an entity that has only outcomes. */
        readonly seq: number;
        /** Why there is no key of it, of a load that needs none: nothing more can be settled. */
        readonly fault?: WireError | undefined;
        readonly snapshots: readonly StoredState[];
        /** What is missing of its history; the snapshots are of that seq or later. */
        readonly dropped: Dropped | undefined;
        /** First page of entries after the oldest snapshot needed (all from seq 1 if one aggregate has none). */
        readonly entries: EntriesPage;
      };
}

export interface StoredState {
  readonly aggregate: string;
  readonly version: number;
  readonly seq: number;
  readonly state: Uint8Array;
}

/** What stands in the place of dropped events: the states behind them, of the aggregates and versions asked for. */
export interface Base {
  readonly dropped: Dropped;
  readonly snapshots: readonly StoredState[];
}

export interface OldRun {
  /** Its last seq. */
  readonly end: number;
  readonly batch: number;
  /** Of its newest event, ms. */
  readonly recordedAt: number;
  readonly types: readonly string[];
  /** The newest seq of the entity. */
  readonly tip: number;
}

/** Entries back to back, as in record.ts. `firstSeq` is the seq of the first event of the first entry. */
export interface EntriesPage {
  /** Whole runs; may begin before `from` and end behind `to`: the caller cuts. Backward pages are still ascending inside. */
  readonly bytes: Uint8Array;
  readonly firstSeq: number;
  /** What is missing before the first entry, when some of it was asked for. */
  readonly dropped?: Dropped | undefined;
  /** The seq to ask for next (`from` forward, `to` backward); undefined when there is no more. */
  readonly next: number | undefined;
}

export interface EntriesResult {
  readonly op: "entries";
  readonly page: EntriesPage;
}

export interface NamesResult {
  readonly op: "names";
  readonly names: readonly { readonly entity: string; readonly number: number; readonly seq: number }[];
}

export interface KeyResult {
  readonly op: "key";
  readonly found:
    | undefined
    | {
        readonly firstSeq: number;
        readonly count: number;
        readonly contentHash: Uint8Array;
        /** JSON of the outcome when the call was rejected. */
        readonly outcome: string | undefined;
      };
}

/** Parts of the feed, back to back, and up to where they are complete. */
export interface FeedResult {
  readonly op: "feed";
  readonly upTo: number;
  readonly bytes: Uint8Array;
}
