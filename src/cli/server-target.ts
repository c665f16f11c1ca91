/**
 * A target on a server, reached over the wire protocol.
 */

import { type Client, connect } from "../client/client.ts";
import type { BackupReport } from "../core/backup-report.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { PeriodStatus, RotationReport } from "../core/period-status.ts";
import type { DeletePlan, ErasureListed, Hold, Receipt } from "../core/receipt.ts";
import type {
  AppendOutcome,
  EntityQuery,
  EventRange,
  Moment,
  ProjectionAction,
  QueryOptions,
  QueryParam,
  QueryResult,
  SendOutcome,
  SubscriptionMessage,
  SubscriptionQuery,
  Target,
  TargetGroups,
  WriteOptions,
} from "./target.ts";

/** A server that is there answers at once; one that is being started again, within this. */
const connectTimeoutMs = 5000;

/** Connects to a server. Errors: those of `connect`. */
export async function openServerTarget(address: string, context: string | undefined): Promise<Target> {
  return new ServerTarget(await connect({ address, context, connectTimeoutMs, name: "warp command line" }));
}

class ServerTarget implements Target {
  readonly isShared = true;
  private readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  get aggregates(): readonly string[] {
    return this.client.server?.aggregates ?? [];
  }

  get commands(): readonly string[] {
    return this.client.server?.commands ?? [];
  }

  append(entity: string, events: readonly NewEvent[], options: WriteOptions = {}): Promise<AppendOutcome> {
    return this.client.entity(entity).appendBatch(events, options);
  }

  send(entity: string, command: string, input: unknown, options: WriteOptions = {}): Promise<SendOutcome> {
    return this.client.entity(entity).send(command, input, options);
  }

  seq(entity: string): Promise<number> {
    return this.client.entity(entity).seq();
  }

  snapshot(entity: string, aggregate: string): Promise<{ readonly seq: number; readonly state: unknown }> {
    return this.client.entity(entity).snapshot(aggregate);
  }

  stateAt(entity: string, aggregate: string, at: Moment): Promise<unknown> {
    return this.client.entity(entity).stateAt(at, aggregate);
  }

  events(entity: string, range: EventRange = {}): AsyncIterable<StoredEvent> {
    return this.client.entity(entity).events(range);
  }

  entities(query: EntityQuery = {}): AsyncIterable<{ readonly id: string; readonly seq: number }> {
    return this.client.entities(query);
  }

  backup(target: string | undefined): Promise<BackupReport> {
    return this.client.backup(target);
  }

  query(sql: string, params: readonly QueryParam[], options: QueryOptions = {}): Promise<QueryResult> {
    return this.client.query(sql, params, options);
  }

  projection(action: ProjectionAction, projection: string, entity?: string): Promise<readonly object[]> {
    return this.client.projection(action, projection, entity);
  }

  rotateKeys(): Promise<RotationReport> {
    return this.client.rotateKeys();
  }

  keysStatus(): Promise<readonly PeriodStatus[]> {
    return this.client.keysStatus();
  }

  export(entity: string): AsyncIterable<string> {
    return this.client.entity(entity).export();
  }

  delete(entity: string, options: { reason?: string; by?: string }): Promise<Receipt> {
    return this.client.entity(entity).delete(options);
  }

  deletePlan(entity: string): Promise<DeletePlan> {
    return this.client.entity(entity).deletePlan();
  }

  hold(entity: string, options: { reason: string; by?: string; until?: number }): Promise<Hold> {
    return this.client.entity(entity).hold(options);
  }

  releaseHold(entity: string): Promise<void> {
    return this.client.entity(entity).releaseHold();
  }

  currentHold(entity: string): Promise<Hold | undefined> {
    return this.client.entity(entity).currentHold();
  }

  erasures(): AsyncIterable<ErasureListed> {
    return this.client.erasures();
  }

  get groups(): TargetGroups {
    return this.client.groups;
  }

  subscribe(query: SubscriptionQuery): AsyncIterable<SubscriptionMessage> {
    return this.client.subscribe(query);
  }

  close(): Promise<void> {
    return this.client.close();
  }
}
