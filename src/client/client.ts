/**
 * A context on a server, as a program holds it. Made by `connect`.
 */
import type { EntitiesQuery, EntityListed } from "../net/protocol/outcomes.ts";
import type { EntitiesPage, Welcome } from "../net/protocol/replies.ts";
import { writeEntities, writePing } from "../net/protocol/requests.ts";
import { operation } from "../net/protocol/words.ts";
import { pagesOf } from "./encoding.ts";
import { type CallOptions, Link } from "./link.ts";
import { RemoteEntity } from "./remote-entity.ts";
import { type RemoteSubscribeQuery, RemoteSubscription } from "./remote-subscription.ts";
import { type ConnectSettings, resolveConnect } from "./settings.ts";

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

  /** The handle of an entity, which need not exist. */
  entity(id: string): RemoteEntity {
    return new RemoteEntity(this.#link, id);
  }

  /** The entities that have events, in the byte order of their ids. */
  entities(query: EntitiesQuery = {}, options?: CallOptions): AsyncGenerator<EntityListed> {
    return pagesOf(query.limit, async (limit, next: string | undefined) => {
      const page = {
        ...query,
        ...(limit === undefined ? undefined : { limit }),
        ...(next === undefined ? undefined : { after: next }),
      };
      const { entities, next: after } = await this.#link.request<EntitiesPage>(
        operation.entities,
        false,
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

  /** Resolves when the server answers. */
  ping(options?: CallOptions): Promise<void> {
    return this.#link.request(operation.ping, false, "", options, writePing);
  }

  /** Takes no more calls, waits for the answers to those under way, and closes the connection. */
  close(): Promise<void> {
    return this.#link.close();
  }
}
