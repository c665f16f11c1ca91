/**
 * A server's clock that was wrong for a while: clients that connect afterwards write to every shard.
 */
import { expect, spyOn, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { limits } from "../../src/core/limits.ts";
import { serveContext } from "./served-context.ts";

test("a client of a server whose clock jumps by days goes on over the same connection, once it was told so", async () => {
  const served = await serveContext();
  try {
    let connections = 0;
    const onConnection = () => void connections++;
    const client = await connect({ address: served.tcp.address, context: "default", onConnection });
    const append = (n: number) => client.entity("e").append({ type: "Added", data: { by: n } });
    expect(await append(1)).toMatchObject({ seq: 1 });
    const now = Date.now.bind(Date);
    const ahead = spyOn(Date, "now").mockImplementation(() => now() + 3 * limits.deliveryTtlMs);
    try {
      expect(await append(2).catch((thrown) => thrown)).toMatchObject({ code: "KEY_EXPIRED" });
      expect(await append(3)).toMatchObject({ seq: 2 });
      expect(await append(4)).toMatchObject({ seq: 3 });
    } finally {
      ahead.mockRestore();
    }
    expect(connections).toBe(1);
    await client.close();
  } finally {
    await served.close();
  }
});

test("a client of a server whose clock goes back goes on over the same connection, once it was told so", async () => {
  const served = await serveContext();
  try {
    const now = Date.now.bind(Date);
    const ahead = spyOn(Date, "now").mockImplementation(() => now() + 10 * limits.deliveryAheadMs);
    let connections = 0;
    const onConnection = () => void connections++;
    const client = await connect({ address: served.tcp.address, context: "default", onConnection });
    ahead.mockRestore();
    const append = (n: number) => client.entity("e").append({ type: "Added", data: { by: n } });
    expect(await append(1).catch((thrown) => thrown)).toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { limit: "deliveryAheadMs" },
    });
    expect(await append(2)).toMatchObject({ seq: 1 });
    expect(connections).toBe(1);
    await client.close();
  } finally {
    await served.close();
  }
});

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
