/**
 * Rotating the period keys of a data directory, and how they stand.
 *
 * A rotation: everything is settled, so that no journal segment needs an old period → a new period is added → every vault
 * is wrapped by it → the old periods are destroyed. Interrupted, both periods are there and everything opens; the next
 * rotation goes on. The directory must not be open elsewhere.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { start } from "../../../context.ts";
import { openDataDirectory, readIdentity } from "../../../core/data-directory.ts";
import {
  addPeriod,
  dropOldPeriods,
  type Keyring,
  keyringPeriods,
  openKeyring,
  type RootKeySource,
} from "../../../core/keyring.ts";
import { silentLogger } from "../../../core/logger.ts";
import { slotBytes, Vault, vaultHeaderBytes } from "../../../shard/files/vault.ts";
import { shardDirectory } from "../../../shard/shard.ts";

export interface KeysSettings {
  readonly dataDir: string;
  readonly rootKey?: RootKeySource | undefined;
}

export interface PeriodStatus {
  readonly period: number;
  readonly createdAt: string;
  /** Keys of entities that it wraps. */
  readonly keys: number;
  readonly isCurrent: boolean;
}

/** Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG, CORRUPT. */
export function keysStatus({ dataDir, rootKey }: KeysSettings): PeriodStatus[] {
  const path = resolve(dataDir);
  const { context, shards } = readIdentity(path);
  const periods = keyringPeriods({ dataDir: path, context, rootKey, create: false });
  const keyring = openKeyring({ dataDir: path, context, rootKey, create: false });
  const counts = new Map<number, number>();
  for (let shard = 0; shard < shards; shard++) {
    countKeys(path, context, shard, keyring, counts);
  }
  return periods.map(({ number, createdAt }) => ({
    period: number,
    createdAt,
    keys: counts.get(number) ?? 0,
    isCurrent: number === keyring.current.period,
  }));
}

/** Returns how many keys were wrapped anew. Errors: those of opening the directory. */
export async function rotateKeys({
  dataDir,
  rootKey,
}: KeysSettings): Promise<{ period: number; keys: number }> {
  const path = resolve(dataDir);
  const warp = await start({ dataDir: path, rootKey, create: false, mode: "log", logger: silentLogger });
  await warp.close();
  const directory = openDataDirectory({ path, context: undefined, shards: undefined, create: false });
  try {
    const { context, shards } = directory.identity;
    const options = { dataDir: path, context, rootKey, create: false };
    const keyring = addPeriod(options);
    let keys = 0;
    for (let shard = 0; shard < shards; shard++) {
      withVault(path, context, shard, keyring, "write", (vault) => {
        keys += vault.rewrap();
      });
    }
    dropOldPeriods(options);
    return { period: keyring.current.period, keys };
  } finally {
    directory.unlock();
  }
}

/** Adds up how many slots of a shard's vault each period wraps. */
function countKeys(
  dataDir: string,
  context: string,
  shard: number,
  keyring: Keyring,
  counts: Map<number, number>,
): void {
  // Opened for its header, which says whose it is; a slot of zeros has no key, and periods begin at 1.
  withVault(dataDir, context, shard, keyring, "read", () => {});
  const bytes = readFileSync(join(shardDirectory(dataDir, shard), "vault"));
  for (let at = vaultHeaderBytes; at + slotBytes <= bytes.length; at += slotBytes) {
    const period = bytes.readUInt16LE(at);
    if (period > 0) counts.set(period, (counts.get(period) ?? 0) + 1);
  }
}

function withVault(
  dataDir: string,
  context: string,
  shard: number,
  keyring: Keyring,
  access: "read" | "write",
  use: (vault: Vault) => void,
): void {
  const path = join(shardDirectory(dataDir, shard), "vault");
  const periods = { periodKeys: keyring.periods, currentPeriod: keyring.current.period };
  const vault = Vault.open({ path, shard, context, ...periods, cachedKeysMax: 256 }, access);
  try {
    use(vault);
  } finally {
    vault.close();
  }
}
