/**
 * The command line against a server: how the server is named, following, importing, and the shell.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { jsonLines, root, runWarp, startWarp, temporaryFolder, tested } from "./command.ts";
import { type RunningServer, smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
const dataDir = join(folder, "data");
let server: RunningServer;
let addr: string[] = [];

beforeAll(async () => {
  server = await startServer(["--data", dataDir, "--app", "examples/banking.ts", ...smallServer]);
  addr = ["--addr", server.address];
});

afterAll(async () => {
  server.process.kill("SIGTERM");
  await server.ended;
  rmSync(folder, { recursive: true });
});

describe("the server", () => {
  test("can be a variable, which a data directory on the command line outranks", async () => {
    // Its root key is the server's own business, so the variable for directories does not disturb.
    const environment = { WARP_ADDR: server.address, WARP_ROOT_KEY_FILE: "absent.key" };
    const appended = await runWarp(["append", "a", "Noted", '{"n":1}', "--json"], undefined, environment);
    expect(jsonLines(appended.stdout)).toMatchObject([{ entity: "a", ok: true, seq: 1 }]);
    const elsewhere = ["get", "a", "--data", join(folder, "nowhere")];
    const local = await runWarp(elsewhere, undefined, environment);
    expect(local.stderr).toContain("is not a Warp data directory");
  });

  test("has its own settings: others on the command line are wrong usage", async () => {
    for (const other of [
      ["--data", dataDir],
      ["--app", "x.ts"],
      ["--root-key-file", "key"],
    ]) {
      const { code, stderr } = await runWarp(["get", "a", ...addr, ...other]);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: `warp: USAGE: ${other[0]} is the server's to say and does not go with --addr\n`,
      });
    }
  });

  test("that a variable names has its own settings too", async () => {
    const environment = { WARP_ADDR: server.address };
    const { code, stderr } = await runWarp(["get", "a", "--app", "x.ts"], undefined, environment);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "warp: USAGE: --app is the server's to say and does not go with WARP_ADDR\n",
    });
  });

  test("that has another context refuses, and one that is not there is told", async () => {
    const other = await runWarp(["get", "a", ...addr, "--context", "else", "--json"]);
    expect([other.code, JSON.parse(other.stderr).code]).toEqual([1, "CONFIG_MISMATCH"]);
    const absent = await runWarp(["get", "a", "--addr", "127.0.0.1:1", "--json"]);
    expect([absent.code, JSON.parse(absent.stderr).code]).toEqual([1, "DISCONNECTED"]);
  });

  test("takes an import, which can be run again", async () => {
    const rows = Array.from({ length: 3000 }, (_, n) => JSON.stringify({ id: `i${n % 7}`, n })).join("\n");
    const args = [
      "import",
      "-",
      "--format",
      "ndjson",
      "--name",
      "rows",
      "--entity",
      "id",
      "--type-name",
      "Row",
    ];
    const first = await runWarp([...args, ...addr, "--json"], rows);
    expect(jsonLines(first.stdout)).toMatchObject([{ events: 3000, alreadyThere: 0, entitiesNew: 7 }]);
    const again = await runWarp([...args, ...addr, "--json"], rows);
    expect(jsonLines(again.stdout)).toMatchObject([{ events: 0, alreadyThere: 3000 }]);
  });
});

describe("events --follow", () => {
  test("prints what there is and what comes, each once, until it is interrupted", async () => {
    const append = (n: number) => runWarp(["append", "f", "Noted", `{"n":${n}}`, ...addr]);
    await append(1);
    const following = startWarp([
      "events",
      "f",
      "--follow",
      "--from",
      "1",
      "--limit",
      "4",
      "--json",
      ...addr,
    ]);
    for (let n = 2; n <= 5; n++) await append(n);
    const { code, stdout } = await following.ended;
    expect(code).toBe(0);
    expect(jsonLines(stdout).map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    const waiting = startWarp(["events", "nobody-yet", "--follow", "--json", ...addr]);
    waiting.process.kill("SIGINT");
    expect((await waiting.ended).stdout).toBe("");
  });

  test("tells where one life of an id ends and the next begins", async () => {
    const append = (...more: string[]) => runWarp(["append", "reborn", "Noted", "{}", ...more, ...addr]);
    for (let n = 0; n < 3; n++) await append();
    const args = ["events", "reborn", "--follow", "--from", "3", "--limit", "3", "--json", ...addr];
    const following = Bun.spawn([...tested, ...args], { cwd: root, stdout: "pipe", stderr: "inherit" });
    let text = "";
    for await (const piece of following.stdout) {
      // It has read what there was.
      if (text === "") {
        await runWarp(["delete", "reborn", ...addr]);
        await append("--expect", "none");
        await append();
      }
      text += new TextDecoder().decode(piece);
    }
    expect(await following.exited).toBe(0);
    expect(jsonLines(text).map(({ seq, erased }) => erased ?? seq)).toEqual([3, "reborn", 1, 2]);
  });

  test("needs a server", async () => {
    const { code, stderr } = await runWarp(["events", "f", "--follow", "--reverse", ...addr]);
    expect([code, stderr]).toEqual([2, "warp: USAGE: --follow goes forward and has no end\n"]);
  });
});

describe("tail", () => {
  test("prints what comes until it has enough, and goes on from a cursor", async () => {
    const append = (id: string, n: number) => runWarp(["append", id, "Noted", `{"n":${n}}`, ...addr]);
    const all = ["tail", "--prefix", "tailed-", "--json", "--marks", ...addr];
    const [start] = jsonLines((await runWarp([...all, "--once"])).stdout);
    const following = startWarp([...all, "--from", String(start?.caughtUp), "--limit", "3"]);
    for (let n = 1; n <= 3; n++) await append(`tailed-${n % 2}`, n);
    const { code, stdout } = await following.ended;
    expect(code).toBe(0);
    const events = jsonLines(stdout).filter(({ type }) => type === "Noted");
    expect(events.map(({ entity, data }) => [entity, data]).sort()).toEqual([
      ["tailed-0", { n: 2 }],
      ["tailed-1", { n: 1 }],
      ["tailed-1", { n: 3 }],
    ]);
    const wrong = await runWarp(["tail", "a", "--prefix", "b", ...addr]);
    expect([wrong.code, wrong.stderr]).toEqual([2, "warp: USAGE: an entity or --prefix, not both\n"]);
    const lost = await runWarp(["tail", "--from", "nowhere", ...addr]);
    expect([lost.code, lost.stderr.split(":")[1]]).toEqual([1, " INVALID_ARGUMENT"]);
  });
});

describe("the shell", () => {
  const shell = (lines: string[]) => runWarp(["shell", ...addr], lines.map((line) => `${line}\n`).join(""));

  test("runs a verb a line, with JSON as it is", async () => {
    const { code, stdout } = await shell([
      'send "s 1" open {"owner": "Al ice", "overdraftCents": 0}',
      "get 's 1' --json",
      "",
      "exit",
      "get nothing-behind-exit",
    ]);
    expect(code).toBe(0);
    const [opened, state] = stdout.split("\n");
    expect(opened).toBe("s 1: appended, seq 1");
    expect(JSON.parse(state ?? "")).toMatchObject({ entity: "s 1", state: { owner: "Al ice" } });
  });

  test("goes on behind a failure, and ends with the status of the last one", async () => {
    const { code, stdout, stderr } = await shell([
      "nope",
      "get 'a",
      'send s2 debit {"cents": 1, "ref": "r"}',
      "get nobody",
    ]);
    expect(code).toBe(4);
    expect(stdout).toStartWith("s2: rejected, ");
    expect(stderr.split("\n").map((line) => line.split(":")[1])).toEqual([
      " USAGE",
      " USAGE",
      " NOT_FOUND",
      undefined,
    ]);
  });

  test("refuses a line that names another target, and does not run it on its own", async () => {
    const lines = [
      ["--addr", "127.0.0.1:1"],
      ["--data", "elsewhere"],
      ["--app", "x.ts"],
      ["--context", "c"],
    ];
    const { code, stdout, stderr } = await shell(lines.map((other) => `append s3 Noted ${other.join(" ")}`));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr.split("\n").slice(0, -1)).toEqual(
      lines.map(
        ([name]) =>
          `warp: USAGE: ${name} is the shell's to say, where it is started, and not of a line in it`,
      ),
    );
    expect((await shell(["get s3"])).code).toBe(4);
  });

  test("keeps the lines typed for the user alone, and goes on where they cannot be kept", async () => {
    const kept = join(folder, "history");
    writeFileSync(kept, "get before\n", { mode: 0o644 });
    const told = await typed(kept);
    expect(told).not.toContain("not kept");
    expect(readFileSync(kept, "utf8")).toBe("get before\nget nobody\nget else\nexit\n");
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    const nowhere = await typed(join(folder, "absent", "history"));
    expect(nowhere.split("the lines typed are not kept").length).toBe(2);
  });

  /** What a terminal shows of a shell with two verbs. Throws when it ends otherwise than by "exit". */
  async function typed(history: string): Promise<string> {
    let screen = "";
    let heard = Promise.withResolvers<void>();
    const decoder = new TextDecoder();
    const started = Bun.spawn([...tested, "shell", ...addr], {
      cwd: root,
      env: { ...process.env, WARP_HISTORY: history },
      terminal: {
        data: (_, piece) => {
          screen += decoder.decode(piece, { stream: true });
          heard.resolve();
        },
      },
    });
    const shows = async (text: string) => {
      while (!screen.includes(text)) {
        await heard.promise;
        heard = Promise.withResolvers();
      }
    };
    await shows("warp> ");
    for (const entity of ["nobody", "else"]) {
      started.terminal?.write(`get ${entity}\r`);
      await shows(`the entity "${entity}" has no events`);
    }
    started.terminal?.write("exit\r");
    expect(await started.exited).toBe(0);
    return screen;
  }
});
