/**
 * How far a shard is settled, read from its files alone.
 *
 * That is what runs.db says. The position of names.db stands still while no new entity comes, so it may be behind for
 * good reason; that every run has its name is what `checkShards` proves.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readMeta } from "../sqlite/database.ts";
import { shardDirectory } from "../shard.ts";
import { openToCheck } from "./structure.ts";

/** Undefined when it cannot be read, which `checkShards` tells of. */
export function settledPositionOf(dataDir: string, shard: number): number | undefined {
  const path = join(shardDirectory(dataDir, shard), "runs.db");
  if (!existsSync(path)) return undefined;
  try {
    const database = openToCheck(path);
    try {
      return readMeta(database, path, shard).position;
    } finally {
      database.close();
    }
  } catch {
    // A database that does not open, or whose meta row is damaged, is a finding of checkShards, which names it.
    return undefined;
  }
}
