/**
 * PostgreSQL: a table of events whose primary key is entity and seq. A second event of a seq is refused.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "./harness/install.ts";
import type { Peer, Place } from "./harness/peer.ts";
import { freePort, giveTo, unprivilegedUser } from "./harness/processes.ts";

/** More of them are no faster. */
const connections = 16;

/** Folder of the newest PostgreSQL of this machine. */
function programs(): string {
  const installed = [Bun.which("initdb") ?? ""].filter((path) => path !== "");
  const debian = "/usr/lib/postgresql";
  try {
    const [newest] = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
    if (newest !== undefined) return join(debian, newest, "bin");
  } catch {
    // Not a Debian.
  }
  const [path] = installed;
  if (path === undefined) throw new Error("PostgreSQL is not installed (Debian: apt-get install postgresql)");
  return join(path, "..");
}

/** Starts a server of its own; resolves to its port and version. Used by everything that stores in PostgreSQL. */
export async function startPostgres({
  directory,
  processes,
}: Place): Promise<{ port: number; version: string }> {
  const user = unprivilegedUser();
  const bin = programs();
  const data = join(directory, "data");
  giveTo(user, directory);
  const init = ["-D", data, "-U", "bench", "--auth=trust", "--encoding=UTF8", "--no-locale"];
  processes.run([join(bin, "initdb"), ...init], user === undefined ? {} : { user });
  const port = freePort();
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    fsync: "on",
    synchronous_commit: "on",
    shared_buffers: "1GB",
    max_wal_size: "8GB",
    max_connections: 100,
    // It would begin in the middle of a window or not, as the minute happens to be.
    autovacuum: "off",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const isReady = async () => run([join(bin, "pg_isready"), "-h", "127.0.0.1", "-p", String(port)]) !== "";
  const command = [join(bin, "postgres"), "-D", data, ...options];
  await processes.start("postgres", command, isReady, user === undefined ? {} : { user });
  return {
    port,
    version: run([join(bin, "postgres"), "--version"])
      .replace(/^\D*/, "")
      .trim(),
  };
}

export const postgres: Peer = {
  name: "postgres",
  title: "PostgreSQL",
  partner: "warp-tcp",
  isClose: true,
  notes: {
    client: `Bun.SQL, pipelined, ${connections} connections`,
    durability: "`synchronous_commit=on`",
    isDurable: true,
    seq: "the caller's, in the primary key; a second one is refused",
    batch: "one INSERT of all rows",
    state: "the newest event by primary key",
  },
  async install() {
    programs();
  },
  async start(where) {
    const { port, version } = await startPostgres(where);
    const place = { hostname: "127.0.0.1", port, username: "bench", database: "postgres" };
    // A third faster than the package postgres, in windows that followed each other.
    const sql = new Bun.SQL({ adapter: "postgres", ...place, max: connections });
    await sql.unsafe(
      "CREATE TABLE events (entity text, seq int, type text NOT NULL, data jsonb NOT NULL, PRIMARY KEY (entity, seq))",
    );
    return {
      version,
      async append(entity, seq, events) {
        const [first] = events;
        if (events.length === 1 && first !== undefined) {
          const { type, data } = first;
          await sql`INSERT INTO events VALUES (${entity}, ${seq}, ${type}, ${JSON.stringify(data)}::text::jsonb)`;
          return;
        }
        await sql`INSERT INTO events SELECT ${entity}, ${seq}::int + row_number() OVER () - 1, row->>'type', row->'data'
          FROM jsonb_array_elements(${JSON.stringify(events)}::text::jsonb) AS row`;
      },
      async read(entity) {
        const rows =
          await sql`SELECT seq, type, data FROM events WHERE entity = ${entity} ORDER BY seq DESC LIMIT 1`;
        return rows[0];
      },
      async count() {
        const rows = await sql`SELECT count(*)::int AS count FROM events`;
        return Number(rows[0]?.count);
      },
      stop: () => sql.close({ timeout: 5 }),
    };
  },
};
