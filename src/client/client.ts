/**
 * A context on a server, as a program holds it. Made by `connect`.
 */
import type { BackupReport } from "../core/backup-report.ts";
import { limits } from "../core/limits.ts";
import type { PeriodStatus, RotationReport } from "../core/period-status.ts";
import type { ErasureListed } from "../core/receipt.ts";
import type { EntitiesQuery, EntityListed } from "../net/protocol/outcomes.ts";
import { type KeysAction, writeBackup, writeErasures, writeKeys } from "../net/protocol/privacy.ts";
import {
  type After,
  type ProjectionAction,
  type QueryOptions,
  type QueryParam,
  type QueryResult,
  type RowsPage,
  writeProjection,
  writeQuery,
  writeRows,
} from "../net/protocol/querying.ts";
import type { EntitiesPage, Welcome } from "../net/protocol/replies.ts";
import { writeEntities, writePing } from "../net/protocol/requests.ts";
import { operation } from "../net/protocol/words.ts";
import { pagesOf, requireWhole } from "./encoding.ts";
import { Link } from "./link.ts";
import type { CallOptions, WriteRequest } from "./sending/requests.ts";
import { RemoteEntity } from "./remote-entity.ts";
import { answerMs, type ConnectSettings, callMsMax, resolveConnect } from "./settings.ts";
import { RemoteGroups } from "./subscription/remote-groups.ts";
import { type RemoteJoinOptions, RemoteMembership } from "./subscription/remote-membership.ts";
import { type RemoteSubscribeQuery, RemoteSubscription } from "./subscription/remote-subscription.ts";

/**
 * Connects to a server and resolves when it has answered. Lost connections are repaired by themselves from then on.
 * Errors: INVALID_ARGUMENT, DISCONNECTED, UNAUTHORIZED, CONFIG_MISMATCH, UNSUPPORTED.
 */
export async function connect(settings: ConnectSettings): Promise<Client> {
  const link = new Link(resolveConnect(settings));
  await link.open();
  return new Client(link);
}

export class Client {
  readonly #link: Link;

  /** Use {@link connect}. */
  constructor(link: Link) {
    this.#link = link;
  }

  /** What the server said of itself when it was last connected to. */
  get server(): Welcome | undefined {
    return this.#link.welcome;
  }

  get isConnected(): boolean {
    return this.#link.isConnected;
  }

  /** The handle of an entity, which need not exist. Errors: INVALID_ARGUMENT for what is no text; its calls say what else is no id. */
  entity(id: string): RemoteEntity {
    return new RemoteEntity(this.#link, id);
  }

  /** The entities that have events, in the byte order of their ids. */
  entities(query: EntitiesQuery = {}, options?: CallOptions): AsyncGenerator<EntityListed> {
    return pagesOf(query.limit, async (limit, next: string | undefined) => {
      requireWhole("limit", query.limit);
      const page = {
        ...query,
        ...(limit === undefined ? undefined : { limit }),
        ...(next === undefined ? undefined : { after: next }),
      };
      const { entities, next: after } = await this.#link.request<EntitiesPage>(
        operation.entities,
        "",
        options,
        (writer, id) => writeEntities(writer, id, page),
      );
      return { items: entities, next: after };
    });
  }

