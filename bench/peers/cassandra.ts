/**
 * Apache Cassandra, one node, from the jars of Maven Central: a partition per entity, the seq as its clustering column.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, installNpmPackages, loadPackage, run } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

const version = "5.0.3";
const jars = join(cache, `cassandra-${version}`);

/** What is used of the package `cassandra-driver`. */
interface Client {
  connect(): Promise<void>;
  execute(
    query: string,
    values: readonly unknown[],
    options: Readonly<Record<string, unknown>>,
  ): Promise<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>;
  batch(
    queries: readonly { readonly query: string; readonly params: readonly unknown[] }[],
    options: Readonly<Record<string, unknown>>,
  ): Promise<unknown>;
  shutdown(): Promise<void>;
}
interface CassandraPackage {
  readonly Client: new (options: Readonly<Record<string, unknown>>) => Client;
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>bench</groupId><artifactId>peers</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>${version}</version>
  </dependency></dependencies>
</project>
`;

const logback = `<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%level %msg%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
`;

const yamlOf = (directory: string, port: number) => `cluster_name: bench
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 1
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: ${port}
storage_port: ${freePort()}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1"
commitlog_sync: group
commitlog_sync_group_window: 1ms
concurrent_writes: 256
commitlog_directory: ${directory}/commitlog
data_file_directories: [${directory}/data]
saved_caches_directory: ${directory}/saved
hints_directory: ${directory}/hints
cdc_raw_directory: ${directory}/cdc
batch_size_warn_threshold: 4096KiB
batch_size_fail_threshold: 8192KiB
range_request_timeout: 120000ms
read_request_timeout: 30000ms
write_request_timeout: 30000ms
`;

/** What Cassandra's own start script gives a Java 17. */
const opened = [
  ...["java.io", "java.lang", "java.lang.module", "java.lang.reflect", "java.math", "java.net", "java.nio"],
  ...[
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "jdk.internal.loader",
  ],
  ...[
    "jdk.internal.ref",
    "jdk.internal.reflect",
    "jdk.internal.math",
    "jdk.internal.module",
    "jdk.internal.util.jar",
  ],
  "jdk.internal.misc",
];
const exported = ["java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.rmi/sun.rmi.transport.tcp"];
const managed = ["jdk.management/com.sun.management.internal", "java.management/com.sun.jmx.remote.internal"];
const javaOptions = [
  ...[
    "-Xms1G",
    "-Xmx2G",
    "-Xss512k",
    "-XX:+UseG1GC",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes",
  ],
  ...opened.flatMap((name) => ["--add-opens", `java.base/${name}=ALL-UNNAMED`]),
  ...opened.flatMap((name) => ["--add-exports", `java.base/${name}=ALL-UNNAMED`]),
  ...exported.flatMap((name) => ["--add-exports", `${name}=ALL-UNNAMED`]),
  ...["--add-opens", `${managed[0]}=ALL-UNNAMED`, "--add-exports", `${managed[1]}=ALL-UNNAMED`],
  ...["--add-exports", "java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED"],
];

export const cassandra: Peer = {
  name: "cassandra",
  title: "Apache Cassandra",
  partner: "warp-tcp",
  warmUpSeconds: 15,
  notes: {
    client: "package cassandra-driver, prepared statements; batches of one partition are unlogged",
    durability: "`commitlog_sync: group`, 1 ms: the commit log is fsynced before the acknowledgement",
    isDurable: true,
    seq: "the caller's, in the primary key; a second one would overwrite (a check takes a Paxos round)",
    batch: "one unlogged batch of the partition",
    state: "the newest event of the partition",
  },
  async install() {
    installNpmPackages();
    if (existsSync(join(jars, "done"))) return;
    if (Bun.which("java") === null || Bun.which("mvn") === null) {
      throw new Error("Java 17 and Maven are needed to get and run Cassandra's jars");
    }
    mkdirSync(jars, { recursive: true });
    writeFileSync(join(jars, "pom.xml"), pom);
    const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${jars}`, "-DincludeScope=runtime"];
    run(["mvn", "-q", "-B", ...goal], { cwd: jars });
    writeFileSync(join(jars, "done"), "");
  },
  async start({ directory, processes }) {
    const port = freePort();
    const yaml = join(directory, "cassandra.yaml");
    const log = join(directory, "logback.xml");
    writeFileSync(yaml, yamlOf(directory, port));
    writeFileSync(log, logback);
    const properties = [
      `-Dcassandra.config=file://${yaml}`,
      `-Dcassandra.storagedir=${directory}`,
      `-Dlogback.configurationFile=${log}`,
    ];
    const classes = ["-cp", `${jars}/*`, "org.apache.cassandra.service.CassandraDaemon"];
    await processes.start(
      "cassandra",
      ["java", ...javaOptions, ...properties, ...classes],
      () => accepts(port),
      {
        cwd: directory,
      },
    );
    const { Client } = await loadPackage<CassandraPackage>("cassandra-driver");
    const client = new Client({
      contactPoints: [`127.0.0.1:${port}`],
      localDataCenter: "datacenter1",
      pooling: { maxRequestsPerConnection: 4096, coreConnectionsPerHost: { 0: 2 } },
      socketOptions: { readTimeout: 120_000 },
    });
    await client.connect();
    const replicated = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    await client.execute(`CREATE KEYSPACE bench WITH replication = ${replicated}`, [], {});
    await client.execute(
      `CREATE TABLE bench.events (entity text, seq int, type text, data text, PRIMARY KEY (entity, seq))
       WITH CLUSTERING ORDER BY (seq DESC)`,
      [],
      {},
    );
    const insert = "INSERT INTO bench.events (entity, seq, type, data) VALUES (?, ?, ?, ?)";
    const prepared = { prepare: true };
    return {
      version,
      async append(entity, seq, events) {
        const rows = events.map(({ type, data }, i) => [entity, seq + i, type, JSON.stringify(data)]);
        const [first] = rows;
        if (rows.length === 1 && first !== undefined) await client.execute(insert, first, prepared);
        else
          await client.batch(
            rows.map((params) => ({ query: insert, params })),
            { ...prepared, logged: false },
          );
      },
      async read(entity) {
        const query = "SELECT seq, type, data FROM bench.events WHERE entity = ? LIMIT 1";
        return (await client.execute(query, [entity], prepared)).rows[0];
      },
      async count() {
        const { rows } = await client.execute("SELECT count(*) AS count FROM bench.events", [], {});
        return Number(rows[0]?.count);
      },
      stop: () => client.shutdown(),
    };
  },
};
