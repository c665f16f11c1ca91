/**
 * Cloudflare's workerd with SQLite Durable Objects on the local disk: an object per entity.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { installNpmPackages, packagePath, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

const program = packagePath("@cloudflare/workerd-linux-64/bin/workerd");

const configOf = (port: number, objects: string) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker), (name = "objects", disk = (path = "${objects}", writable = true)) ],
  sockets = [ (name = "http", address = "127.0.0.1:${port}", http = (), service = "main") ]
);
const worker :Workerd.Worker = (
  modules = [ (name = "main", esModule = embed "main.js"), (name = "object", esModule = embed "object.js") ],
  compatibilityDate = "2025-05-01",
  durableObjectNamespaces = [ (className = "Entity", uniqueKey = "entity", enableSql = true, preventEviction = true) ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [ (name = "ENTITY", durableObjectNamespace = "Entity") ]
);
`;
/** The runtime wants a default export. */
const main = `export { Entity } from "object";\nexport { handler as default } from "object";\n`;

export const workerd: Peer = {
  name: "workerd",
  title: "workerd, SQLite Durable Objects",
  partner: "warp-tcp",
  notes: {
    client: "HTTP with keep-alive (fetch)",
    durability:
      "the answer waits for the object's SQLite commit (WAL); each object has a file of its own; none is evicted",
    isDurable: true,
    seq: "the object gives it, one writer",
    batch: "one request, one transaction of the object",
    state: "the newest event, in the object",
  },
  async install() {
    installNpmPackages();
  },
  async start({ directory, processes }) {
    const port = freePort();
    const objects = join(directory, "objects");
    mkdirSync(objects);
    const config = join(directory, "config.capnp");
    const transpiler = new Bun.Transpiler({ loader: "ts" });
    const object = await Bun.file(join(import.meta.dir, "workerd-object.ts")).text();
    await Bun.write(join(directory, "object.js"), transpiler.transformSync(object));
    await Bun.write(join(directory, "main.js"), main);
    await Bun.write(config, configOf(port, objects));
    await processes.start("workerd", [program, "serve", "--experimental", config], () => accepts(port));
    const url = `http://127.0.0.1:${port}`;
    const known = new Set<string>();
    const get = async (path: string) => {
      const response = await fetch(`${url}/${path}`);
      if (response.ok) return await response.json();
      if (response.status !== 404) throw new Error(`workerd answered ${response.status}`);
      await response.arrayBuffer();
      return undefined;
    };
    return {
      version: await packageVersion("workerd"),
      async append(entity, _seq, events) {
        known.add(entity);
        const response = await fetch(`${url}/${entity}`, { method: "POST", body: JSON.stringify(events) });
        await response.arrayBuffer();
        if (!response.ok) throw new Error(`workerd answered ${response.status}`);
      },
      read: get,
      async count() {
        let events = 0;
        for (const entity of known)
          events += ((await get(`${entity}/count`)) as { readonly count: number }).count;
        return events;
      },
      stop: async () => {},
    };
  },
};
