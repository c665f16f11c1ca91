/**
 * Looks for texts in everything under a data directory: in the bytes of every file, and in everything that the keys that
 * are there still open. So it finds what somebody with the disk and the root key could find.
 *
 * Works beside an engine that has the directory open, when nothing is being written.
 */
import { Database } from "bun:sqlite";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { open } from "../../src/core/aead.ts";
import { readIdentity } from "../../src/core/data-directory.ts";
import { openKeyring } from "../../src/core/keyring.ts";
import { PeriodKeys } from "../../src/core/period-keys.ts";
import { replayJournal } from "../../src/journal/replay.ts";
import { openParts } from "../../src/shard/files/personal-parts.ts";
import { openPacked, shardAssociated } from "../../src/shard/files/sealed.ts";
import { Vault } from "../../src/shard/files/vault.ts";

/** Bytes that can be read, and where. */
export interface Readable {
  readonly where: string;
  readonly bytes: Uint8Array;
}

/** Where texts are found in a data directory: a sentence for each text and place. */
export function tracesOf(dataDir: string, texts: readonly string[]): string[] {
  return tracesIn(readable(dataDir), texts);
}

export function tracesIn(all: Iterable<Readable>, texts: readonly string[]): string[] {
  const contents = [...all].map(({ where, bytes }) => ({
    where,
    content: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
  }));
  // Everything is searched as one: there are many small pieces, and there is seldom anything in them.
  const whole = Buffer.concat(contents.map(({ content }) => content));
  const suspected = texts.filter((text) => whole.includes(text));
  return contents.flatMap(({ where, content }) =>
    suspected
      .filter((text) => content.includes(text))
      .map((text) => `${JSON.stringify(text)} is still in ${where}`),
  );
}

export function* readable(dataDir: string): Generator<Readable> {
  for (const path of filesUnder(dataDir)) {
    yield { where: relative(dataDir, path), bytes: readFileSync(path) };
  }
  const { context } = readIdentity(dataDir);
  const keyring = openKeyring({ dataDir, context, create: false });
  const directory = join(dataDir, "journal");
  for (const bytes of replayJournal({ directory, context, keyOf: (period) => keyring.keyOf(period) })) {
    yield { where: "the journal, decrypted", bytes: Uint8Array.from(bytes) };
  }
  for (const name of readdirSync(join(dataDir, "shards"))) {
    const shard = Number(name);
    const files = join(dataDir, "shards", name);
    const periods = PeriodKeys.of(keyring.periods).memory;
    const path = join(files, "vault");
    const vault = Vault.open({ path, shard, context, periods, cachedKeysMax: 1024 }, "read");
    const runs = new Database(join(files, "runs.db"), { readonly: true });
    yield* decrypted(runs, vault, context, shard);
    runs.close();
    vault.close();
  }
}

function* decrypted(runs: Database, vault: Vault, context: string, shard: number): Generator<Readable> {
  const associated = shardAssociated(context, shard);
  type Row = { number: number; seq: number; count: number; batch: number; data: Uint8Array };
  for (const { number, seq, count, batch, data } of runs.query<Row, []>("SELECT * FROM runs").all()) {
    const key = vault.keyOf(number);
    const body = key && openPacked(key, data, associated.run.of(number, seq, count, batch));
    if (body === undefined) continue;
    const bytes = openParts(body, associated.personal, { number, seq }, (subject) => vault.keyOf(subject));
    yield { where: `a run of shard ${shard}`, bytes };
  }
  type Snapshot = { number: number; aggregate: number; version: number; seq: number; data: Uint8Array };
  for (const [table, name] of [
    ["snapshots", "a snapshot"],
    ["bases", "the beginning of a history"],
  ] as const) {
    for (const row of runs.query<Snapshot, []>(`SELECT * FROM ${table}`).all()) {
      const key = vault.keyOf(row.number);
      const sealed = associated.snapshot.of(row.number, row.aggregate, row.version, row.seq);
      const bytes = key && openPacked(key, row.data, sealed);
      if (bytes !== undefined) yield { where: `${name} of shard ${shard}`, bytes };
    }
  }
  type Hold = { number: number; data: Uint8Array };
  for (const { number, data } of runs.query<Hold, []>("SELECT * FROM holds").all()) {
    const key = vault.keyOf(number);
    const bytes = key && open(key, data, associated.hold.of(number));
    if (bytes !== undefined) yield { where: `a hold of shard ${shard}`, bytes };
  }
  type Key = { number: number; firstSeq: number; count: number; data: Uint8Array };
  for (const row of runs.query<Key, []>("SELECT * FROM callerKeys").all()) {
    const key = vault.keyOf(row.number);
    const bytes = key && open(key, row.data, associated.callerKey.of(row.number, row.firstSeq, row.count));
    if (bytes !== undefined) yield { where: `a caller key of shard ${shard}`, bytes };
  }
}

export function filesUnder(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}
