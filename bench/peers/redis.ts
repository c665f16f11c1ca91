/**
 * Redis: one stream per entity, the append-only file fsynced before each acknowledgement.
 *
 * Ids of entries are `SEQ-0`, which the server refuses unless they grow: an optimistic check of the seq.
 */
import { installDebian, libraryPath, run } from "./harness/install.ts";
import type { Peer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

/**
 * A Redis server reads at most 16 KB of a connection before it fsyncs and answers, so few connections mean more fsyncs.
 * An entity always goes through the same one: its entries arrive in order.
 */
const connections = 4;

/**
 * The events of a batch in one command, all or none: with MULTI each of them would be a command of its own, answered by itself.
 * Arguments are the first seq, then type and data of each.
 */
const addAll = `
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1], (ARGV[1] + i / 2 - 1) .. '-0', 'type', ARGV[i], 'data', ARGV[i + 1])
end`;

const install = () =>
  installDebian("redis-server", ["redis-tools", "redis-server", "libjemalloc2", "liblzf1"], ["--version"]);

export const redis: Peer = {
  name: "redis",
  title: "Redis streams",
  partner: "warp-tcp",
  isClose: true,
  notes: {
    client: `Bun's RedisClient, pipelined by itself, ${connections} connections`,
    durability: "`appendfsync always`",
    isDurable: true,
    seq: "the caller's, as the entry's id; refused unless it grows",
    batch: "one script that adds all of them",
    state: "the newest entry (XREVRANGE … COUNT 1)",
  },
  async install() {
    install();
  },
  async start({ directory, processes }) {
    const program = install();
    const port = freePort();
    const settings = ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory];
    const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
    // It would write its file anew, with a process beside it, within some windows and not within others.
    const quiet = ["--auto-aof-rewrite-percentage", "0"];
    await processes.start("redis", [program, ...settings, ...durable, ...quiet], () => accepts(port), {
      env: libraryPath,
    });
    const clients = Array.from(
      { length: connections },
      () => new Bun.RedisClient(`redis://127.0.0.1:${port}`),
    );
    await Promise.all(clients.map((client) => client.connect()));
    const script: string = await clients[0]?.send("SCRIPT", ["LOAD", addAll]);
    const clientOf = (entity: string) => clients[Bun.hash.crc32(entity) % connections] as Bun.RedisClient;
    return {
      version: /v=(\S+)/.exec(run([program, "--version"], { env: libraryPath }))?.[1] ?? "",
      async append(entity, seq, events) {
        const [first] = events;
        const client = clientOf(entity);
        if (events.length === 1 && first !== undefined) {
          const fields = ["type", first.type, "data", JSON.stringify(first.data)];
          await client.send("XADD", [entity, `${seq}-0`, ...fields]);
          return;
        }
        const added = events.flatMap(({ type, data }) => [type, JSON.stringify(data)]);
        await client.send("EVALSHA", [script, "1", entity, String(seq), ...added]);
      },
      async read(entity) {
        const entries: unknown[] = await clientOf(entity).send("XREVRANGE", [entity, "+", "-", "COUNT", "1"]);
        return entries[0];
      },
      async count() {
        const [client] = clients;
        const keys: string[] = (await client?.send("KEYS", ["*"])) ?? [];
        const lengths = await Promise.all(keys.map((key) => client?.send("XLEN", [key]) as Promise<number>));
        return lengths.reduce((sum, length) => sum + length, 0);
      },
      async stop() {
        for (const client of clients) client.close();
      },
    };
  },
};
