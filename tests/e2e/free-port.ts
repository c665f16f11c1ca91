/**
 * Ports for servers that must have the same one again after a restart, or that others are told of before they listen.
 */

const given = new Set<number>();
const ports = 4000;
/** Test files run in several processes at once, which Bun numbers from 1: each has ports of its own. */
const first = 20_000 + (Number(process.env.BUN_TEST_WORKER_ID ?? 0) % 3) * ports;

/**
 * A port that nobody has, and that this process was not given before, nor any other that runs tests beside it. It lies below
 * those that systems give by themselves: so no connection and no other server is given it between this call and its use, and a
 * client that dials it while nobody listens is never connected with itself.
 */
export function freePort(): number {
  for (;;) {
    const port = first + Math.floor(Math.random() * ports);
    if (given.has(port)) continue;
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
      given.add(port);
      return port;
    } catch (thrown) {
      if ((thrown as { code?: string }).code !== "EADDRINUSE") throw thrown;
    }
  }
}
