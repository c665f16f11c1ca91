/**
 * Plain SQLite in the client's process, by Bun: a transaction for each append, and appends of all callers gathered into
 * transactions of up to 1,000 events.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { Peer, RunningPeer } from "./harness/peer.ts";

type Append = Parameters<RunningPeer["append"]>;

const durability = "WAL, `synchronous=FULL`: one fsync a transaction";
const notes = {
  client: "bun:sqlite",
  durability,
  isDurable: true,
  seq: "the caller's, in the primary key; a second one is refused",
  batch: "one transaction",
  state: "the newest event by primary key",
};

function open(directory: string) {
  const database = new Database(join(directory, "events.db"), { create: true, strict: true });
  database.run("PRAGMA journal_mode=WAL");
  database.run("PRAGMA synchronous=FULL");
  // As much memory as Warp's own SQLite has, and checkpoints as far apart as a WAL of 64 MiB lets them be.
  database.run("PRAGMA cache_size=-131072");
  database.run("PRAGMA wal_autocheckpoint=16384");
  database.run(
    "CREATE TABLE events (entity TEXT, seq INTEGER, type TEXT, data TEXT, PRIMARY KEY (entity, seq)) WITHOUT ROWID",
  );
  const insert = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?)");
  const newest = database.prepare(
    "SELECT seq, type, data FROM events WHERE entity = ? ORDER BY seq DESC LIMIT 1",
  );
  const count = database.prepare<{ count: number }, []>("SELECT count(*) AS count FROM events");
  return {
    /** In one transaction. */
    insertAll: database.transaction((appends: readonly Append[]) => {
      for (const [entity, first, events] of appends) {
        let seq = first;
        for (const { type, data } of events) insert.run(entity, seq++, type, JSON.stringify(data));
      }
    }),
    running: {
      version:
        database.query<{ version: string }, []>("SELECT sqlite_version() AS version").get()?.version ?? "",
      read: async (entity: string) => newest.get(entity),
      count: async () => count.get()?.count ?? 0,
      stop: async () => {
        for (const statement of [insert, newest, count]) statement.finalize();
        database.close();
      },
    },
  };
}

export const sqlite: Peer = {
  name: "sqlite",
  title: "SQLite, a transaction an append",
  partner: "warp",
  notes,
  async install() {},
  async start({ directory }) {
    const { insertAll, running } = open(directory);
    return {
      ...running,
      append: async (...append) => {
        insertAll([append]);
        // An append holds the thread; others get their turn between two of them.
        await new Promise(setImmediate);
      },
    };
  },
};

interface Waiting {
  readonly append: Append;
  readonly resolve: () => void;
  readonly reject: (thrown: unknown) => void;
}

const gatheredEvents = 1000;

export const sqliteGathered: Peer = {
  name: "sqlite-1000",
  title: "SQLite, up to 1,000 events a transaction",
  partner: "warp",
  notes: { ...notes, client: "bun:sqlite, and 20 lines that gather what callers ask for" },
  async install() {},
  async start({ directory }) {
    const { insertAll, running } = open(directory);
    let waiting: Waiting[] = [];
    const commit = () => {
      const gathered: Waiting[] = [];
      for (let events = 0; waiting.length > gathered.length && events < gatheredEvents; ) {
        const next = waiting[gathered.length];
        if (next === undefined) break;
        gathered.push(next);
        events += next.append[2].length;
      }
      waiting = waiting.slice(gathered.length);
      if (waiting.length > 0) setImmediate(commit);
      try {
        insertAll(gathered.map(({ append }) => append));
        for (const { resolve } of gathered) resolve();
      } catch (thrown) {
        for (const { reject } of gathered) reject(thrown);
      }
    };
    return {
      ...running,
      append: (...append) =>
        new Promise((resolve, reject) => {
          if (waiting.length === 0) setImmediate(commit);
          waiting.push({ append, resolve, reject });
        }),
    };
  },
};
