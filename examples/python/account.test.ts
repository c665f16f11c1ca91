/**
 * Runs the Python example against a server, where there is Python and its msgpack can be had. On a machine without
 * them this test says so and the golden frames (tests/golden) alone prove that another language can follow
 * docs/protocol.md.
 */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { jsonLines, temporaryFolder } from "../../tests/e2e/command.ts";
import { smallServer, startServer } from "../../tests/e2e/server.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const packages = join(folder, "packages");
const environment = { ...process.env, PYTHONPATH: packages };

test("the Python client appends, repeats, sends, reads and follows the errors", async () => {
  if (!hasPython()) {
    console.log("no Python with msgpack here: the golden frames prove the protocol instead");
    expect(await Bun.file(join(import.meta.dir, "../../tests/golden/frames.json")).exists()).toBe(true);
    return;
  }
  const data = ["--data", join(folder, "data"), "--app", "examples/banking.ts"];
  const server = await startServer([...data, ...smallServer]);
  try {
    const script = join(import.meta.dir, "account.py");
    const ran = Bun.spawnSync(["python3", script, server.address, "alice"], { env: environment });
    expect(ran.stderr.toString()).toBe("");
    const said = Object.assign({}, ...jsonLines(ran.stdout.toString()));
    expect(said).toMatchObject({
      context: "default",
      open: { outcome: "appended", seq: 1, count: 1 },
      credit: { outcome: "appended", seq: 2, duplicate: false },
      again: { outcome: "appended", seq: 2, duplicate: true },
      debit: { outcome: "appended", seq: 3 },
      "too much": { outcome: "rejected", code: "INSUFFICIENT_FUNDS", details: { have: 3800 }, seq: 3 },
      conflict: { outcome: "conflict", seq: 3 },
      state: [3, { status: "open", owner: "Zoë", cents: 3800, overdraftCents: 0 }],
      error: "UNKNOWN_COMMAND",
    });
    expect(said.events).toEqual([
      [1, "Opened", { owner: "Zoë", overdraftCents: 0 }],
      [2, "Credited", { cents: 5000, ref: "salary" }],
      [3, "Debited", { cents: 1200, ref: "rent" }],
    ]);
  } finally {
    server.process.kill("SIGTERM");
    await server.ended;
  }
});

/** True when the example can run; installs msgpack into a folder of the test when it is not there. */
function hasPython(): boolean {
  if (Bun.which("python3") === null) return false;
  const python = (...args: string[]) =>
    Bun.spawnSync(["python3", ...args], { env: environment, timeout: 30_000 });
  if (python("-c", "import msgpack").success) return true;
  const install = ["-m", "pip", "install", "--quiet", "--target", packages, "msgpack"];
  return python(...install).success && python("-c", "import msgpack").success;
}
