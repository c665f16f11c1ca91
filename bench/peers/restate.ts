/**
 * Restate: a virtual object per entity, one server, one service process.
 */
import { join } from "node:path";
import { cache, installNpmPackages, packagePath, run } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

const program = packagePath("@restatedev/restate-server-linux-x64/bin/restate-server");

/** Its services are made for Node. */
function node(): string {
  const path = Bun.which("node");
  if (path === null) throw new Error("Node is not installed, and Restate's service runs on it");
  return path;
}

export const restate: Peer = {
  name: "restate",
  title: "Restate virtual objects",
  partner: "warp-tcp",
  notes: {
    client: "HTTP ingress with keep-alive (fetch), as its documentation shows; the service on Node",
    durability: "its log is fsynced before the invocation goes on (its default)",
    isDurable: true,
    seq: "the virtual object gives it, one writer",
    batch: "one invocation, a key of the object for each event",
    state: "the newest event, by a shared handler",
  },
  async install() {
    node();
    installNpmPackages();
  },
  async start({ directory, processes }) {
    const service = freePort();
    const source = await Bun.file(join(import.meta.dir, "restate-service.ts")).text();
    // Beside the packages, where Node finds the SDK.
    const script = join(cache, "restate-service.mjs");
    await Bun.write(script, new Bun.Transpiler({ loader: "ts" }).transformSync(source));
    const production = { env: { NODE_ENV: "production" } };
    const command = [node(), script, String(service)];
    await processes.start("restate-service", command, () => accepts(service), production);
    const [ingress, admin, fabric] = [freePort(), freePort(), freePort()];
    const env = {
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BASE_DIR: join(directory, "data"),
      RESTATE_BIND_ADDRESS: `127.0.0.1:${fabric}`,
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${fabric}`,
      RESTATE_DISABLE_TELEMETRY: "true",
      RESTATE_LOG_FILTER: "warn",
    };
    const isReady = async () =>
      (await fetch(`http://127.0.0.1:${ingress}/restate/health`)).ok &&
      (await fetch(`http://127.0.0.1:${admin}/health`)).ok;
    await processes.start("restate", [program, "--no-logo", "--node-name", "bench"], isReady, {
      env,
      cwd: directory,
    });
    const post = async (url: string, body: unknown): Promise<unknown> => {
      const headers = { "content-type": "application/json", accept: "application/json" };
      const init = { method: "POST", headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const response = await fetch(url, init);
      const text = await response.text();
      if (!response.ok) throw new Error(`Restate answered ${response.status}: ${text.slice(0, 200)}`);
      return text === "" ? undefined : JSON.parse(text);
    };
    await post(`http://127.0.0.1:${admin}/deployments`, { uri: `http://127.0.0.1:${service}` });
    const called = (entity: string, handler: string) =>
      `http://127.0.0.1:${ingress}/entity/${entity}/${handler}`;
    return {
      version: run([program, "--version"]).replace(/^\D*/, "").trim(),
      async append(entity, _seq, events) {
        await post(called(entity, "append"), events);
      },
      read: (entity) => post(called(entity, "read"), undefined),
      async count() {
        const query = "SELECT count(*) AS count FROM state WHERE key LIKE 'event-%'";
        const answer = (await post(`http://127.0.0.1:${admin}/query`, { query })) as {
          readonly rows: readonly { readonly count: number }[];
        };
        return answer.rows[0]?.count ?? 0;
      },
      stop: async () => {},
    };
  },
};
