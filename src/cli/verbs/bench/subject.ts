/**
 * What a run drives, and what can be asked of it meanwhile: an engine in this process, or one behind a server.
 */
import type { NewEvent } from "../../../index.ts";
import type { DrivenEntities } from "./entities.ts";
import type { Payments } from "./payload.ts";
import type { ProcessorUse } from "./processors/processor.ts";
import type { Random } from "./random.ts";
import type { StateReads } from "./state-reads.ts";

export interface DrivenEntity {
  append(event: NewEvent): Promise<{ readonly ok: boolean }>;
  appendBatch(events: readonly NewEvent[]): Promise<{ readonly ok: boolean }>;
  /** The state of the context's first aggregate. */
  read(): Promise<unknown>;
  seq(): Promise<number>;
}

export interface EntitySource {
  entity(id: string): DrivenEntity;
}

/** Of the engine's process; what a server does not tell is undefined. */
export interface Readings {
  /** Over TCP the client and the server together, and each for itself. */
  readonly processor: ProcessorUse & {
    readonly client?: Pick<ProcessorUse, "busy" | "share">;
    readonly server?: Pick<ProcessorUse, "busy" | "share">;
  };
  readonly rssBytes: number | undefined;
  /** Memory of the client, when the engine is in another process. */
  readonly clientRssBytes?: number;
  /** Bytes that were journalled and not settled, when the window opened and when it closed. */
  readonly backlogStartBytes: number | undefined;
  readonly backlogEndBytes: number | undefined;
  readonly residentEntities: number | undefined;
}

export interface ServerFacts {
  readonly address: string;
  /** Started for this run, and stopped after it. */
  readonly isChild: boolean;
  /** Those of its context, the one that folds and is read first: `ledger` is the one that belongs to the load. */
  readonly aggregates: readonly string[];
}

export interface Subject {
  readonly source: EntitySource;
  /** Undefined in process. */
  readonly server?: ServerFacts;
  /** Opens a window; the function closes it and tells what happened in it. */
  measure(): Promise<() => Promise<Readings>>;
  /** Reads that need no wire; a server has none. */
  stateReads?(
    driven: DrivenEntities,
    payments: Payments,
    random: Random,
    seconds: number,
  ): Promise<StateReads>;
  /** Can be called again. */
  close(): Promise<void>;
}
