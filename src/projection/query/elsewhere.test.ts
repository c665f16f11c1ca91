/**
 * A database that takes a query and never answers it: who asked hears of it in the time that was given.
 */
import { expect, test } from "bun:test";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { RemoteQueries } from "./elsewhere.ts";

/** Long enough for the query to have been sent. */
const timeoutMs = 1000;
const query = { sql: "SELECT 1", params: [], rowsMax: 10, bytesMax: 1000, timeoutMs };

for (const kind of ["rqlite", "postgres"] as const) {
  test(`a query of ${kind} ends when the server does not end it`, async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const url = kind === "rqlite" ? `http://127.0.0.1:${port}` : `postgres://warp@127.0.0.1:${port}/warp`;
    const queries = new RemoteQueries();
    const asked = queries.run({ kind, url, build: 0, schema: "tests" }, query);
    expect(asked).rejects.toMatchObject({ code: "TIMEOUT" });
    await asked.catch(() => {});
    expect(sockets.size).toBeGreaterThan(0);
    for (const socket of sockets) socket.destroy();
    silent.close();
    await queries.close();
  });
}

test("rqlite is not asked with a number that JSON would round", async () => {
  const queries = new RemoteQueries();
  const place = { kind: "rqlite", url: "http://127.0.0.1:1", build: 0, schema: "tests" } as const;
  const asked = queries.run(place, { ...query, params: [2n ** 53n + 1n] });
  expect(asked).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await asked.catch(() => {});
  await queries.close();
});
