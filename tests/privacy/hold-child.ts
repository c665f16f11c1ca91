/**
 * Holds an entity while somebody else reads an older state of its shard's file, says so, and ends as if it were killed:
 * `bun hold-child.ts DATA`
 */
import { Database } from "bun:sqlite";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { start } from "../../src/index.ts";
import { loadSettings } from "../crash/settings.ts";

const [, , dataDir = ""] = process.argv;
const warp = await start({ ...loadSettings(dataDir), shards: 1, writers: 1 });
const alice = warp.entity("alice");
await alice.append({ type: "Noted", data: { op: "a", part: 0, i: 0, of: 1, cents: 0, pad: "" } });
await alice.hold({ reason: "an earlier claim" });
await alice.releaseHold();
const reader = new Database(join(dataDir, "shards/000/runs.db"), { readonly: true });
reader.run("BEGIN");
reader.query("SELECT count(*) FROM runs").get();
await alice.hold({ reason: "claim" });
writeSync(1, '{"mark":"open"}\n');
process.kill(process.pid, "SIGKILL");
