/**
 * Emmett over SQLite, in the client's process.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { drivingEmmett, type EventStore, emmettSeq, emmettState } from "./emmett.ts";
import { installNpmPackages, loadPackage, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";

interface EmmettSqlitePackage {
  getSQLiteEventStore(options: Readonly<Record<string, unknown>>): EventStore;
}

const triesMax = 50;

/** A commit can find a statement that is not finalized yet; it is rolled back, and the append is done again. */
async function whenFree(append: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await append();
      return;
    } catch (thrown) {
      if (tries === triesMax || (thrown as { readonly code?: string }).code !== "SQLITE_BUSY") throw thrown;
      await new Promise(setImmediate);
    }
  }
}

export const emmettSqlite: Peer = {
  name: "emmett-sqlite",
  title: "Emmett over SQLite",
  partner: "warp",
  notes: {
    client: "@event-driven-io/emmett-sqlite, its one connection; appends take turns",
    durability: "WAL, `synchronous=FULL` (SQLite's own default)",
    isDurable: true,
    seq: emmettSeq,
    batch: "one appendToStream, one transaction",
    state: emmettState,
  },
  async install() {
    installNpmPackages();
  },
  async start({ directory }) {
    const fileName = join(directory, "events.db");
    const { getSQLiteEventStore } = await loadPackage<EmmettSqlitePackage>("@event-driven-io/emmett-sqlite");
    const store = getSQLiteEventStore({ fileName, schema: { autoMigration: "CreateOrUpdate" } });
    const { append, read } = drivingEmmett(store);
    let last: Promise<unknown> = Promise.resolve();
    return {
      version: await packageVersion("@event-driven-io/emmett-sqlite"),
      read,
      // The store has one connection, and two transactions on it at a time fail.
      append: (...args) => {
        const own = last.then(() => whenFree(() => append(...args)));
        last = own.catch(() => {});
        return own;
      },
      async count() {
        const database = new Database(fileName, { readonly: true });
        const { count } = database.query("SELECT count(*) AS count FROM emt_messages").get() as {
          count: number;
        };
        database.close();
        return count;
      },
      stop: async () => {},
    };
  },
};
