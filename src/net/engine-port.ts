/**
 * What the network needs of an engine. The network declares it, the wiring fits the engine to it (src/server.ts); the
 * engine does not know it.
 *
 * - The hot calls take an {@link Answer} instead of returning a promise, since a server holds one object per request
 *   anyway. Exactly one of its methods is called, once; it may be called before the call returns.
 * - An answer neither throws nor calls the engine before it returns: it is told in the middle of the engine's work.
 * - A call never throws: what goes wrong goes to `reject`, as a WarpError.
 * - Calls made in one turn of the event loop share one fsync; nothing is visible before it is durable.
 */
import type { WarpError } from "../core/errors.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { Parsed } from "../core/table.ts";
import type {
  EntitiesQuery,
  EntityListed,
  EventsQuery,
  GroupAnswer,
  GroupDelivery,
  GroupStatus,
  JoinQuery,
  Moment,
  ParkedEvent,
  SendResult,
  StateAt,
  SubscribeQuery,
  WriteOptions,
} from "./protocol/outcomes.ts";
import type { ExportCursor, ExportPage, HoldAction, KeysAction } from "./protocol/privacy.ts";
import type { ProjectionRequest, QueryOptions, QueryParam, QueryResult } from "./protocol/querying.ts";

/** Where a result goes. The methods need their object: call them as `answer.resolve(result)`. */
export interface Answer<Result> {
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** An entity that was looked up before: {@link EnginePort.handle}. */
export interface EntityHandle {
  readonly id: string;
  /** False once it has to be looked up again. */
  readonly isCurrent: boolean;
}

/** What a subscription is handed at once: events of one shard, one erasure, or what is said of events that are gone. */
export interface PushedChunk {
  /** Of which its events are. */
  readonly shard: number;
  readonly events: readonly StoredEvent[];
  /** Set when it tells of an erasure; the id may be empty. */
  readonly erased: string | undefined;
  /** Set when it tells of events that retention dropped, up to and including a seq. */
  readonly gap: { readonly entity: string; readonly droppedTo: number } | undefined;
  /** What `make` made of it when it was first asked for: many subscriptions may be handed the same chunk. */
  shared<Made>(make: () => Made): Made;
}

/** Who reads a subscription. Its methods neither throw nor wait. */
export interface SubscriptionSink {
  /** Room for another chunk. */
  readonly hasRoom: boolean;
  /** The query is fine; everything else comes after this. */
  started(): void;
  chunk(chunk: PushedChunk, cursor: string): void;
  caughtUp(cursor: string): void;
  /** The cursor has moved over what the query does not ask for. */
  moved(cursor: string): void;
  /** Nothing follows; without an error when it was ended by its reader. */
  ended(error: WarpError | undefined): void;
}

export interface SubscriptionHandle {
  /** There is room again. */
  wake(): void;
  end(error?: WarpError): void;
}

/** Who works in a group. Its methods neither throw nor wait. */
export interface MemberSink {
  readonly window: number;
  readonly hasRoom: boolean;
  /** Takes deliveries of marks in the place of dropped events too. */
  readonly wantsGaps: boolean;
  /** Says of each delivery when its program reads it. */
  readonly tellsReads: boolean;
  joined(): void;
  deliver(deliveries: readonly GroupDelivery[]): void;
  /** These are not the member's any more. */
  withdraw(deliveries: readonly number[]): void;
  ended(error: WarpError | undefined): void;
}

export interface MemberHandle {
  /** Errors: INVALID_ARGUMENT for a reason that is none. */
  answer(deliveries: readonly number[], answer: GroupAnswer): void;
  /** Its program has this delivery from now on. */
  read(delivery: number): void;
  wake(): void;
  end(error?: WarpError): void;
}

export interface GroupsPort {
  /** Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED. */
  join(group: string, query: JoinQuery, sink: MemberSink): MemberHandle;
  status(): GroupStatus[];
  parked(group: string, limit?: number): ParkedEvent[];
  replay(group: string, limit?: number): Promise<number>;
  remove(group: string): void;
}

export interface EnginePort {
  /** The time that delivery sessions begin at, ms since 1970: the clock's, or later when records are. */
  sessionTime(): number;
  readonly context: string;
  readonly shards: number;
  /** Id of this node. */
  readonly node: string;
  /** New after every restore. */
  readonly incarnation: string;
  /** Names of the aggregates, the default one first; none in log mode. */
  readonly aggregates: readonly string[];
  /** Their commands, as `aggregate.command`. */
  readonly commands: readonly string[];

  /** Looks up an entity, whose id is one, for many calls. */
  handle(entity: string): EntityHandle;
  /** Calls for the first `count` of these come next; those that are undefined do not matter. */
  lookAhead(handles: readonly (EntityHandle | undefined)[], count: number): void;
  /** `parsed` is the JSON text that the list of the events' data was parsed from, when it was. */
  append(
    entity: string | EntityHandle,
    events: readonly NewEvent[],
    options: WriteOptions | undefined,
    answer: Answer<SendResult>,
    parsed?: Parsed,
  ): void;
  send(
    entity: string | EntityHandle,
    command: string,
    input: unknown,
    options: WriteOptions | undefined,
    answer: Answer<SendResult>,
  ): void;
  /** The committed state, of the first aggregate when none is named; of the past when a moment is given. */
  state(
    entity: string | EntityHandle,
    aggregate: string | undefined,
    at: Moment | undefined,
    answer: Answer<StateAt>,
  ): void;
  /** The newest durable seq; 0 for an entity without events. */
  seq(entity: string | EntityHandle, answer: Answer<number>): void;
  /** Tells the answers that are known by now. Otherwise they are told when the event loop comes by. */
  poll(): void;
  /** The durable events, in the newest version of their types, or exactly as stored. */
  events(entity: string, query: EventsQuery, stored: boolean): AsyncIterable<StoredEvent>;
  /** Follows from where the query says; see {@link SubscriptionSink}. Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED. */
  subscribe(query: SubscribeQuery, sink: SubscriptionSink): SubscriptionHandle;
  /** One SELECT over the rows of projections. */
  query(sql: string, params: readonly QueryParam[], options: QueryOptions): Promise<QueryResult>;
  /** Statuses of projections, or what of one is held back. */
  projection(request: ProjectionRequest): Promise<readonly object[]>;
  /** A page of an export, without the manifest. */
  exportPage(entity: string, cursor: ExportCursor | undefined): Promise<ExportPage>;
  /** A whole export, in pieces of whole lines, with the manifest. */
  export(entity: string): AsyncIterable<string>;
  /** Erases, or with `dryRun` says what that would remove: a receipt or a plan. */
  delete(entity: string, options: Readonly<Record<string, unknown>>): Promise<object>;
  /** Sets, releases or reads a hold; null when there is none. */
  hold(
    entity: string,
    action: HoldAction,
    options: Readonly<Record<string, unknown>>,
  ): Promise<object | null>;
  /** Entries of a shard's ledger behind one, at most some hundred. */
  erasures(shard: number, after: number): Promise<readonly object[]>;
  /**
   * Backs up everything that is durable into the target that the server was started with, or refuses another one.
   * Errors: UNSUPPORTED, INVALID_ARGUMENT, and those of a backup.
   */
  backup(target: string | undefined): Promise<object>;
  /** The period keys, or a rotation of them. */
  keys(action: KeysAction): Promise<object>;
  readonly groups: GroupsPort;
  /** The entities that have events, in the byte order of their ids. */
  entities(query: EntitiesQuery): AsyncIterable<EntityListed>;
}
