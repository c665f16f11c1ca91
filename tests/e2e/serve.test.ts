/**
 * The life of `warp serve`: settings, start, drain under load, the second signal, failure, the supervisor.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join, relative } from "node:path";
import { jsonLines, root, runWarp, temporaryFolder } from "./command.ts";
import { freePort } from "./free-port.ts";
import { type RunningServer, smallServer, spawnServer, startServer, whenListening } from "./server.ts";

const folder = temporaryFolder();
const running = new Set<RunningServer>();
let made = 0;

afterAll(async () => {
  for (const server of running) {
    server.process.kill("SIGKILL");
    await server.ended;
  }
  rmSync(folder, { recursive: true });
});

const newDirectory = () => join(folder, `data-${++made}`);

async function serve(dataDir: string, ...args: string[]): Promise<RunningServer> {
  const server = await startServer(["--data", dataDir, ...smallServer, ...args]);
  running.add(server);
  void server.ended.then(() => running.delete(server));
  return server;
}

const json = { "content-type": "application/json" };

async function post(url: string, path: string, body: unknown): Promise<{ status: number; seq: number }> {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: json,
    body: JSON.stringify(body),
  });
  const { seq } = (await response.json()) as { seq: number };
  return { status: response.status, seq };
}

const noted = (n: number) => ({ type: "Noted", data: { n, text: "x".repeat(200) } });

async function seqsOf(dataDir: string, entity: string): Promise<number[]> {
  const { stdout } = await runWarp(["events", entity, "--data", dataDir, "--json"]);
  return jsonLines(stdout).map(({ data }) => (data as { n: number }).n);
}

describe("a server that is told to stop", () => {
  test("keeps what it acknowledged, refuses the rest, and ends with 0", async () => {
    const dataDir = newDirectory();
    const server = await serve(dataDir);
    const acknowledged: number[] = [];
    let isStopping = false;
    const callers = Array.from({ length: 8 }, async (_, caller) => {
      for (let n = caller; !isStopping || n < 0; n += 8) {
        const answer = await post(server.url, "/v1/entities/load/events", noted(n)).catch(() => undefined);
        if (answer?.status !== 201) return;
        acknowledged.push(n);
        if (acknowledged.length === 200) {
          server.process.kill("SIGTERM");
        }
      }
    });
    await Promise.all(callers);
    isStopping = true;
    expect(await server.ended).toBe(0);
    expect(server.log().at(-1)).toMatchObject({ message: "stopped: everything acknowledged is on disk" });
    expect(acknowledged.length).toBeGreaterThanOrEqual(200);
    const stored = await seqsOf(dataDir, "load");
    expect(stored.length).toBe(new Set(stored).size);
    for (const n of acknowledged) expect(stored).toContain(n);
  });

  test("does not wait for connections on which nothing is asked", async () => {
    const server = await serve(newDirectory());
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.on("error", () => undefined);
    server.process.kill("SIGINT");
    expect(await server.ended).toBe(0);
    expect(server.log().some(({ level }) => level === "warn")).toBe(false);
    socket.destroy();
  });

  test("serves the same entities after a start", async () => {
    const dataDir = newDirectory();
    const first = await serve(dataDir);
    expect(await post(first.url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
    first.process.kill("SIGTERM");
    await first.ended;
    const second = await serve(dataDir);
    expect(await post(second.url, "/v1/entities/a/events", noted(2))).toEqual({ status: 201, seq: 2 });
    second.process.kill("SIGKILL");
    await second.ended;
    const third = await serve(dataDir);
    expect(await post(third.url, "/v1/entities/a/events", noted(3))).toEqual({ status: 201, seq: 3 });
  });
});

describe("a server that cannot go on", () => {
  test("says why it cannot start: a port that is taken, a directory that is open, an application that is wrong", async () => {
    const dataDir = newDirectory();
    const server = await serve(dataDir);
    const taken = ["serve", "--http", new URL(server.url).host, "--listen", "127.0.0.1:0"];
    const port = await runWarp([...taken, "--data", newDirectory(), "--shards", "1", "--json"]);
    expect([port.code, port.stdout]).toEqual([1, ""]);
    expect(jsonLines(port.stderr).at(-1)).toMatchObject({ code: "IO_ERROR" });
    const doors = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    const locked = await runWarp(["serve", ...doors, "--data", dataDir, "--json"]);
    expect(locked.code).toBe(1);
    expect(jsonLines(locked.stderr).at(-1)).toMatchObject({ code: "DIRECTORY_LOCKED" });
    const app = join(folder, "wrong.ts");
    writeFileSync(app, "export const nothing = 1;\n");
    const elsewhere = newDirectory();
    const wrong = await runWarp(["serve", ...doors, "--data", elsewhere, "--app", app, "--json"]);
    expect(jsonLines(wrong.stderr).at(-1)).toMatchObject({ code: "APPLICATION_INVALID" });
    expect(existsSync(elsewhere)).toBe(false);
  });

  test("ends when it has begun to start and cannot go on: a sink that is not set", async () => {
    const app = join(folder, "elsewhere.ts");
    const lines = [
      'import { defineProjection } from "warp";',
      'const tables = { note: { columns: { id: "text" }, key: ["id"], subjects: ["id"] } };',
      'export const notes = defineProjection()({ name: "notes", sink: "pg", tables, on: { Noted: () => {} } });',
    ];
    writeFileSync(app, lines.join("\n"));
    const doors = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    const ended = await runWarp(["serve", ...doors, "--data", newDirectory(), "--app", app, "--json"]);
    expect(ended.code).toBe(1);
    expect(jsonLines(ended.stderr).at(-1)).toMatchObject({
      code: "CONFIG_MISMATCH",
      details: { sink: "pg" },
    });
  });

  test("ends with 1 and the reason when its engine fails", async () => {
    const dataDir = newDirectory();
    const server = await serve(dataDir);
    // The next segment cannot be made where there is no folder any more.
    rmSync(join(dataDir, "journal"), { recursive: true });
    const events = Array.from({ length: 100 }, (_, n) => noted(n));
    // The answer is that the outcome is unknown, or none when the engine failed between two requests.
    const append = () => post(server.url, "/v1/entities/a/events", { events }).catch(() => ({ status: 0 }));
    let status = 201;
    while (status === 201) ({ status } = await append());
    expect([0, 500, 503]).toContain(status);
    expect(await server.ended).toBe(1);
    expect(server.log().at(-1)).toMatchObject({
      code: "IO_ERROR",
      message: expect.stringContaining("journal"),
    });
  });
});

describe("a server whose log nobody reads any more", () => {
  test("goes on, and drains when it is told to stop", async () => {
    const spawned = spawnServer(["--data", newDirectory(), ...smallServer]);
    // Whoever read the log is gone before its first line.
    await spawned.stderr.cancel();
    const server = await whenListening(spawned);
    running.add(server);
    expect(await post(server.url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
    server.process.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    running.delete(server);
  });

  test("is started again by its supervisor, though nobody reads where it listens either", async () => {
    const url = `http://127.0.0.1:${freePort()}`;
    const http = ["--supervise", "--http", new URL(url).host];
    const supervisor = spawnServer(["--data", newDirectory(), ...smallServer, ...http]);
    try {
      await Promise.all([supervisor.stdout.cancel(), supervisor.stderr.cancel()]);
      await isReady(url, undefined, supervisor);
      const first = await pidOf(url);
      expect(await post(url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
      process.kill(first, "SIGKILL");
      await isReady(url, first, supervisor);
      expect(await post(url, "/v1/entities/a/events", noted(2))).toEqual({ status: 201, seq: 2 });
      supervisor.kill("SIGTERM");
      expect(await supervisor.exited).toBe(0);
    } finally {
      supervisor.kill("SIGKILL");
    }
  });
});

describe("a supervised server", () => {
  test("is started again when it dies, and drained through its supervisor", async () => {
    const port = freePort();
    const dataDir = newDirectory();
    const server = await serve(dataDir, "--supervise", "--http", `127.0.0.1:${port}`);
    expect(await post(server.url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
    const first = await pidOf(server.url);
    expect(first).not.toBe(server.process.pid);
    process.kill(first, "SIGKILL");
    await isReady(server.url, first, server.process);
    expect(await post(server.url, "/v1/entities/a/events", noted(2))).toEqual({ status: 201, seq: 2 });
    server.process.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    expect(server.log()).toContainEqual(expect.objectContaining({ signal: "SIGKILL" }));
  });

  test("ends when its supervisor is killed", async () => {
    const dataDir = newDirectory();
    const server = await serve(dataDir, "--supervise");
    expect(await post(server.url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
    server.process.kill("SIGKILL");
    // The child holds the other ends of the pipes, so this waits for it too.
    await server.ended;
    expect(server.log().at(-1)).toMatchObject({ message: "stopped: everything acknowledged is on disk" });
  });

  test("is not started again when its settings are wrong", async () => {
    const { code, stderr } = await runWarp(["serve", "--supervise", "--shards", "0"]);
    expect(code).toBe(2);
    expect(stderr).toBe('warp: USAGE: --shards is a whole number from 1 to 256, not "0"\n');
  });
});

describe("the settings", () => {
  test("are printed with where they come from, and nothing is started", async () => {
    const file = join(folder, "warp.toml");
    writeFileSync(file, 'max-body = "1MiB"\nlisten = "off"\n');
    const args = ["serve", "--config", file, "--print-config", "--http", "127.0.0.1:1", "--json"];
    const { code, stdout } = await runWarp(args, undefined, { WARP_SHARDS: "3" });
    expect(code).toBe(0);
    const rows = jsonLines(stdout);
    expect(rows).toContainEqual({ setting: "max-body", value: "1048576", from: file });
    expect(rows).toContainEqual({ setting: "listen", value: "off", from: file });
    expect(rows).toContainEqual({ setting: "http", value: "127.0.0.1:1", from: "--http" });
    expect(rows).toContainEqual({ setting: "shards", value: "3", from: "WARP_SHARDS" });
  });
});

describe("the root key", () => {
  const keyFile = join(folder, "outside.key");
  /** The commands are started in the folder of the sources, which is no data directory. */
  const relativeFile = relative(root, keyFile);
  const get = (dataDir: string, environment: Record<string, string>, ...args: string[]) =>
    runWarp(["get", "a", "--data", dataDir, ...args], undefined, environment);

  test("is in one place for a server and for every other verb, told by an option or by a variable", async () => {
    writeFileSync(keyFile, `${"5a".repeat(32)}\n`);
    const dataDir = join(newDirectory(), "as", "deep", "as", "this");
    const server = await serve(dataDir, "--root-key-file", relativeFile);
    expect(await post(server.url, "/v1/entities/a/events", noted(1))).toEqual({ status: 201, seq: 1 });
    server.process.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    expect(existsSync(join(dataDir, "root.key"))).toBe(false);
    expect((await get(dataDir, {})).stderr).toContain("ROOT_KEY_MISSING");
    expect((await get(dataDir, {}, "--root-key-file", relativeFile)).code).toBe(0);
    expect((await get(dataDir, { WARP_ROOT_KEY_FILE: relativeFile })).code).toBe(0);
    expect((await get(dataDir, { WARP_ROOT_KEY_COMMAND: `cat ${keyFile}` })).code).toBe(0);
  });

  test("that a variable names is that of a directory that is made, and none is put beside the data", async () => {
    const dataDir = newDirectory();
    const environment = { WARP_ROOT_KEY_FILE: relativeFile };
    const { code } = await runWarp(["append", "a", "Noted", "--data", dataDir], undefined, environment);
    expect([code, existsSync(join(dataDir, "root.key"))]).toEqual([0, false]);
    // A variable that is set to nothing is not set.
    expect((await get(dataDir, { ...environment, WARP_ROOT_KEY_COMMAND: "" })).code).toBe(0);
  });

  test("is that of the command line before that of the variables, and not two of one place", async () => {
    const dataDir = join(folder, `data-${made}`);
    const wrong = { WARP_ROOT_KEY_FILE: join(folder, "absent.key") };
    expect((await get(dataDir, wrong, "--root-key-command", `cat ${keyFile}`)).code).toBe(0);
    const both = await get(dataDir, { ...wrong, WARP_ROOT_KEY_COMMAND: "true" });
    expect([both.code, both.stderr]).toEqual([
      2,
      "warp: USAGE: root-key-file and root-key-command cannot both be set\n",
    ]);
  });
});

