/**
 * Emmett over PostgreSQL.
 */
import { drivingEmmett, type EventStore, emmettSeq, emmettState } from "./emmett.ts";
import { installNpmPackages, loadPackage, packageVersion } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { postgres, startPostgres } from "./postgres.ts";

interface EmmettPostgresqlPackage {
  getPostgreSQLEventStore(connection: string): EventStore & { close(): Promise<void> };
}

export const emmettPostgresql: Peer = {
  name: "emmett-postgresql",
  title: "Emmett over PostgreSQL",
  partner: "warp-tcp",
  notes: {
    client: "@event-driven-io/emmett-postgresql with its own pool",
    durability: "`synchronous_commit=on`",
    isDurable: true,
    seq: emmettSeq,
    batch: "one appendToStream, one transaction",
    state: emmettState,
  },
  install: () => postgres.install().then(installNpmPackages),
  async start(place) {
    const { port } = await startPostgres(place);
    const { getPostgreSQLEventStore } = await loadPackage<EmmettPostgresqlPackage>(
      "@event-driven-io/emmett-postgresql",
    );
    const store = getPostgreSQLEventStore(`postgresql://bench@127.0.0.1:${port}/postgres`);
    const sql = new Bun.SQL(`postgres://bench@127.0.0.1:${port}/postgres`, { max: 1 });
    // Makes its tables, before many callers do so at once.
    await store.aggregateStream("none", { initialState: () => 0, evolve: (state) => state });
    return {
      version: await packageVersion("@event-driven-io/emmett-postgresql"),
      ...drivingEmmett(store),
      async count() {
        const [row] = await sql`SELECT count(*)::int AS count FROM emt_messages`;
        return Number(row.count);
      },
      async stop() {
        await sql.close();
        await store.close();
      },
    };
  },
};
