/**
 * A context in a process that can be killed: takes orders as lines of JSON, and answers each when it is done.
 *
 * `bun child.ts DATA APPLICATION`
 */

import { silentLogger } from "../../src/core/logger.ts";
import { start } from "../../src/index.ts";

export type Order =
  | {
      readonly op: "send";
      readonly entity: string;
      readonly command: string;
      readonly input: unknown;
      readonly key: string;
    }
  | {
      readonly op: "append";
      readonly entity: string;
      readonly events: readonly { type: string; data: unknown; occurredAt?: number }[];
      readonly key: string;
    }
  | { readonly op: "delete"; readonly entity: string }
  | { readonly op: "rebuild"; readonly projection: string }
  | { readonly op: "query"; readonly sql: string }
  | { readonly op: "close" };

if (import.meta.main) {
  const [, , dataDir = "", application = ""] = process.argv;
  const warp = await start({
    dataDir,
    application,
    shards: 4,
    logger: silentLogger,
    memory: { tailBytes: 4 << 20 },
  });
  const everything = () =>
    Array.from({ length: warp.shards }, (_, shard) => ({ shard, position: warp.feed.committed(shard) }));
  const perform = async (order: Order): Promise<unknown> => {
    switch (order.op) {
      case "send":
        return await warp.entity(order.entity).send(order.command, order.input, { key: order.key });
      case "append":
        return await warp.entity(order.entity).appendBatch([...order.events], { key: order.key });
      case "delete":
        return await warp.entity(order.entity).delete({ waitMs: 60_000 });
      case "rebuild":
        return await warp.projections.rebuild(order.projection);
      case "query":
        return (await warp.query(order.sql, [], { after: everything(), timeoutMs: 60_000, rows: 100_000 }))
          .rows;
      case "close":
        await warp.close();
        process.exit(0);
    }
  };
  process.stdout.write('{"ready":true}\n');
  for await (const line of console) {
    if (line === "") continue;
    const { id, order } = JSON.parse(line) as { id: number; order: Order };
    // Orders that come together are under way together.
    perform(order).then(
      (result) => process.stdout.write(`${JSON.stringify({ id, result: result ?? null })}\n`),
      (error: Error) => process.stdout.write(`${JSON.stringify({ id, error: String(error) })}\n`),
    );
  }
}