/** Until a server other than the process `other` answers. Throws when its supervisor has ended. */
async function isReady(url: string, other: number | undefined, supervisor: Bun.Subprocess): Promise<void> {
  while (supervisor.exitCode === null) {
    const { text } = await readMetrics(url).catch(() => ({ text: "" }));
    if (text !== "" && !text.includes(`pid="${other}"`)) return;
    await Bun.sleep(5);
  }
  throw new Error(`the supervisor ended with ${supervisor.exitCode}`);
}

async function pidOf(url: string): Promise<number> {
  const { text } = await readMetrics(url);
  return Number(/warp_info\{[^}]*pid="(\d+)"/.exec(text)?.[1]);
}

async function readMetrics(url: string): Promise<{ text: string }> {
  return { text: await (await fetch(`${url}/metrics`)).text() };
}

describe("the memory of a server", () => {
  /** The environment that the process itself runs with, which is not what it was started with when it began again. */
  const environmentOf = (server: RunningServer): string[] =>
    readFileSync(`/proc/${server.process.pid}/environ`, "utf8").split("\0");

  test.if(process.platform === "linux")("is kept for a while, in the process that was started", async () => {
    const server = await serve(newDirectory());
    expect(environmentOf(server)).toContain("MIMALLOC_PURGE_DELAY=10000");
    expect(environmentOf(server)).toContain("MIMALLOC_PURGE_HOLES=0");
    server.process.kill("SIGTERM");
    expect(await server.ended).toBe(0);
  });
});
