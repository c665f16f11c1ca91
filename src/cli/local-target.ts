/**
 * A target opened in this process. The data directory is locked until it is closed.
 */
import type { BackupReport } from "../core/backup-report.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { RootKeySource } from "../core/keyring.ts";
import type { Logger } from "../core/logger.ts";
import type { PeriodStatus, RotationReport } from "../core/period-status.ts";
import type { DeletePlan, ErasureListed, Hold, Receipt } from "../core/receipt.ts";
import { start, type Warp } from "../index.ts";
import { operateProjection } from "../server.ts";
import { UsageError } from "./exit.ts";
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

/** What the command line says about the data to open. */
export interface TargetSettings {
  /** HOST:PORT of a server; the rest but `context` is then the server's business. */
  readonly addr?: string;
  readonly dataDir: string;
  /** Make the data directory if there is none. */
  readonly create: boolean;
  /** Path of the application; the built-in `document` aggregate without one. */
  readonly app?: string;
  /** Databases that projections write to, by name. */
  readonly sinks?: Readonly<Record<string, string>>;
  readonly context?: string;
  readonly shards?: number;
  readonly mode?: "actor" | "log";
  readonly durability?: "fsync" | "os";
  readonly rootKey?: RootKeySource;
}

/** Opens, or makes, a data directory. Errors: those of `start`, and APPLICATION_INVALID. */
export async function openLocalTarget(settings: TargetSettings, logger: Logger): Promise<Target> {
  const { app, addr: _, ...rest } = settings;
  return new LocalTarget(await start({ ...rest, application: app, logger }), app !== undefined);
}

class LocalTarget implements Target {
  readonly isShared = false;
  readonly aggregates: readonly string[];
  readonly commands: readonly string[];
  private readonly warp: Warp;
  private readonly hasApp: boolean;

  constructor(warp: Warp, hasApp: boolean) {
    this.warp = warp;
    this.hasApp = hasApp;
    this.aggregates = warp.aggregates;
    this.commands = warp.commands;
  }

  append(entity: string, events: readonly NewEvent[], options: WriteOptions = {}): Promise<AppendOutcome> {
    return this.warp.entity(entity).appendBatch(events, options);
  }

  send(entity: string, command: string, input: unknown, options: WriteOptions = {}): Promise<SendOutcome> {
    return this.warp.entity(entity).send(command, input, options);
  }

  seq(entity: string): Promise<number> {
    return this.warp.entity(entity).seq();
  }

  snapshot(entity: string, aggregate: string): Promise<{ readonly seq: number; readonly state: unknown }> {
    return this.warp.entity(entity).snapshot(aggregate);
  }

  stateAt(entity: string, aggregate: string, at: Moment): Promise<unknown> {
    return this.warp.entity(entity).stateAt(at, aggregate);
  }

  events(entity: string, range: EventRange = {}): AsyncIterable<StoredEvent> {
    return this.warp.entity(entity).events(range);
  }

  entities(query: EntityQuery = {}): AsyncIterable<{ readonly id: string; readonly seq: number }> {
    return this.warp.entities(query);
  }

  async backup(target: string | undefined, onBytes: (bytes: number) => void): Promise<BackupReport> {
    if (target === undefined) throw new UsageError("name the directory that holds the backup");
    return await this.warp.backup(target, { onProgress: onBytes });
  }

  async query(sql: string, params: readonly QueryParam[], options: QueryOptions = {}): Promise<QueryResult> {
    return await this.warp.query(sql, params, {
      after: this.hasApp ? everything(this.warp) : undefined,
      ...given(options),
    });
  }

  async projection(
    action: ProjectionAction,
    projection: string,
    entity?: string,
  ): Promise<readonly object[]> {
    const { projections } = this.warp;
    // What is read of rows is read when they are open.
    if (this.hasApp && action !== "pause") await this.warp.query("SELECT 1", [], {});
    return await operateProjection(projections, { action, projection, entity });
  }

  rotateKeys(): Promise<RotationReport> {
    return this.warp.rotateKeys();
  }

  keysStatus(): Promise<readonly PeriodStatus[]> {
    return this.warp.keysStatus();
  }

  export(entity: string): AsyncIterable<string> {
    return this.warp.entity(entity).export();
  }

  delete(entity: string, options: { reason?: string; by?: string }): Promise<Receipt> {
    return this.warp.entity(entity).delete(options);
  }

  deletePlan(entity: string): Promise<DeletePlan> {
    return this.warp.entity(entity).deletePlan();
  }

  hold(entity: string, options: { reason: string; by?: string; until?: number }): Promise<Hold> {
    return this.warp.entity(entity).hold(options);
  }

  releaseHold(entity: string): Promise<void> {
    return this.warp.entity(entity).releaseHold();
  }

  currentHold(entity: string): Promise<Hold | undefined> {
    return this.warp.entity(entity).currentHold();
  }

  erasures(): AsyncIterable<ErasureListed> {
    return this.warp.erasures();
  }

  get groups(): TargetGroups {
    return this.warp.groups;
  }

  subscribe(query: SubscriptionQuery): AsyncIterable<SubscriptionMessage> {
    return this.warp.subscribe(query);
  }

  close(): Promise<void> {
    return this.warp.close();
  }
}

/** The newest place of every shard. */
function everything({ feed }: Warp): { shard: number; position: number }[] {
  return Array.from({ length: feed.shards }, (_, shard) => ({ shard, position: feed.committed(shard) }));
}

function given(options: QueryOptions): QueryOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
