/**
 * How far a shard is settled, read from its files alone.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readMeta } from "../files/database.ts";
import { shardDirectory } from "../shard.ts";
import { openToCheck } from "./structure.ts";

/** The smaller of what names.db and runs.db have; undefined when that cannot be read, which `checkShards` tells of. */
export function settledPositionOf(dataDir: string, shard: number): number | undefined {
  const positions = ["names.db", "runs.db"].map((name) => {
    const path = join(shardDirectory(dataDir, shard), name);
    if (!existsSync(path)) return undefined;
    const database = openToCheck(path);
    try {
      return readMeta(database, path, shard).position;
    } catch {
      // Damage of the meta row is a finding of checkShards, which names it.
      return undefined;
    } finally {
      database.close();
    }
  });
  const [named, settled] = positions;
  return named === undefined || settled === undefined ? undefined : Math.min(named, settled);
}
