/**
 * Backups the way an operator has them: a server that backs itself up and is killed, verifying, restoring, and what is said
 * when something is wrong.
 */
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { filesUnder } from "../backup/sample.ts";
import { jsonLines, runWarp, temporaryFolder } from "./command.ts";
import { smallServer, startServer } from "./server.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true }));

const path = (name: string) => join(folder, name);
const data = path("data");
const target = path("target");
const key = path("root.key");

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, "m").exec(text)?.[1]);
}

test("a server backs itself up; when its disk is gone, the backup and the root key bring it back", async () => {
  const settings = ["--data", data, "--backup", target, "--every", "1s", "--settle-delay", "10ms"];
  const server = await startServer([...settings, ...smallServer]);
  copyFileSync(join(data, "root.key"), key);
  for (const id of ["alice", "other-1", "other-2"]) {
    const appended = await runWarp(["append", id, "Noted", "{}", "--addr", server.address]);
    expect([appended.code, appended.stderr]).toEqual([0, ""]);
  }
  while ((await metric(server.url, "warp_unsettled_bytes")) > 0) await Bun.sleep(10);
  // Of the next two that end, the second began when everything was settled.
  const settledAt = Date.now();
  const before = await metric(server.url, "warp_backups_total");
  while ((await metric(server.url, "warp_backups_total")) < before + 2) await Bun.sleep(10);
  expect(await metric(server.url, "warp_backup_failures_total")).toBe(0);
  const ageSeconds = await metric(server.url, "warp_backup_age_seconds");
  expect(ageSeconds).toBeLessThanOrEqual((Date.now() - settledAt) / 1000);
  server.process.kill("SIGKILL");
  await server.ended;
  rmSync(data, { recursive: true });

  const verified = await runWarp(["backup", "verify", target, "--root-key-file", key, "--json"]);
  expect(jsonLines(verified.stdout)[0]).toMatchObject({ decrypted: true, entities: 3 });
  const restored = await runWarp(["restore", target, "--to", data, "--root-key-file", key, "--json"]);
  expect([restored.code, restored.stderr]).toEqual([0, ""]);
  expect(jsonLines(restored.stdout)[0]).toMatchObject({ entities: 3, events: 3, erased: 0 });
  const got = await runWarp(["get", "alice", "--data", data, "--root-key-file", key, "--json"]);
  expect(jsonLines(got.stdout)[0]).toMatchObject({ entity: "alice", seq: 1 });
  expect(await runWarp(["check", data, "--root-key-file", key])).toMatchObject({ code: 0 });
});

test("a running server backs up when it is asked, into its own target and nowhere else", async () => {
  const [own, into] = [path("served"), path("served-target")];
  const server = await startServer(["--data", own, "--backup", into, "--every", "24h", ...smallServer]);
  // The first one of the schedule is not to have what is asked for.
  while ((await metric(server.url, "warp_backups_total")) < 1) await Bun.sleep(10);
  const ask = (...args: string[]) => runWarp(["backup", ...args, "--addr", server.address, "--json"]);
  for (const args of [[], [into]]) {
    // Acknowledged is enough: what waits to be settled is settled first.
    expect((await runWarp(["append", "alice", "Noted", "{}", "--addr", server.address])).code).toBe(0);
    const asked = await ask(...args);
    expect([asked.code, asked.stderr]).toEqual([0, ""]);
    expect(jsonLines(asked.stdout)[0]).toMatchObject({ target: into, shards: 2, segments: 1 });
  }
  const elsewhere = await ask(path("elsewhere"));
  expect(elsewhere.code).toBe(1);
  expect(jsonLines(elsewhere.stderr)[0]).toMatchObject({
    code: "INVALID_ARGUMENT",
    details: { target: into },
  });
  expect(existsSync(path("elsewhere"))).toBe(false);
  // The keys are rotated beside it, and the next backup has them under the new period alone.
  const keys = (...args: string[]) => runWarp(["keys", ...args, "--json"]);
  const rotated = await keys("rotate", "--addr", server.address);
  expect([rotated.code, rotated.stderr]).toEqual([0, ""]);
  expect(jsonLines(rotated.stdout)[0]).toMatchObject({ period: 2, keys: 1 });
  for (const where of [
    ["--addr", server.address],
    ["--data", own],
  ]) {
    const status = await keys("status", ...where);
    expect(jsonLines(status.stdout)).toMatchObject([{ period: 2, keys: 1, isCurrent: true }]);
  }
  expect(jsonLines((await ask()).stdout)[0]).toMatchObject({ keyObjects: 1, segments: 0 });
  server.process.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  expect(jsonLines((await keys("rotate", "--data", own)).stdout)[0]).toMatchObject({ period: 3, keys: 1 });
  const rootKey = join(own, "root.key");
  const again = ["restore", into, "--to", path("served-again"), "--root-key-file", rootKey, "--json"];
  expect(jsonLines((await runWarp(again)).stdout)[0]).toMatchObject({ entities: 1, events: 2 });

  const without = await startServer(["--data", own, ...smallServer]);
  const refused = await runWarp(["backup", "--addr", without.address, "--json"]);
  expect(jsonLines(refused.stderr)[0]).toMatchObject({ code: "UNSUPPORTED" });
  without.process.kill("SIGTERM");
  await without.ended;
  expect((await runWarp(["backup", "--data", own])).code).toBe(2);
  // Nor into a folder that is called like it.
  const remote = "s3://bucket/there";
  for (const args of [
    ["backup", remote, "--data", own],
    ["backup", "verify", remote],
    ["restore", remote, "--to", path("from-remote"), "--root-key-file", join(own, "root.key")],
  ]) {
    const nothing = await runWarp([...args, "--json"]);
    expect(jsonLines(nothing.stderr)[0]).toMatchObject({ code: "UNSUPPORTED", details: { target: remote } });
  }
});

