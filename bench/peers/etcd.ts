/**
 * etcd, one node: a key per event, written only when it is not there, in one transaction an append.
 */
import { join } from "node:path";
import { installDebian, installNpmPackages, libraryPath, loadPackage, run } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

/** What is used of the package `etcd3`. */
interface Put {
  value(data: string): unknown;
}
interface Range {
  prefix(text: string): Range;
  limit(count: number): Range;
  count(): Promise<number>;
  exec(): Promise<{ readonly kvs: readonly unknown[] }>;
}
interface Client {
  if(
    key: string,
    column: "Version",
    comparator: "==",
    value: number,
  ): {
    then(...operations: unknown[]): { commit(): Promise<{ readonly succeeded: boolean }> };
  };
  put(key: string): Put;
  getAll(): Range;
  close(): void;
}
interface Etcd3Package {
  readonly Etcd3: new (options: { readonly hosts: string }) => Client;
}

const install = () => installDebian("etcd", ["etcd-server"], ["--version"]);

/** The newest event of an entity is its first key: sorted the other way round, the server would read all of them to find it. */
const keyOf = (entity: string, seq: number) => `${entity}/${String(999_999_999 - seq).padStart(9, "0")}`;

export const etcd: Peer = {
  name: "etcd",
  title: "etcd",
  partner: "warp-tcp",
  notes: {
    client: "package etcd3 (gRPC)",
    durability: "the Raft log is fsynced",
    isDurable: true,
    seq: "the caller's, in the key; a second one is refused by the transaction's comparison",
    batch: "one transaction of all keys",
    state: "the newest event, the first key of the entity",
  },
  async install() {
    install();
    installNpmPackages();
  },
  async start({ directory, processes }) {
    const program = install();
    const port = freePort();
    const url = `http://127.0.0.1:${port}`;
    const peerUrl = `http://127.0.0.1:${freePort()}`;
    const args = {
      "data-dir": join(directory, "data"),
      "listen-client-urls": url,
      "advertise-client-urls": url,
      "listen-peer-urls": peerUrl,
      "initial-advertise-peer-urls": peerUrl,
      "initial-cluster": `default=${peerUrl}`,
      "max-txn-ops": "1000",
      "max-request-bytes": "8000000",
      "quota-backend-bytes": String(8 * 2 ** 30),
      "log-level": "error",
    };
    const flags = Object.entries(args).map(([name, value]) => `--${name}=${value}`);
    await processes.start("etcd", [program, ...flags], () => accepts(port), { env: libraryPath });
    const { Etcd3 } = await loadPackage<Etcd3Package>("etcd3");
    const client = new Etcd3({ hosts: url });
    return {
      version: /etcd Version: (\S+)/.exec(run([program, "--version"]))?.[1] ?? "",
      async append(entity, seq, events) {
        const puts = events.map((event, i) =>
          client.put(keyOf(entity, seq + i)).value(JSON.stringify(event)),
        );
        const { succeeded } = await client
          .if(keyOf(entity, seq), "Version", "==", 0)
          .then(...puts)
          .commit();
        if (!succeeded) throw new Error(`${entity} has an event ${seq}`);
      },
      async read(entity) {
        const { kvs } = await client.getAll().prefix(`${entity}/`).limit(1).exec();
        return kvs[0];
      },
      count: () => client.getAll().count(),
      stop: async () => client.close(),
    };
  },
};
