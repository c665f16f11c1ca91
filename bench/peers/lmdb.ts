/**
 * LMDB in the client's process: keys of entity and seq, each batch of writes committed and synced by its writer thread.
 */
import { join } from "node:path";
import { installNpmPackages, loadPackage, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";

type Key = readonly [entity: string, seq: number];

/** What is used of the package `lmdb`. */
interface Store {
  /** Resolves when it is committed and synced; to false when the key was there. */
  ifNoExists(key: Key, write: () => void): Promise<boolean>;
  put(key: Key, value: unknown): Promise<boolean>;
  transaction<Result>(work: () => Result): Promise<Result>;
  doesExist(key: Key): boolean;
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
  notes: {
    client: "package lmdb, which gathers writes of a turn into transactions",
    durability: "a transaction is synced before its promise resolves (`overlappingSync: false`)",
    isDurable: true,
    seq: "the caller's, in the key; a second one is refused",
    batch: "one transaction",
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
      overlappingSync: false,
      mapSize: 16 * 2 ** 30,
    });
    return {
      version: await packageVersion("lmdb"),
      async append(entity, seq, events) {
        const refuse = () => {
          throw new Error(`${entity} has an event ${seq}`);
        };
        const [first] = events;
        if (events.length === 1 && first !== undefined) {
          const key: Key = [entity, seq];
          const isNew = await store.ifNoExists(key, () => void store.put(key, first));
          if (!isNew) refuse();
          return;
        }
        await store.transaction(() => {
          if (store.doesExist([entity, seq])) refuse();
          for (const [i, event] of events.entries()) void store.put([entity, seq + i], event);
        });
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