test("a server whose target is no directory does not start, and makes nothing", async () => {
  const [own, file] = [path("unserved"), path("a-file")];
  writeFileSync(file, "");
  for (const [into, code] of [
    [file, "INVALID_ARGUMENT"],
    ["s3://bucket/there", "UNSUPPORTED"],
  ] as const) {
    const refused = await runWarp(["serve", "--data", own, "--backup", into, "--json", ...smallServer]);
    expect(refused.code).toBe(1);
    expect(jsonLines(refused.stderr)[0]).toMatchObject({ code, details: { target: into } });
  }
  expect(existsSync(own)).toBe(false);
});

test("a server that is told to stop ends when its drain timeout is over, whatever its backup has to do", async () => {
  const into = path("interrupted");
  const holds = join(into, "shard-000/holds");
  mkdirSync(join(into, "shard-000"), { recursive: true });
  // The backup waits here until somebody writes.
  expect(Bun.spawnSync(["mkfifo", holds]).exitCode).toBe(0);
  const settings = ["--data", path("busy"), "--backup", into, "--drain-timeout", "100ms"];
  const server = await startServer([...settings, ...smallServer]);
  while (!existsSync(join(into, "shard-000/ledger"))) await Bun.sleep(10);
  server.process.kill("SIGTERM");
  const messages = () => server.log().map(({ message }) => message);
  while (!messages().includes("requests and backups under way were cut off")) await Bun.sleep(10);
  writeFileSync(holds, "");
  expect(await server.ended).toBe(0);
  expect(messages().filter((message) => String(message).includes("backup"))).toEqual([
    "requests and backups under way were cut off",
    "the backup under way was interrupted; the one before it is as it was",
  ]);
  const unfinished = await runWarp(["backup", "verify", into, "--json"]);
  expect(jsonLines(unfinished.stderr)[0]).toMatchObject({ code: "CORRUPT" });
  const again = await runWarp(["backup", into, "--data", path("busy"), "--json"]);
  expect([again.code, again.stderr]).toEqual([0, ""]);
  expect((await runWarp(["backup", "verify", into])).code).toBe(0);
});

test("a backup by hand adds what is new, and a restored directory needs a target of its own", async () => {
  const again = path("again");
  const append = ["append", "bob", "Noted", "{}", "--data", data, "--root-key-file", key];
  expect((await runWarp(append)).code).toBe(0);
  const backup = ["--data", data, "--root-key-file", key, "--json"];
  const first = await runWarp(["backup", again, ...backup]);
  expect(jsonLines(first.stdout)[0]).toMatchObject({ target: again, shards: 2, segments: 2 });
  const second = await runWarp(["backup", again, ...backup]);
  expect(jsonLines(second.stdout)[0]).toMatchObject({ segments: 0, rows: 0, bytes: 0 });
  const foreign = await runWarp(["backup", target, ...backup]);
  expect(foreign.code).toBe(1);
  expect(jsonLines(foreign.stderr)[0]).toMatchObject({ code: "CONFIG_MISMATCH" });
});

test("damage, a wrong root key, none, and wrong usage are told apart", async () => {
  const damaged = path("damaged");
  cpSync(target, damaged, { recursive: true });
  const segment = filesUnder(damaged).find((object) => object.includes("/segments/")) ?? "";
  rmSync(join(damaged, segment));
  const verify = await runWarp(["backup", "verify", damaged, "--root-key-file", key, "--json"]);
  expect(verify.code).toBe(3);
  expect(jsonLines(verify.stderr)[0]).toMatchObject({ code: "CORRUPT" });
  const to = path("never");
  const restore = await runWarp(["restore", damaged, "--to", to, "--root-key-file", key, "--json"]);
  expect(restore.code).toBe(1);
  expect(jsonLines(restore.stderr)[0]).toMatchObject({ code: "CORRUPT" });
  const wrong = path("wrong.key");
  writeFileSync(wrong, Buffer.alloc(32, 1).toString("base64"));
  const other = await runWarp(["restore", target, "--to", to, "--root-key-file", wrong, "--json"]);
  expect(jsonLines(other.stderr)[0]).toMatchObject({ code: "ROOT_KEY_WRONG" });
  const none = await runWarp(["restore", target, "--to", to, "--json"]);
  expect(jsonLines(none.stderr)[0]).toMatchObject({ code: "ROOT_KEY_MISSING" });
  expect(existsSync(to)).toBe(false);
  expect((await runWarp(["backup", "frobnicate", target])).code).toBe(2);
  const unproved = await runWarp(["backup", "verify", target]);
  expect([unproved.code, unproved.stdout]).toEqual([0, expect.stringContaining("nothing was decrypted")]);
});
