/**
 * A context as a program holds it. Made by `start` (context.ts).
 */
import type { SessionTime } from "./actor/deliveries/session-time.ts";
import type { Engine } from "./actor/engine.ts";
import { Entity } from "./actor/entity.ts";
import type { Folding } from "./actor/folding.ts";
import type { ErasureListed, ErasuresQuery, Privacy } from "./actor/privacy.ts";
import type { Residency } from "./actor/residency.ts";
import type { HistoryParts } from "./actor/storage/history.ts";
import { type EntitiesQuery, type EntityListed, listEntities } from "./actor/storage/listing.ts";
import type { Reading } from "./actor/storage/reading.ts";
import { type Participant, type TogetherResult, together } from "./actor/together.ts";
import type { Rejection } from "./aggregate/command.ts";
import type { BackupOptions, Backups } from "./backup/backup.ts";
import type { KnownTarget } from "./backup/known-targets.ts";
import type { BackupReport } from "./core/backup-report.ts";
import type { Identity } from "./core/data-directory.ts";
import type { ErasureFollowers } from "./core/erasure.ts";
import type { WarpError } from "./core/errors.ts";
import type { FeedSource } from "./core/feed.ts";
import type { PeriodStatus, RotationReport } from "./core/period-status.ts";
import type { Projections } from "./projection/projections.ts";
import type { QueryParam, QueryResult } from "./projection/query/messages.ts";
import type { Queries, QueryOptions } from "./projection/query/query.ts";
import type { Rotation } from "./privacy/rotation.ts";
import type { Retention, RetentionReport } from "./retention/retention.ts";
import type { Follower, Sink } from "./subscription/follower.ts";
import type { Following } from "./subscription/following.ts";
import type { Groups } from "./subscription/groups/groups.ts";
import { type JoinOptions, Membership } from "./subscription/groups/membership.ts";
import type { FollowQuery } from "./subscription/hub.ts";
import { type SubscribeQuery, Subscription } from "./subscription/subscription.ts";

export interface WarpParts {
  readonly identity: Identity;
  readonly engine: Engine;
  readonly residency: Residency;
  readonly reading: Reading;
  readonly folding: Folding;
  readonly history: HistoryParts;
  readonly sessionTime: SessionTime;
  readonly following: Following;
  readonly projections: Projections;
  readonly queries: Queries;
  readonly privacy: Privacy;
  readonly erasureFollowers: ErasureFollowers;
  readonly backups: Backups;
  readonly retention: Retention;
  readonly rotation: Rotation;
  readonly failed: Promise<WarpError>;
  readonly close: () => Promise<void>;
}

export interface Pressure {
  readonly residentEntities: number;
  /** Estimate of what they take. */
  readonly residentBytes: number;
  readonly pendingWrites: number;
  /** Records that are not in the shards' files yet, over all writers. */
  readonly unsettledBytes: number;
}

export class Warp {
  readonly context: string;
  readonly shards: number;
  /** Id of the node that made the directory. */
  readonly node: string;
  /** New after every restore. */
  readonly incarnation: string;
  /** Names of the aggregates, the default one first; none in log mode. */
  readonly aggregates: readonly string[];
  /** Their commands, as `aggregate.command`. */
  readonly commands: readonly string[];
  /** Resolves with the reason when the engine fails; a closed context never resolves it. */
  readonly failed: Promise<WarpError>;
  /** Whoever keeps something made of events registers here; erasures wait for them. */
  readonly erasureFollowers: ErasureFollowers;
  readonly #parts: WarpParts;
  #closing: Promise<void> | undefined;

  constructor(parts: WarpParts) {
    this.context = parts.identity.context;
    this.shards = parts.identity.shards;
    this.node = parts.identity.nodeId;
    this.incarnation = parts.identity.incarnation;
    this.aggregates = parts.folding.plan.aggregates.map(({ name }) => name);
    this.commands = parts.folding.plan.aggregates.flatMap(({ name, commands }) =>
      [...commands.keys()].map((command) => `${name}.${command}`),
    );
    this.failed = parts.failed;
    this.erasureFollowers = parts.erasureFollowers;
    this.#parts = parts;
  }

  /** The ledgers: what was erased. Every entry is verified against the chain. Errors: CORRUPT for a broken one. */
  erasures(query: ErasuresQuery = {}): AsyncGenerator<ErasureListed> {
    return this.#parts.privacy.erasures(query);
  }

  /** Resolves when every erasure is complete, those of earlier lives too, and every follower has passed it. Errors: CLOSED, ENGINE_FAILED. */
  whenTidy(): Promise<void> {
    return this.#parts.privacy.whenTidy();
  }

  /** The time that a client's delivery sessions begin at, ms since 1970: the clock's, or later when records are. */
  sessionTime(): number {
    return this.#parts.sessionTime.now();
  }

