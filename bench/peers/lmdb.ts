/**
 * LMDB in the client's process: keys of entity and seq, each batch of writes committed by its writer thread and synced beside the next.
 */
import { join } from "node:path";
import { installNpmPackages, loadPackage, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";

type Key = readonly [entity: string, seq: number];

/** What is used of the package `lmdb`. */
interface Store {
  /** What `write` puts is one transaction. Resolves when it is committed; to false when the key was there. */
  ifNoExists(key: Key, write: () => void): Promise<boolean>;
  put(key: Key, value: unknown): Promise<boolean>;
  /** Resolves when what is written by now is committed and synced. */
  readonly flushed: PromiseLike<unknown>;
  getRange(range: {
    readonly start: Key;
    readonly end: Key;
    readonly reverse: true;
    readonly limit: number;
  }): Iterable<{ readonly value: unknown }>;
  getCount(): number;
  close(): Promise<void>;
}
interface LmdbPackage {
  open(options: Readonly<Record<string, unknown>>): Store;
}

export const lmdb: Peer = {
  name: "lmdb",
  title: "LMDB",
  partner: "warp",
  isClose: true,
  notes: {
    client: "package lmdb, which gathers writes of a turn into transactions",
    durability:
      "a transaction is committed, then synced while the next one is made (`overlappingSync`, its default); `flushed` is awaited",
    isDurable: true,
    seq: "the caller's, in the key; a second one is refused",
    batch: "one conditional write",
    state: "the newest event by key",
  },
  async install() {
    installNpmPackages();
  },
  async start({ directory }) {
    const { open } = await loadPackage<LmdbPackage>("lmdb");
    const store = open({
      path: join(directory, "events"),
      encoding: "json",
      overlappingSync: true,
      mapSize: 16 * 2 ** 30,
    });
    return {
      version: await packageVersion("lmdb"),
      async append(entity, seq, events) {
        const written = store.ifNoExists([entity, seq], () => {
          for (const [i, event] of events.entries()) void store.put([entity, seq + i], event);
        });
        // That of this transaction: behind the commit it is the next one's.
        const synced = store.flushed;
        const [isNew] = await Promise.all([written, synced]);
        if (!isNew) throw new Error(`${entity} has an event ${seq}`);
      },
      async read(entity) {
        const newest = {
          start: [entity, Number.MAX_SAFE_INTEGER],
          end: [entity, 0],
          reverse: true,
          limit: 1,
        } as const;
        for (const { value } of store.getRange(newest)) return value;
        return undefined;
      },
      count: async () => store.getCount(),
      stop: () => store.close(),
    };
  },
};
