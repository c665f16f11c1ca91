import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { sampleDirectory } from "../sample.ts";
import { checkpoint, openDatabase, walBytesOf } from "./database.ts";

const directory = sampleDirectory();
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Row {
  readonly busy: number;
  readonly log: number;
}

/** A file of which another process is copying the WAL, and does not get on: somebody reads an older state. */
async function contested(name: string) {
  const path = join(directory, name);
  const database = openDatabase(path, { access: "write", synchronous: "NORMAL", cacheBytes: 1e6 });
  database.run("CREATE TABLE sample (number INTEGER) STRICT");
  const reader = openDatabase(path, { access: "read", synchronous: "NORMAL", cacheBytes: 1e6 });
  reader.run("BEGIN");
  reader.query("SELECT * FROM sample").all();
  database.run("INSERT INTO sample VALUES (1)");
  const script = `
    import { Database } from "bun:sqlite";
    const database = new Database(${JSON.stringify(path)});
    database.run("PRAGMA busy_timeout = 600000");
    // -1 while the probe below is at it.
    while (database.query("PRAGMA wal_checkpoint(TRUNCATE)").get().log === -1);
  `;
  const other = Bun.spawn([process.execPath, "-e", script], { stderr: "inherit" });
  const probe = new Database(path);
  for (;;) {
    const row = probe.query<Row, []>("PRAGMA wal_checkpoint(PASSIVE)").get();
    if (row?.busy === 1 && row.log === -1) break;
    expect(other.exitCode).toBeNull();
    await Bun.sleep(5);
  }
  probe.close();
  return { path, database, reader, other };
}

describe("a checkpoint", () => {
  test("that finds another one under way has copied nothing", async () => {
    const { path, database, reader, other } = await contested("nothing.db");
    expect(checkpoint(database, path, "PASSIVE")).toBe(false);
    expect(checkpoint(database, path, "BRIEF")).toBe(false);
    expect(walBytesOf(database, path)).toBeGreaterThan(0);
    reader.close();
    expect(await other.exited).toBe(0);
    expect(checkpoint(database, path, "PASSIVE")).toBe(true);
    database.close();
  });

  test("that may wait for readers waits for another one, too", async () => {
    const { path, database, reader, other } = await contested("waits.db");
    other.kill("SIGSTOP");
    reader.close();
    const goesOn = Bun.spawn(["sh", "-c", `sleep 0.2; kill -CONT ${other.pid}`]);
    expect(checkpoint(database, path, "TRUNCATE")).toBe(true);
    expect(walBytesOf(database, path)).toBe(0);
    expect(await Promise.all([other.exited, goesOn.exited])).toEqual([0, 0]);
    database.close();
  });

  test("of an empty WAL is done", () => {
    const path = join(directory, "empty.db");
    const database = openDatabase(path, { access: "write", synchronous: "NORMAL", cacheBytes: 1e6 });
    for (const mode of ["PASSIVE", "BRIEF", "TRUNCATE"] as const) {
      expect(checkpoint(database, path, mode)).toBe(true);
    }
    database.close();
  });
});
