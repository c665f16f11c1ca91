/**
 * What can be read in a backup target by somebody who has it and the root key: the bytes of every object, and everything
 * that the keys in its key sets open. The ledger is not asked: a key that lies there opens what it opens.
 */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { KeyRowOpener } from "../../src/backup/format/key-rows.ts";
import { rowsOf, tables, type Value } from "../../src/backup/format/tables.ts";
import {
  holdRows,
  keyObjects,
  openContents,
  type ShardContents,
  segmentBlocks,
} from "../../src/backup/reading/shard-contents.ts";
import { type BackupTarget, openTarget } from "../../src/backup/target/target.ts";
import { open } from "../../src/core/aead.ts";
import { readIdentity } from "../../src/core/data-directory.ts";
import { openKeyring, readRootKey } from "../../src/core/keyring.ts";
import { openParts } from "../../src/shard/files/personal-parts.ts";
import { openPacked, shardAssociated } from "../../src/shard/files/sealed.ts";
import { filesUnder, type Readable } from "./traces.ts";

/** `dataDir`: the directory that was backed up, which has the root key. */
export async function readableInTarget(path: string, dataDir: string): Promise<Readable[]> {
  const { context, shards, incarnation } = readIdentity(dataDir);
  openKeyring({ dataDir, context, create: false });
  const rootKey = readRootKey({ dataDir });
  const found: Readable[] = filesUnder(path).map((file) => ({
    where: `the backup, ${relative(path, file)}`,
    bytes: readFileSync(file),
  }));
  const target = openTarget(path);
  for (let shard = 0; shard < shards; shard++) {
    const contents = await openContents(target, { shard, context, incarnation });
    const keys = new Map<number, Uint8Array>();
    const opener = new KeyRowOpener(context, shard, rootKey);
    for await (const { object, header, rows } of keyObjects(target, { ...contents, erased: new Set() })) {
      const keyring = opener.keyringOf(header, object);
      for (const { number, slot, id: sealed } of rows) {
        const { key, id } = opener.open(keyring, object, number, slot, sealed);
        keys.set(number, key);
        found.push({ where: `an id of the backup's shard ${shard}`, bytes: id });
      }
    }
    found.push(...(await openedRows(target, contents, keys, context)));
  }
  return found;
}

async function openedRows(
  target: BackupTarget,
  contents: ShardContents,
  keys: ReadonlyMap<number, Uint8Array>,
  context: string,
): Promise<Readable[]> {
  const { shard } = contents.head;
  const { run, snapshot, callerKey, hold, personal } = shardAssociated(context, shard);
  const found: Readable[] = [];
  const add = (kind: string, bytes: Uint8Array | undefined) => {
    if (bytes !== undefined) found.push({ where: `${kind} of the backup's shard ${shard}`, bytes });
  };
  const numbers = (row: readonly Value[]) => row.map(Number);
  for await (const { block } of segmentBlocks(target, contents.segments)) {
    for (const row of rowsOf(block)) {
      const [first = 0, second = 0, third = 0, fourth = 0] = numbers(row.slice(0, 4));
      const key = keys.get(block.kind === tables.callerKeys.kind ? second : first);
      const data = row.at(-1);
      if (key === undefined || !(data instanceof Uint8Array)) continue;
      if (block.kind === tables.runs.kind) {
        const body = openPacked(key, data, run.of(first, second, third, fourth));
        const host = { number: first, seq: second };
        add("a run", body && openParts(body, personal, host, (subject) => keys.get(subject)));
      }
      if (block.kind === tables.snapshots.kind || block.kind === tables.bases.kind)
        add("a snapshot", openPacked(key, data, snapshot.of(first, second, third, fourth)));
      if (block.kind === tables.callerKeys.kind)
        add("a caller key", open(key, data, callerKey.of(second, third, fourth)));
    }
  }
  for (const [number, data] of await holdRows(target, contents)) {
    const key = keys.get(Number(number));
    if (key !== undefined && data instanceof Uint8Array)
      add("a hold", open(key, data, hold.of(Number(number))));
  }
  return found;
}
