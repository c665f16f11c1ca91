/**
 * What holds for every verb of the command line: exit statuses, the form of failures, what goes to which stream; and
 * how an import meets input that is not right.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { verbs } from "../../src/cli/verbs.ts";
import { jsonLines, root, runWarp, startWarp, temporaryFolder, tested } from "./command.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const dataDir = join(folder, "data");
const data = ["--data", dataDir];
const mapping = ["--entity", "id", "--type", "kind"];

function write(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
  return path;
}

const row = (id: string, n: number) => JSON.stringify({ id, kind: "Counted", n });
const rowsOf = (count: number, id = "a") => Array.from({ length: count }, (_, n) => row(id, n));

/** Starts `warp ARGS` with a standard output that nobody reads. */
function startUnread(args: readonly string[]): Bun.Subprocess<"pipe", "pipe", "pipe"> {
  const started = Bun.spawn([...tested, ...args], {
    cwd: root,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  void started.stdout.cancel();
  return started;
}

async function runUnread(args: readonly string[], input = ""): Promise<{ code: number; stderr: string }> {
  const started = startUnread(args);
  started.stdin.write(input);
  await started.stdin.end();
  const [code, stderr] = await Promise.all([started.exited, new Response(started.stderr).text()]);
  return { code, stderr };
}

/** Waits until a data directory has been made, and is therefore locked by its maker. */
async function isMade(path: string): Promise<void> {
  while (!existsSync(join(path, "warp.json"))) await Bun.sleep(1);
}

beforeAll(async () => {
  const file = write("first.ndjson", row("alice", 1), row("bob", 2), row("alice", 3));
  const { code, stderr } = await runWarp(["import", file, ...mapping, ...data]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

describe("every verb", () => {
  test("has help with an example, and --json", async () => {
    for (const { name, examples } of verbs) {
      expect(examples.length).toBeGreaterThan(0);
      const { code, stdout, stderr } = await runWarp([name, "--help"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain("--json");
      expect(stdout).toContain(`warp ${name}`);
    }
  });
});

describe("the exit status", () => {
  test("is 2 for wrong usage, and nothing is done", async () => {
    const nowhere = join(folder, "nowhere");
    for (const args of [
      [],
      ["fetch"],
      ["get"],
      ["get", "a", "b"],
      ["get", "a", "--at", "soon"],
      ["get", "a", "--at", "1", "--occurred-at", "2001-01-01"],
      ["events", "a", "--limit", "0"],
      ["entities", "--colour"],
      ["import", "x.csv", "--entity", "id", "--data", nowhere],
      ["import", "x.csv", "--entity", "id", "--type", "a", "--type-name", "b", "--data", nowhere],
      ["import", "-", "--entity", "id", "--type", "a", "--data", nowhere],
      ["import", "x.csv", "--entity", "id", "--type", "a", "--shards", "1000", "--data", nowhere],
      ["append", "a", "Paid", '{"ref":9007199254740993}', "--data", nowhere],
      ["query", "SELECT 1", "--out", join(folder, "rows.json"), "--data", nowhere],
      ["query", "SELECT 1", "--format", "table", "--out", join(folder, "rows.csv"), "--data", nowhere],
    ]) {
      const { code, stdout } = await runWarp(args);
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: "" });
    }
    expect(existsSync(nowhere)).toBe(false);
  });

  test("is 2 for addresses of databases that cannot be read, and their passwords are not repeated", async () => {
    const { code, stderr } = await runWarp(["get", "a", "--sinks", "warehouse postgres://warp:secret@db"]);
    const told = 'is NAME=URL, several with spaces between them, such as "warehouse=postgres://db/warp"';
    expect([code, stderr]).toEqual([2, `warp: USAGE: --sinks ${told}\n`]);
  });

  test("is 4 for an entity that has no events, and 1 for what failed", async () => {
    for (const verb of ["get", "events"]) {
      const { code, stdout, stderr } = await runWarp([verb, "carol", ...data]);
      expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
      expect(stderr).toBe('warp: NOT_FOUND: the entity "carol" has no events\n');
    }
    const ahead = await runWarp(["get", "alice", "--at", "20010113", ...data]);
    expect([ahead.code, ahead.stdout]).toEqual([1, ""]);
    expect(ahead.stderr).toMatch(/^warp: INVALID_ARGUMENT: "alice" is at seq \d+; digits alone are a seq/);
    const failed = await runWarp(["get", "alice", "--data", join(folder, "nowhere")]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/^warp: INVALID_ARGUMENT: .* is not a Warp data directory.*\n$/);
    expect(existsSync(join(folder, "nowhere"))).toBe(false);
  });

  test("is 1 while the directory is open elsewhere, and the failure is JSON with --json", async () => {
    const held = join(folder, "held");
    const importing = startWarp(["import", "-", "--name", "held", ...mapping, "--data", held]);
    await isMade(held);
    const locked = await runWarp(["get", "alice", "--data", held, "--json"]);
    expect(locked.code).toBe(1);
    expect(JSON.parse(locked.stderr)).toMatchObject({
      code: "DIRECTORY_LOCKED",
      details: { file: expect.any(String) },
    });
    importing.process.stdin.write(rowsOf(10).join("\n"));
    await importing.process.stdin.end();
    expect((await importing.ended).code).toBe(0);
  });

  test("is 130 when an import is interrupted, which says how to go on", async () => {
    const stopped = ["--data", join(folder, "stopped")];
    const importing = startWarp(["import", "-", "--name", "stopped", ...mapping, ...stopped]);
    importing.process.stdin.write(`${rowsOf(5000).join("\n")}\n`);
    await isMade(join(folder, "stopped"));
    importing.process.kill("SIGINT");
    // Standard error has how far it is, when that took some seconds.
    const { code, stdout } = await importing.ended;
    expect(code).toBe(130);
    expect(stdout).toContain("interrupted; run it again to go on");

    const again = ["import", "-", "--name", "stopped", ...mapping, ...stopped, "--json"];
    const summary = jsonLines((await runWarp(again, `${rowsOf(5000).join("\n")}\n`)).stdout)[0] ?? {};
    expect(Number(summary.events) + Number(summary.alreadyThere)).toBe(5000);
    const { stdout: events } = await runWarp(["events", "a", ...stopped, "--json"]);
    expect(jsonLines(events).map(({ data }) => (data as { n: number }).n)).toEqual(
      rowsOf(5000).map((_, n) => n),
    );
  });
});

describe("check", () => {
  const checked = join(folder, "checked");

  test("finds nothing in a directory that is whole", async () => {
    const { code } = await runWarp([
      "import",
      write("fine.ndjson", ...rowsOf(100)),
      ...mapping,
      "--data",
      checked,
    ]);
    expect(code).toBe(0);
    const text = await runWarp(["check", checked]);
    expect(text).toEqual({ code: 0, stdout: `${checked}: no damage found\n`, stderr: "" });
    expect(await runWarp(["check", "--data", checked, "--json"])).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  });

  test("ends with 3 and names the first damage", async () => {
    const shards = readdirSync(join(checked, "shards")).map((shard) => join("shards", shard, "vault"));
    const used = shards.find((vault) =>
      readFileSync(join(checked, vault))
        .subarray(4096)
        .some((byte) => byte !== 0),
    );
    const path = join(checked, used ?? "");
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(4106) ^ 1, 4106);
    writeFileSync(path, bytes);
    const { code, stdout, stderr } = await runWarp(["check", checked, "--json"]);
    expect(code).toBe(3);
    expect(jsonLines(stdout)[0]).toMatchObject({ severity: "damage", file: used, details: { offset: 4096 } });
    expect(JSON.parse(stderr)).toMatchObject({ code: "CORRUPT", details: { file: used, offset: 4096 } });
  });

  test("fails where there is no data directory, and calls a damaged identity damage", async () => {
    expect((await runWarp(["check", folder])).code).toBe(1);
    writeFileSync(join(checked, "warp.json"), "{");
    const { code, stderr } = await runWarp(["check", checked]);
    expect(code).toBe(3);
    expect(stderr).toContain("warp.json");
  });
});

describe("output", () => {
  test("is tables and texts for people", async () => {
    const entities = await runWarp(["entities", "--prefix", "a", ...data]);
    expect(entities.stdout).toBe("entity  events\nalice        2\n");
    const get = await runWarp(["get", "alice", ...data]);
    expect(get.stdout).toStartWith("alice document at seq 2\n{\n");
    const events = await runWarp(["events", "alice", "--to", "1", ...data]);
    expect(events.stdout.split("\n")[0]).toMatch(/^seq +recorded +occurred +type +data$/);
  });

  test("that is no longer read ends the command without a failure", async () => {
    const started = Bun.spawn(
      [
        "sh",
        "-c",
        'data=$1; shift; "$@" events a --data "$data" | head -n 1',
        "sh",
        join(folder, "stopped"),
        ...tested,
      ],
      { cwd: root, stdout: "pipe", stderr: "pipe" },
    );
    expect((await new Response(started.stdout).text()).split("\n")).toHaveLength(2);
    expect(await new Response(started.stderr).text()).toBe("");
  });

  test("of an export leaves a file that is there as it is", async () => {
    const file = write("held.txt", "something else");
    const { code, stdout, stderr } = await runWarp(["export", "alice", "--to", file, ...data]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^warp: IO_ERROR: .*held\.txt.*\n$/);
    expect(readFileSync(file, "utf8")).toBe("something else\n");
  });

  test("that is no longer read leaves the status that the command ends with", async () => {
    const conflict = await runUnread(["append", "alice", "Counted", "--expect", "none", ...data]);
    expect(conflict).toEqual({ code: 5, stderr: "" });
    const whole = await runUnread(["check", dataDir]);
    expect(whole).toEqual({ code: 0, stderr: "" });
    const lines = "get alice\nappend alice Counted --expect none\n";
    expect(await runUnread(["shell", ...data], lines)).toEqual({ code: 5, stderr: "" });
  });

  test("that is no longer read leaves an import that is interrupted 130", async () => {
    const importing = startUnread([
      "import",
      "-",
      "--name",
      "unread",
      ...mapping,
      "--data",
      join(folder, "unread"),
    ]);
    importing.stdin.write(`${rowsOf(5000).join("\n")}\n`);
    await isMade(join(folder, "unread"));
    importing.kill("SIGINT");
    expect(await importing.exited).toBe(130);
  });

  test("that is no longer read does not hide damage, however long the list of it", async () => {
    const path = join(folder, "riddled");
    const rows = Array.from({ length: 1000 }, (_, n) => row(`e${n}`, n));
    await runWarp(["import", write("riddled.ndjson", ...rows), ...mapping, "--data", path]);
    const vaults = readdirSync(join(path, "shards")).map((shard) => join(path, "shards", shard, "vault"));
    for (const vault of vaults) {
      const bytes = readFileSync(vault);
      for (let at = 4096 + 10; at < bytes.length; at += 64) bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      writeFileSync(vault, bytes);
    }
    const read = await runWarp(["check", path, "--json"]);
    // More than is written at once, so that the check hears in its midst that nobody reads.
    expect(read.stdout.length).toBeGreaterThan(2 * 64 * 1024);
    expect(await runUnread(["check", path, "--json"])).toEqual({ code: 3, stderr: read.stderr });
  });

  test("finds the data directory in WARP_DATA", async () => {
    const { stdout } = await runWarp(["entities", "--prefix", "bob", "--json"], undefined, {
      WARP_DATA: dataDir,
    });
    expect(jsonLines(stdout)).toEqual([{ id: "bob", seq: 1 }]);
  });
});

describe("input", () => {
  test("of a batch that would be changed on the way in is refused", async () => {
    const good = JSON.stringify({ type: "Paid", data: { ref: "é" } });
    const rounded = write("rounded.ndjson", good, '{"type":"Paid","data":{"ref":9007199254740993}}');
    const latin = join(folder, "latin.ndjson");
    writeFileSync(latin, Buffer.concat([Buffer.from(`${good}\n`), Buffer.from(`${good}\n`, "latin1")]));
    for (const [file, why] of [
      [rounded, "line 2 has a number as data.ref that would be rounded"],
      [latin, "line 2 is not UTF-8"],
    ] as const) {
      const { code, stdout, stderr } = await runWarp(["append", "carol", "--batch", file, ...data]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith(`warp: INVALID_EVENT: ${why}`);
    }
  });

  test("of a query may be a whole number of 64 bits", async () => {
    const query = ["query", "SELECT ? AS id, ? = 9007199254740993 AS isSame", ...data, "--json"];
    const { code, stdout } = await runWarp([
      ...query,
      "--param",
      "9007199254740993",
      "--param",
      "9007199254740993",
    ]);
    expect(code).toBe(0);
    expect(jsonLines(stdout)).toEqual([{ id: "9007199254740993", isSame: 1 }]);
  });
});

describe("an import", () => {
  const target = (name: string) => ["--data", join(folder, name), "--json"];

  test("stops before the chunk with the first bad row, and goes on from there with --skip-invalid", async () => {
    const lines = [...rowsOf(4100), "{", ...rowsOf(900, "b"), '{"id":"","kind":"x"}'];
    const file = write("bad.ndjson", ...lines);
    const stopped = await runWarp(["import", file, ...mapping, ...target("bad")]);
    expect(stopped.code).toBe(1);
    expect(JSON.parse(stopped.stderr)).toMatchObject({
      code: "INVALID_EVENT",
      message: expect.stringContaining("line 4101: the row is not JSON"),
      details: { line: 4101, imported: 4000, alreadyThere: 0 },
    });
    const skipped = await runWarp(["import", file, "--skip-invalid", ...mapping, ...target("bad")]);
    expect(skipped.code).toBe(0);
    expect(jsonLines(skipped.stdout)[0]).toMatchObject({
      rows: 5002,
      events: 1000,
      alreadyThere: 4000,
      skipped: 2,
    });
    expect(jsonLines(skipped.stderr).map(({ line }) => line)).toEqual([4101, 5002]);
  });

  test("under a used name with other contents is refused", async () => {
    const file = write("other.ndjson", ...rowsOf(10));
    const first = await runWarp(["import", file, "--name", "one", ...mapping, ...target("other")]);
    expect(first.code).toBe(0);
    const second = await runWarp([
      "import",
      file,
      "--name",
      "one",
      "--fields",
      "n",
      ...mapping,
      ...target("other"),
    ]);
    expect(second.code).toBe(1);
    expect(JSON.parse(second.stderr)).toMatchObject({
      code: "KEY_REUSED",
      details: { name: "one", imported: 0 },
    });
  });

  test("goes on behind an erasure with --skip-invalid, and leaves out what was erased", async () => {
    const about = (id: string, of: string, n: number) =>
      JSON.stringify({ id, kind: "Sent", of, street: "Elm 1", n });
    const file = write(
      "erased.ndjson",
      about("alice", "alice", 1),
      about("order", "alice", 2),
      about("order", "bob", 3),
    );
    const personal = ["--subject", "of", "--personal", "street"];
    const importing = ["import", file, ...mapping, ...personal, ...target("erased")];
    expect((await runWarp(importing)).code).toBe(0);
    expect((await runWarp(["delete", "alice", ...target("erased")])).code).toBe(0);
    const stopped = await runWarp(importing);
    expect({ code: stopped.code, failure: JSON.parse(stopped.stderr).code }).toEqual({
      code: 1,
      failure: "ERASED",
    });
    // Under another name, so that the order's rows are not there already.
    const { code, stdout, stderr } = await runWarp([...importing, "--skip-invalid", "--name", "second"]);
    expect(code).toBe(0);
    expect(jsonLines(stdout)[0]).toMatchObject({ rows: 3, events: 2, skipped: 1 });
    expect(jsonLines(stderr)).toMatchObject([
      {
        warning: 'lines 1 to 3: 1 row of entity "alice" left out, which was erased',
        entity: "alice",
        rows: 1,
      },
      { entity: "order", subject: "alice", rows: 1 },
    ]);
    const again = await runWarp([...importing, "--skip-invalid", "--name", "second"]);
    expect(jsonLines(again.stdout)[0]).toMatchObject({ events: 0, alreadyThere: 2, skipped: 1 });
    const { stdout: events } = await runWarp(["events", "order", "--from", "3", ...target("erased")]);
    expect(jsonLines(events).map((event) => event.personal)).toEqual([undefined, { street: "Elm 1" }]);
  });

  test("keeps the order of an entity's rows over many chunks", async () => {
    const file = write("order.ndjson", ...Array.from({ length: 20_000 }, (_, n) => row(`e${n % 3}`, n)));
    const { code } = await runWarp(["import", file, ...mapping, ...target("order")]);
    expect(code).toBe(0);
    for (const which of [0, 1, 2]) {
      const { stdout } = await runWarp(["events", `e${which}`, ...target("order")]);
      const numbers = jsonLines(stdout).map(({ data }) => (data as { n: number }).n);
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => i * 3 + which));
      expect(numbers.length).toBeGreaterThanOrEqual(6666);
    }
  });

  test("with rows as large as an event may be fits in its records", async () => {
    const large = (n: number) =>
      JSON.stringify({ id: "a", kind: "Large", text: "\u0001".repeat(170_000), n });
    const file = write("large.ndjson", ...Array.from({ length: 12 }, (_, n) => large(n)));
    const { code, stdout } = await runWarp(["import", file, ...mapping, ...target("large")]);
    expect(code).toBe(0);
    expect(jsonLines(stdout)[0]).toMatchObject({ events: 12 });
  });

  test("of a file that is not there, or a folder, or an application that is not right, changes nothing", async () => {
    mkdirSync(join(folder, "a-folder"));
    const file = write("fine.ndjson", row("a", 1));
    const app = write("broken.ts", "", "export const a = {;");
    for (const [args, code] of [
      [["import", join(folder, "missing.csv")], "IO_ERROR"],
      [["import", file, "--app", app], "APPLICATION_INVALID"],
    ] as const) {
      const { code: exit, stderr } = await runWarp([...args, ...mapping, ...target("unchanged")]);
      expect({ exit, code: JSON.parse(stderr).code }).toEqual({ exit: 1, code });
    }
    expect(existsSync(join(folder, "unchanged"))).toBe(false);
  });
});