  /** The handle of an entity, which need not exist. Errors: INVALID_ARGUMENT for what is no id. */
  entity(id: string): Entity {
    return new Entity(this.#parts, this.#parts.residency.actor(id));
  }

  /** As {@link entity}, one handle for all who ask while the entity is in memory: for a server's connections. */
  sharedHandle(id: string): Entity {
    const actor = this.#parts.residency.actor(id);
    actor.handle ??= new Entity(this.#parts, actor);
    return actor.handle;
  }

  /**
   * Appends to several entities of one shard at once, all or nothing: `decide` sees them at one moment and appends to
   * them, or returns `reject(code)`. It may run more than once before anything is appended, so it only looks and appends,
   * and is not async. Errors: CROSS_SHARD unless the ids share a shard (give them a common `{tag}`); COMMAND_FAILED when it throws or
   * returns anything else.
   */
  atomically(
    ids: readonly string[],
    // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is the usual case.
    decide: (participants: readonly Participant[]) => Rejection | undefined | void,
  ): Promise<TogetherResult> {
    return together(this.#parts, ids, decide);
  }

  /** The entities that have events, in the byte order of their ids. */
  entities(query: EntitiesQuery = {}): AsyncGenerator<EntityListed> {
    const { reading, residency } = this.#parts;
    return listEntities({ reading, residency, shards: this.shards }, query);
  }

  /**
   * Reads events as they become durable, from anywhere in the past on: without a gap, without a duplicate, in order per
   * entity and in the order of positions per shard. Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED, ENGINE_FAILED; and when
   * it is read, CURSOR_FOREIGN.
   */
  subscribe(query: SubscribeQuery = {}): Subscription {
    return new Subscription(this.#parts.following.hub, query);
  }

  /** As {@link subscribe}, with no promise in between: what a server calls. */
  follow(query: FollowQuery, sink: Sink): Follower {
    return this.#parts.following.hub.follow(query, sink);
  }

  /** Everything durable in the order of positions, for followers. */
  get feed(): FeedSource {
    return this.#parts.following.feed;
  }

  /** The projections of the application: their status, and what operators do with them. */
  get projections(): Projections {
    return this.#parts.projections;
  }

  /**
   * Runs one SELECT over the rows of the projections, read-only. `after` waits for the caller's own write: give it the result
   * of an append. Errors: INVALID_ARGUMENT, QUERY_FAILED, TIMEOUT, SINK_UNAVAILABLE, OVERLOADED, CURSOR_FOREIGN, CONFIG_MISMATCH.
   */
  query(sql: string, params: readonly QueryParam[] = [], options: QueryOptions = {}): Promise<QueryResult> {
    return this.#parts.queries.run(sql, params, options);
  }

  /**
   * Backs up everything that is durable now into a target, the path of a directory; only what is new since the last
   * backup there. Errors: CONFIG_MISMATCH (the target holds another backup), CORRUPT, IO_ERROR, DISK_FULL; none of them
   * fails the engine.
   */
  backup(target: string, options?: BackupOptions): Promise<BackupReport> {
    return this.#parts.backups.run(target, options);
  }

  /**
   * Wraps every key by a new period key and destroys the older ones, beside all other work; interrupted, it is finished by the
   * next one. Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG (nothing has changed), CORRUPT, IO_ERROR, DISK_FULL, ENGINE_FAILED,
   * CLOSED (the next one finishes it).
   */
  rotateKeys(): Promise<RotationReport> {
    return this.#parts.rotation.run();
  }

  /** The period keys, oldest first, and how many keys of entities each wraps. Errors: CORRUPT, IO_ERROR. */
  keysStatus(): Promise<PeriodStatus[]> {
    return this.#parts.rotation.status();
  }

  /**
   * Answers the calls that are durable by now. They are answered anyway as soon as the event loop comes by; a program that
   * is about to keep the main thread for long, such as a server with a thousand requests to read, need not make them wait.
   */
  poll(): void {
    this.#parts.engine.poll();
  }

  /**
   * Joins a group of consumers, which is made if it is new: its members share the events, those of an entity in order.
   * Errors: INVALID_ARGUMENT, OVERLOADED, CLOSED, ENGINE_FAILED.
   */
  join(group: string, options: JoinOptions = {}): Membership {
    return new Membership(this.#parts.following.groups, group, options);
  }

  /** The groups: their lag, what they parked, and what operators do with them. */
  get groups(): Groups {
    return this.#parts.following.groups;
  }

  /** Subscriptions there are, and those of them that wait at the end. */
  get subscriptions(): { readonly followers: number; readonly live: number } {
    return this.#parts.following.hub.counters;
  }

  /** Into which targets this directory was ever backed up: until their next backups they hold keys of who is erased. */
  get backupTargets(): readonly KnownTarget[] {
    return this.#parts.backups.targets;
  }

  /**
   * Looks once for events that the aggregates' `retention` lets go, as happens by itself every ten minutes. An
   * entity that cannot be folded keeps its events and is counted as `failed`. Errors: those of reading and settling.
   */
  retain(): Promise<RetentionReport> {
    return this.#parts.retention.run();
  }

  /** What is in memory and under way, for operators. */
  get pressure(): Pressure {
    const { residency, engine, history } = this.#parts;
    let unsettledBytes = 0;
    for (const tail of history.tails) unsettledBytes += tail.heldBytes + tail.openBytes;
    return {
      residentEntities: residency.count,
      residentBytes: residency.bytes,
      pendingWrites: engine.pending,
      unsettledBytes,
    };
  }

  /** Finishes what is under way, settles and checkpoints everything, and lets go of the directory. */
  close(): Promise<void> {
    this.#closing ??= this.#parts.close();
    return this.#closing;
  }
}
