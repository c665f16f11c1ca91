/**
 * Queries and the verbs of projections over every way in: the library, the wire, and the command line on both, as a user
 * starts it, with every format it prints.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { type Client, connect } from "../../src/client/index.ts";
import { jsonLines, runWarp, temporaryFolder } from "../e2e/command.ts";
import { type RunningServer, smallServer, startServer } from "../e2e/server.ts";
import { until } from "./harness.ts";

const folder = temporaryFolder();
const application = join(import.meta.dir, "application.ts");
const data = join(folder, "data");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a server", () => {
  let server: RunningServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer(["--data", data, "--app", application, ...smallServer]);
    client = await connect({ address: server.address });
  });
  afterAll(async () => {
    await client.close();
    server.process.kill("SIGTERM");
    await server.ended;
  });

  test("a client waits for its own write", async () => {
    for (let cents = 1; cents <= 5; cents++) {
      const after = await client.entity("zoë").append({ type: "Paid", data: { cents, day: "monday" } });
      if (!after.ok) throw new Error("a conflict");
      // The first one waits for the projections to start.
      const result = await client.query("SELECT cents, payments, name FROM total WHERE purse = ?", ["zoë"], {
        after,
        timeoutMs: 240_000,
      });
      expect(result.columns).toEqual(["cents", "payments", "name"]);
      expect(result.rows).toEqual([[(cents * (cents + 1)) / 2, cents, null]]);
      expect(result.isTruncated).toBe(false);
    }
  });

  test("what is wrong with a query has a code, and the connection goes on", async () => {
    const codeOf = (call: Promise<unknown>) =>
      call.then(
        () => "none",
        (error: { code: string }) => error.code,
      );
    expect(await codeOf(client.query("SELECT nothing FROM nowhere"))).toBe("QUERY_FAILED");
    expect(await codeOf(client.query("DELETE FROM total"))).toBe("QUERY_FAILED");
    expect(await codeOf(client.query("PRAGMA query_only = OFF"))).toBe("QUERY_FAILED");
    expect(await codeOf(client.query("ATTACH 'x.db' AS x"))).toBe("QUERY_FAILED");
    expect(await codeOf(client.query("SELECT 1", [], { sink: "nowhere" }))).toBe("CONFIG_MISMATCH");
    expect(await codeOf(client.query("SELECT 1", [], { rows: 0 }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(client.query("SELECT 1", [], { after: "nonsense" }))).toBe("INVALID_ARGUMENT");
    const future = { shard: 0, position: 1_000_000 };
    expect(await codeOf(client.query("SELECT 1", [], { after: future, timeoutMs: 100 }))).toBe("TIMEOUT");
    expect(await codeOf(client.projection("pause", "nothing"))).toBe("UNKNOWN_PROJECTION");
    expect((await client.query("SELECT 2 AS two")).rows).toEqual([[2]]);
  });

  test("a result that does not fit is cut and says so", async () => {
    const many =
      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100) SELECT n FROM c";
    expect(await client.query(many, [], { rows: 3 })).toEqual({
      columns: ["n"],
      rows: [[1], [2], [3]],
      isTruncated: true,
    });
    const large = (rows: number) =>
      `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${rows}) SELECT n, hex(zeroblob(100000)) FROM c`;
    // 20 MB come in several replies …
    const whole = await client.query(large(100), [], { timeoutMs: 240_000 });
    expect(whole.isTruncated).toBe(false);
    expect(whole.rows.map(([n]) => n)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(whole.rows.every(([, text]) => typeof text === "string" && text.length === 200_000)).toBe(true);
    // … and what is more than 64 MiB is cut there.
    const cut = await client.query(large(400), [], { timeoutMs: 240_000 });
    expect(cut.isTruncated).toBe(true);
    expect(cut.rows.length).toBeGreaterThan(330);
    expect(cut.rows.length).toBeLessThan(340);
  });

  test("projections are listed, paused and resumed, and held back entities taken again", async () => {
    const state = async (name: string) => (await client.projection("list", name))[0]?.state;
    expect((await client.projection("list")).map(({ name }) => name)).toEqual([
      "payments",
      "totals",
      "volume",
    ]);
    await client.projection("pause", "totals");
    expect(await state("totals")).toBe("paused");
    await client.projection("resume", "totals");
    await until(async () => (await state("totals")) === "live", "resumed");
    await client.entity("broken").append({ type: "Broken", data: { why: "glass" } });
    await until(async () => (await client.projection("parked", "totals")).length === 1, "held back");
    expect((await client.projection("unpark", "totals", "broken"))[0]).toMatchObject({
      entity: "broken",
      seq: 1,
      error: expect.stringMatching(/^Error at application\.ts:/),
    });
    // Each projection comes to the event in its own time.
    await until(
      async () => (await client.projection("list")).every(({ lagRecords }) => lagRecords === 0),
      "all there",
    );
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain('warp_projection_parked_entities{projection="totals"} 1');
    expect(metrics).toContain('warp_projection_lag_events{projection="payments"} 0');
  });

  test("the command line asks a server", async () => {
    const { code, stdout } = await runWarp([
      "query",
      "SELECT purse, cents FROM total WHERE purse = ?",
      "--param",
      "zoë",
      "--timeout",
      "240s",
      "--addr",
      server.address,
    ]);
    expect([code, stdout.split("\n")[1]]).toEqual([0, "zoë       15"]);
    const listed = await runWarp(["projections", "--addr", server.address, "--json"]);
    expect(jsonLines(listed.stdout).map(({ name }) => name)).toEqual(["payments", "totals", "volume"]);
  });
});

describe("a data directory", () => {
  const local = ["--data", join(folder, "local"), "--app", application];
  /** The projections of a machine that is busy may take longer to start than a query waits by default. */
  const patient = [...local, "--timeout", "240s"];
  beforeAll(async () => {
    for (const [entity, cents, day] of [
      ["a", "5", 'say "hi", you'],
      ["b", "7", ""],
    ] as const) {
      const data = JSON.stringify({ cents: Number(cents), day });
      expect(await runWarp(["append", entity, "Paid", data, ...local])).toMatchObject({
        code: 0,
        stderr: "",
      });
    }
  });
  const sql = "SELECT purse, cents, day, NULL AS none, cents / 2.0 AS half FROM payment ORDER BY purse";

  test("its rows are a table, CSV and NDJSON", async () => {
    const table = await runWarp(["query", sql, ...patient]);
    expect(table.stdout).toBe(
      'purse  cents  day            none  half\na          5  say "hi", you         2.5\nb          7                        3.5\n',
    );
    const csv = await runWarp(["query", sql, "--format", "csv", ...patient]);
    expect(csv.stdout).toBe('purse,cents,day,none,half\r\na,5,"say ""hi"", you",,2.5\r\nb,7,"",,3.5\r\n');
    const lines = await runWarp(["query", sql, "--json", ...patient]);
    expect(jsonLines(lines.stdout)).toEqual([
      { purse: "a", cents: 5, day: 'say "hi", you', none: null, half: 2.5 },
      { purse: "b", cents: 7, day: "", none: null, half: 3.5 },
    ]);
  });

  test("they are a Parquet file that another reader reads", async () => {
    const out = join(folder, "rows.parquet");
    const { code } = await runWarp(["query", sql, "--out", out, ...patient]);
    expect(code).toBe(0);
    const bytes = readFileSync(out);
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    expect(await parquetReadObjects({ file })).toEqual([
      { purse: "a", cents: 5n, day: 'say "hi", you', none: null, half: 2.5 },
      { purse: "b", cents: 7n, day: "", none: null, half: 3.5 },
    ]);
  });

  test("half of the rows do not pass for all of them, and a wrong query is a failure", async () => {
    const many =
      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c";
    const cut = await runWarp(["query", many, "--format", "csv", ...patient]);
    expect([cut.code, cut.stdout]).toEqual([1, ""]);
    expect(cut.stderr).toContain("QUERY_FAILED");
    const asked = await runWarp(["query", many, "--format", "csv", "--rows", "15000", ...patient]);
    expect([asked.code, asked.stdout.split("\r\n").length]).toEqual([0, 15_002]);
    const wrong = await runWarp(["query", "SELEC", ...patient]);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toStartWith("warp: QUERY_FAILED:");
  });
});

test("the process of a query that never ends goes when its server is killed", async () => {
  const killed = await startServer(["--data", join(folder, "killed"), "--app", application, ...smallServer]);
  const client = await connect({ address: killed.address });
  const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
  const gone = new AbortController();
  const running = client.query(endless, [], { timeoutMs: 60_000, signal: gone.signal });
  running.catch(() => {});
  const children = () =>
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && parentOf(name) === killed.process.pid)
      .map(Number);
  await until(() => children().length === 1, "a query process");
  const [child = 0] = children();
  killed.process.kill("SIGKILL");
  await killed.ended;
  await until(() => !existsSync(`/proc/${child}`) || parentOf(String(child)) === undefined, "it is gone");
  gone.abort();
  await client.close();
});

/** Undefined for a process that is gone, or only waits to be counted. */
function parentOf(pid: string): number | undefined {
  try {
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return state === "Z" ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}
