/**
 * What the verbs need of a context, wherever it runs: opened in this process, or on a server.
 *
 * - Verbs know this interface and nothing of the engine, so a verb works on every kind of target.
 * - Aggregates go by name here; a name that the target does not have is UNKNOWN_AGGREGATE.
 * - Reads of an entity that has no events answer seq 0, the initial state and no events.
 */
import type { BackupReport } from "../core/backup-report.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { PeriodStatus, RotationReport } from "../core/period-status.ts";
import type { DeletePlan, ErasureListed, Hold, Receipt } from "../core/receipt.ts";
import type { ProjectionAction, QueryOptions, QueryParam, QueryResult } from "../net/protocol/querying.ts";

export type {
  ProjectionAction,
  QueryOptions,
  QueryParam,
  QueryResult,
  QueryValue,
} from "../net/protocol/querying.ts";

/** What must be true of the entity: nothing, no events yet, some events, or this newest seq. */
export type Expect = "any" | "none" | "exists" | number;

export interface WriteOptions {
  readonly expect?: Expect;
  /** The call takes effect once for as long as the entity lives. */
  readonly key?: string;
}

/** The history up to this point: a seq, the engine's time or the caller's time (ms since 1970). */
export type Moment = { readonly seq: number } | { readonly recorded: number } | { readonly occurred: number };

export type AppendOutcome =
  | {
      readonly ok: true;
      readonly seq: number;
      readonly firstSeq: number;
      readonly count: number;
      /** True when an earlier call with the same key did this. */
      readonly duplicate: boolean;
    }
  | { readonly ok: false; readonly reason: "conflict"; readonly seq: number };

export type SendOutcome =
  | AppendOutcome
  | {
      readonly ok: false;
      readonly reason: "rejected";
      readonly code: string;
      readonly details: unknown;
      readonly seq: number;
      readonly duplicate: boolean;
    };

export interface EventRange {
  readonly from?: number;
  readonly to?: number;
  readonly direction?: "forward" | "backward";
  readonly limit?: number;
}

export interface EntityQuery {
  readonly prefix?: string;
  /** Only ids behind this one, in UTF-8 byte order. */
  readonly after?: string;
  readonly limit?: number;
}

export interface SubscriptionQuery {
  readonly entity?: string | undefined;
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
  /** A cursor, `"start"`, `"end"`, or a time of recording, ms since 1970. */
  readonly from: string | { readonly time: number };
  readonly stored?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Hears of interruptions that are being repaired. */
  readonly onInterrupted?: ((reason: { code: string; message: string }) => void) | undefined;
}

export type SubscriptionMessage =
  | { readonly kind: "events"; readonly events: readonly StoredEvent[]; readonly cursor: string }
  | { readonly kind: "caughtUp"; readonly cursor: string }
  | { readonly kind: "erased"; readonly entity: string; readonly cursor: string }
  /** Retention dropped events up to and including seq `droppedTo` of the entity, and with them some that were not read here yet. */
  | {
      readonly kind: "dropped";
      readonly entity: string;
      readonly droppedTo: number;
      readonly cursor: string;
    };

export interface GroupStatus {
  readonly name: string;
  readonly members: number;
  /** Records between the checkpoint and the newest. */
  readonly lag: number;
  readonly underWay: number;
  readonly waiting: number;
  readonly parked: number;
  readonly oldestParkedAt?: number | undefined;
}

export interface ParkedEvent {
  readonly shard: number;
  readonly number: number;
  readonly seq: number;
  readonly attempts: number;
  readonly reason: string;
  readonly parkedAt: number;
}

/** Groups of consumers. */
export interface TargetGroups {
  status(): Promise<readonly GroupStatus[]> | readonly GroupStatus[];
  parked(group: string, limit?: number): Promise<readonly ParkedEvent[]> | readonly ParkedEvent[];
  /** Returns how many are delivered again. */
  replay(group: string, limit?: number): Promise<number>;
  remove(group: string): Promise<void> | void;
}

export interface Target {
  /** Others can write to it too. */
  readonly isShared: boolean;
  /** The aggregates of the application, or the built-in `document`. */
  readonly aggregates: readonly string[];
  /** Their commands as `aggregate.command`, as far as they are known; for completion. */
  readonly commands: readonly string[];
  append(entity: string, events: readonly NewEvent[], options?: WriteOptions): Promise<AppendOutcome>;
  send(entity: string, command: string, input: unknown, options?: WriteOptions): Promise<SendOutcome>;
  /** The newest seq; 0 when the entity has no events. */
  seq(entity: string): Promise<number>;
  /** The newest state, and the seq that it has. */
  snapshot(entity: string, aggregate: string): Promise<{ readonly seq: number; readonly state: unknown }>;
  stateAt(entity: string, aggregate: string, at: Moment): Promise<unknown>;
  events(entity: string, range?: EventRange): AsyncIterable<StoredEvent>;
  entities(query?: EntityQuery): AsyncIterable<{ readonly id: string; readonly seq: number }>;
  /** One SELECT over the rows of projections. A target in this process first takes in what was there when it was opened. */
  query(sql: string, params: readonly QueryParam[], options?: QueryOptions): Promise<QueryResult>;
  /** Statuses of projections, or what of one is held back. */
  projection(action: ProjectionAction, projection: string, entity?: string): Promise<readonly object[]>;
  /**
   * Backs up everything into the target, a directory where the context is; a server has its own, which need not be named.
   * `onBytes` hears of what is written, as far as that is known.
   */
  backup(target: string | undefined, onBytes: (bytes: number) => void): Promise<BackupReport>;
  /** Replaces the period keys. */
  rotateKeys(): Promise<RotationReport>;
  keysStatus(): Promise<readonly PeriodStatus[]>;
  export(entity: string): AsyncIterable<string>;
  delete(entity: string, options: { reason?: string; by?: string }): Promise<Receipt>;
  deletePlan(entity: string): Promise<DeletePlan>;
  hold(entity: string, options: { reason: string; by?: string; until?: number }): Promise<Hold>;
  releaseHold(entity: string): Promise<void>;
  currentHold(entity: string): Promise<Hold | undefined>;
  /** The ledgers, verified. */
  erasures(): AsyncIterable<ErasureListed>;
  readonly groups: TargetGroups;
  /** Replays, and then follows live; each event once, in order per entity. */
  subscribe(query: SubscriptionQuery): AsyncIterable<SubscriptionMessage>;
  /** Waits for what was begun and leaves everything durable. */
  close(): Promise<void>;
}
