/**
 * A server's clock that was wrong for a while: clients that connect afterwards write to every shard.
 */
import { expect, spyOn, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { serveContext } from "./served-context.ts";

test("a client writes to a shard whose newest record is days ahead of the clock, and to the others", async () => {
  const served = await serveContext();
  try {
    const now = Date.now.bind(Date);
    const ahead = spyOn(Date, "now").mockImplementation(() => now() + 3 * limits.deliveryTtlMs);
    try {
      await served.warp.entity("e0").append({ type: "Added", data: { by: 1 } });
    } finally {
      ahead.mockRestore();
    }
    const client = await connect({ address: served.tcp.address, context: "default" });
    const ids = Array.from({ length: 12 }, (_, i) => `e${i}`);
    const appends = ids.map((id) => client.entity(id).append({ type: "Added", data: { by: 1 } }));
    const results = await Promise.all(appends);
    expect(results.map((result) => result.ok && result.seq)).toEqual(ids.map((_, i) => (i === 0 ? 2 : 1)));
    await client.close();
  } finally {
    await served.close();
  }
});