  /**
   * Reads events as they become durable, from anywhere in the past on, and resumes by itself after a lost connection:
   * without a gap, without a duplicate, in order per entity and in the order of positions per shard. Errors, when it is
   * read: INVALID_ARGUMENT, CURSOR_FOREIGN, CLOSED.
   */
  subscribe(query: RemoteSubscribeQuery = {}): RemoteSubscription {
    return new RemoteSubscription(this.#link, query);
  }

  /**
   * One SELECT over the rows of the projections. `after` waits for the caller's own write: give it the result of an append.
   * A large result comes in several replies, each asked for when the one before is here; all of it is at most about 64 MiB.
   * Errors: QUERY_FAILED, TIMEOUT, INVALID_ARGUMENT, CURSOR_FOREIGN, CONFIG_MISMATCH, SINK_UNAVAILABLE, OVERLOADED; ABORTED when the
   * connection was lost between two replies.
   */
  async query(
    sql: string,
    params: readonly QueryParam[] = [],
    options: QueryOptions & CallOptions = {},
  ): Promise<QueryResult> {
    const { signal, timeoutMs = limits.queryMs, after, rows, sink } = options;
    // The server ends what takes too long; what the way takes comes on top.
    const call = { signal, timeoutMs: timeoutMs + answerMs };
    const asked = { after: placesOf(after), timeoutMs, rows, sink, pages: true };
    const first = await this.#link.request<QueryResult & RowsPage>(operation.query, "", call, (writer, id) =>
      writeQuery(writer, id, sql, params, asked),
    );
    const all = [...first.rows];
    for (let { next } = first; next !== undefined; ) {
      const number = next;
      const page = await this.#link.request<RowsPage>(operation.rows, "", call, (writer, id) =>
        writeRows(writer, id, number),
      );
      for (const row of page.rows) all.push(row);
      next = page.next;
    }
    return { columns: first.columns, rows: all, isTruncated: first.isTruncated };
  }

  /**
   * What operators do with projections. The result is the status of the projection, or of all, or what is held back. What
   * changes something is not repeated: see {@link RemoteEntity.delete}.
   */
  projection(
    action: ProjectionAction,
    projection = "",
    entity?: string,
    options?: CallOptions,
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const write: WriteRequest = (writer, id) => writeProjection(writer, id, { action, projection, entity });
    const effect = action === "list" || action === "parked" ? "none" : "once";
    return this.#link.request(operation.projection, "", options, write, 0, effect);
  }

  /**
   * Has the server back up everything that is durable now into the target that it was started with; `target` only makes sure
   * that it is this one. Resolves when it is done, at most an hour later by default. Errors: UNSUPPORTED (it has no target),
   * INVALID_ARGUMENT (another one), CONFIG_MISMATCH, CORRUPT, IO_ERROR, DISK_FULL, TIMEOUT: the server goes on all the same.
   */
  backup(target?: string, options?: CallOptions): Promise<BackupReport> {
    const call = { timeoutMs: longMs, ...options };
    const write: WriteRequest = (writer, id) => writeBackup(writer, id, target);
    return this.#link.request(operation.backup, "", call, write, 0, "repeatable");
  }

  /**
   * Has the server wrap every key by a new period key and destroy the older ones, beside all other work. Resolves when it is
   * done. Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG (nothing has changed), CORRUPT, IO_ERROR, DISK_FULL, TIMEOUT: the server
   * goes on all the same.
   */
  rotateKeys(options?: CallOptions): Promise<RotationReport> {
    return this.#keys("rotate", { timeoutMs: longMs, ...options });
  }

  /** The period keys, oldest first, and how many keys of entities each wraps. */
  keysStatus(options?: CallOptions): Promise<readonly PeriodStatus[]> {
    return this.#keys("status", { timeoutMs: longMs, ...options });
  }

  #keys<Result>(action: KeysAction, call: CallOptions): Promise<Result> {
    const write: WriteRequest = (writer, id) => writeKeys(writer, id, action);
    const effect = action === "rotate" ? "repeatable" : "none";
    return this.#link.request(operation.keys, "", call, write, 0, effect);
  }

  /** The ledgers: what was erased, shard by shard. There is no personal data in them. */
  async *erasures(options?: CallOptions): AsyncGenerator<ErasureListed> {
    await this.ping(options);
    const shards = this.server?.shards ?? 0;
    for (let shard = 0; shard < shards; shard++) {
      for (let after = 0; ; ) {
        const from = after;
        const page = await this.#link.request<readonly ErasureListed[]>(
          operation.erasures,
          "",
          options,
          (writer, id) => writeErasures(writer, id, shard, from),
        );
        yield* page;
        after = page.at(-1)?.entry ?? after;
        if (page.length === 0) break;
      }
    }
  }

  /**
   * Joins a group of consumers, which is made if it is new: its members share the events, those of an entity in order. Joins
   * again by itself after a lost connection. Errors, when it is read: INVALID_ARGUMENT, CLOSED.
   */
  join(group: string, options: RemoteJoinOptions = {}): RemoteMembership {
    return new RemoteMembership(this.#link, group, options);
  }

  /** The groups: their lag, what they parked, and what operators do with them. */
  get groups(): RemoteGroups {
    return new RemoteGroups(this.#link);
  }

  /** Resolves when the server answers. */
  ping(options?: CallOptions): Promise<void> {
    return this.#link.request(operation.ping, "", options, writePing);
  }

  /** Takes no more calls, waits for the answers to those under way, acknowledgements too, and closes the connection. */
  close(): Promise<void> {
    return this.#link.close();
  }
}

/** A first backup may take long, and so may a rotation of many keys. */
const longMs = callMsMax;

/** Of the result of an append only its place. */
function placesOf(after: QueryOptions["after"]): readonly After[] | undefined {
  if (after === undefined) return undefined;
  const list = (Array.isArray(after) ? after : [after]) as readonly After[];
  return list.map((one) => (typeof one === "string" ? one : { shard: one.shard, position: one.position }));
}
