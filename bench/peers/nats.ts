/**
 * NATS JetStream: one stream, a subject per entity.
 *
 * The server of Debian 12 has no setting for how often its files are synced: it acknowledges when the operating system
 * has the message. Its directory is therefore mounted or marked synchronous where that can be done, and the table says
 * so where it was not.
 */
import { join } from "node:path";
import { installDebian, installNpmPackages, libraryPath, loadPackage, run } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

/** What is used of the packages of NATS. */
interface Connection {
  close(): Promise<void>;
}
interface TransportPackage {
  connect(options: { readonly servers: string }): Promise<Connection>;
}
interface JetStreamPackage {
  jetstream(
    connection: Connection,
    options: { readonly timeout: number },
  ): { publish(subject: string, data: Uint8Array): Promise<{ readonly seq: number }> };
  jetstreamManager(connection: Connection): Promise<{
    readonly streams: {
      add(options: Readonly<Record<string, unknown>>): Promise<unknown>;
      info(stream: string): Promise<{ readonly state: { readonly messages: number } }>;
    };
    readonly direct: {
      getMessage(stream: string, query: { readonly last_by_subj: string }): Promise<unknown>;
    };
  }>;
}

const stream = "events";
const install = () => installDebian("nats-server", ["nats-server"], ["--version"]);

export const nats: Peer = {
  name: "nats",
  title: "NATS JetStream",
  partner: "warp-tcp",
  notes: {
    client: "@nats-io/jetstream, pipelined, one connection",
    durability: "its directory is synchronous (`chattr +S`); the server itself syncs every two minutes",
    isDurable: true,
    seq: "the stream's, not the entity's",
    batch: "as many messages; some can be missing after a crash",
    state: "the newest message of the subject (direct get)",
  },
  async install() {
    install();
    installNpmPackages();
  },
  async start({ directory, processes }) {
    const program = install();
    const port = freePort();
    // Files and folders that are made in it are synchronous too: every write waits for the disk.
    run(["chattr", "+S", directory]);
    const args = [
      "--jetstream",
      "--store_dir",
      join(directory, "store"),
      "--addr",
      "127.0.0.1",
      "--port",
      String(port),
    ];
    await processes.start("nats", [program, ...args], () => accepts(port), { env: libraryPath });
    const { connect } = await loadPackage<TransportPackage>("@nats-io/transport-node");
    const { jetstream, jetstreamManager } = await loadPackage<JetStreamPackage>("@nats-io/jetstream");
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    const management = await jetstreamManager(connection);
    await management.streams.add({
      name: stream,
      subjects: [`${stream}.>`],
      storage: "file",
      allow_direct: true,
    });
    const client = jetstream(connection, { timeout: 60_000 });
    const encoder = new TextEncoder();
    return {
      version: run([program, "--version"]).replace(/^\D*/, "").trim(),
      async append(entity, _seq, events) {
        const subject = `${stream}.${entity}`;
        await Promise.all(
          events.map((event) => client.publish(subject, encoder.encode(JSON.stringify(event)))),
        );
      },
      read: (entity) =>
        management.direct.getMessage(stream, { last_by_subj: `${stream}.${entity}` }).catch(() => undefined),
      count: async () => (await management.streams.info(stream)).state.messages,
      stop: () => connection.close(),
    };
  },
};
