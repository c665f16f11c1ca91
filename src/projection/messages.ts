/**
 * What the main thread and the Worker of a build say to each other. Pages are handed over, not copied.
 */
import type { ErrorCode, ErrorDetails } from "../core/errors.ts";
import type { FeedPage, KnownErased } from "../core/feed.ts";
import type { EventFailure } from "./build/outcomes.ts";
import type { Table } from "./definition.ts";

export type SinkPlace =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "rqlite"; readonly url: string; readonly build: number; readonly schema: string }
  | { readonly kind: "postgres"; readonly url: string; readonly build: number; readonly schema: string };

export interface BuildOrder {
  /** Path of the application's module; undefined for rows that are only cleaned. */
  readonly application: string | undefined;
  readonly projection: string;
  readonly version: number;
  readonly tables: readonly Table[];
  /** Of its tables, as the main thread knows them. */
  readonly schema: string;
  readonly build: number;
  readonly incarnation: string;
  readonly place: SinkPlace;
  /** Queries see it from its opening on. */
  readonly isLive: boolean;
}

/** Whose erasure stands in a page, and when she was erased, which is not said there: ms since 1970. */
export type ErasedId = Pick<Erasure, "entity" | "erasedAt">;

/** Where an erasure stands in the feed. */
export interface Erasure {
  readonly shard: number;
  readonly position: number;
  readonly number: number;
  readonly entity: string;
  /** ms since 1970; 0 when it is not known. */
  readonly erasedAt: number;
  /** The id has a new life since. */
  readonly isReborn: boolean;
}

export type ToBuild =
  | { readonly type: "open"; readonly order: BuildOrder; readonly erased: KnownErased }
  | { readonly type: "pages"; readonly pages: readonly FeedPage[]; readonly erased: readonly ErasedId[] }
  /** Removes an entity's rows now, whatever waits. */
  | { readonly type: "erase"; readonly erasure: Erasure }
  /** Events of an entity that is held back, to be taken again; it is let go with the page that reaches where the shard is. */
  | {
      readonly type: "unpark";
      readonly id: number;
      readonly number: number;
      readonly page: FeedPage;
    }
  | { readonly type: "parked"; readonly id: number }
  | { readonly type: "about"; readonly id: number; readonly entity: string }
  | { readonly type: "publish"; readonly id: number }
  | { readonly type: "close" };

export interface Place {
  readonly shard: number;
  readonly position: number;
  /** ms since 1970; of the newest record that was taken. */
  readonly recordedAt: number;
}

export interface ParkedEntity {
  readonly shard: number;
  readonly number: number;
  readonly entity: string;
  readonly seq: number;
  readonly position: number;
  readonly type: string;
  readonly error: string;
  /** ms since 1970. */
  readonly parkedAt: number;
}

/** A row about an entity, as an export shows it. */
export interface TableRow {
  readonly table: string;
  readonly row: Readonly<Record<string, unknown>>;
}

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export type FromBuild =
  | {
      readonly type: "opened";
      readonly places: readonly Place[];
      readonly parked: number;
      readonly skipped: number;
    }
  /** The rows are of another incarnation of the context. */
  | { readonly type: "foreign" }
  /** What was committed since the last time. */
  | {
      readonly type: "applied";
      readonly places: readonly Place[];
      readonly records: number;
      readonly events: number;
      readonly parked: number;
      readonly skipped: number;
      /** How often retention had dropped events that are handled, since the last time. */
      readonly gaps: number;
      readonly failures: readonly EventFailure[];
    }
  /** A "pages" message is done, and its memory is free. */
  | { readonly type: "taken" }
  /** Why it stands still for now; undefined when it goes on. */
  | {
      readonly type: "waiting";
      readonly why: "retry" | "sink" | undefined;
      readonly error: WireError | undefined;
    }
  /** Nothing is left in the files of these erasures, of those that were asked for. */
  | {
      readonly type: "purged";
      readonly erased: readonly { readonly shard: number; readonly position: number }[];
    }
  /** An entity was erased whose events are in shared rows that have to be built again. */
  | { readonly type: "tainted" }
  | { readonly type: "unparked"; readonly id: number; readonly failure: EventFailure | undefined }
  | { readonly type: "parkedList"; readonly id: number; readonly parked: readonly ParkedEntity[] }
  | {
      readonly type: "rowsAbout";
      readonly id: number;
      readonly rows: readonly TableRow[];
      /** Why they cannot be read. */
      readonly error: WireError | undefined;
    }
  | { readonly type: "published"; readonly id: number }
  /** It ends; a new one may go on where it was. */
  | { readonly type: "failed"; readonly error: WireError }
  | { readonly type: "closed" };
