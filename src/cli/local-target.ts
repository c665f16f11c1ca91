/**
 * A target opened in this process. The data directory is locked until it is closed.
 */
import type { BackupReport } from "../backup/backup.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { RootKeySource } from "../core/keyring.ts";
import type { Logger } from "../core/logger.ts";
import { start, type Warp } from "../index.ts";
import type {
  AppendOutcome,
  EntityQuery,
  EventRange,
  Moment,
  SendOutcome,
  Target,
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
  readonly context?: string;
  readonly shards?: number;
  readonly mode?: "actor" | "log";
  readonly durability?: "fsync" | "os";
  readonly rootKey?: RootKeySource;
}

/** Opens, or makes, a data directory. Errors: those of `start`, and APPLICATION_INVALID. */
export async function openLocalTarget(settings: TargetSettings, logger: Logger): Promise<Target> {
  const { app, addr: _, ...rest } = settings;
  return new LocalTarget(await start({ ...rest, application: app, logger }));
}

class LocalTarget implements Target {
  readonly isShared = false;
  readonly aggregates: readonly string[];
  readonly commands: readonly string[];
  private readonly warp: Warp;

  constructor(warp: Warp) {
    this.warp = warp;
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

  async state(entity: string, aggregate: string, at?: Moment): Promise<unknown> {
    const handle = this.warp.entity(entity);
    return at === undefined ? await handle.read(aggregate) : await handle.stateAt(at, aggregate);
  }

  events(entity: string, range: EventRange = {}): AsyncIterable<StoredEvent> {
    return this.warp.entity(entity).events(range);
  }

  entities(query: EntityQuery = {}): AsyncIterable<{ readonly id: string; readonly seq: number }> {
    return this.warp.entities(query);
  }

  backup(target: string, onBytes: (bytes: number) => void): Promise<BackupReport> {
    return this.warp.backup(target, { onProgress: onBytes });
  }

  close(): Promise<void> {
    return this.warp.close();
  }
}
