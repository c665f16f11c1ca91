/**
 * Reading back everything that a target has of one shard, as a restore would, and writing nothing.
 *
 * With the root key every key, id, run, snapshot and caller key is decrypted; without it hashes, the chain of segments
 * and the order of each entity's events are proved, and nothing about what is encrypted.
 */
import { idHash } from "../../core/erasure.ts";
import { isSubjectName } from "../../core/personal.ts";
import { damaged } from "../format/container.ts";
import { KeyRowOpener } from "../format/key-rows.ts";
import { holdsObject, keysObject } from "../format/objects.ts";
import { rowsOf, tables, type Value } from "../format/tables.ts";
import type { BackupTarget } from "../target/target.ts";
import type { ShardVerified, VerifyTask } from "../work/messages.ts";
import { besideBackups } from "./beside-backups.ts";
import { EntityKeys } from "./entity-keys.ts";
import { Histories } from "./histories.ts";
import { numberOf, RowOpener } from "./row-opener.ts";
import {
  holdRows,
  keyObjects,
  openContents,
  requireErased,
  type ShardContents,
  segmentBlocks,
  withoutKey,
} from "./shard-contents.ts";
import { spokenOf } from "./subjects.ts";

const hidden = new Uint8Array(0);
/** Every entity has a row in one of these, and no subject has. */
const ofEntities: ReadonlySet<number> = new Set([tables.runs.kind, tables.callerKeys.kind]);

/** Errors: CORRUPT with the object, ROOT_KEY_WRONG, EVENTS_DROPPED, FORMAT_UNSUPPORTED, IO_ERROR, ABORTED (backups were in the way). */
export function verifyShard(
  target: BackupTarget,
  task: VerifyTask,
  onBytes: (bytes: number) => void,
): Promise<ShardVerified> {
  return besideBackups(target, task.shard, onBytes, (read) => verifyOnce(target, task, read));
}

async function verifyOnce(
  target: BackupTarget,
  task: VerifyTask,
  onBytes: (bytes: number) => void,
): Promise<ShardVerified> {
  const { context, shard, rootKey } = task;
  const contents = await openContents(target, task);
  const { head, segments, erased, erasedSubjects } = contents;
  const keys = await verifyKeys(target, task, contents);
  const histories = new Histories(head.nextNumber);
  const opener = rootKey === undefined ? undefined : new RowOpener(context, shard);
  const told = new Set<number>();
  let rows = 0;
  for await (const { object, block, bytes } of segmentBlocks(target, segments)) {
    for (const row of rowsOf(block)) {
      const number = numberOf(block.kind, row);
      if (number === undefined) continue;
      const key = keys.keyOf(number);
      if (key === undefined) {
        if (keys.isUnknown(number)) requireErased(contents, number);
        continue;
      }
      // Who has no name here is an entity by what it has: a subject is only spoken of.
      if (opener === undefined && ofEntities.has(block.kind)) told.add(number);
      if (block.kind !== tables.runs.kind) {
        opener?.prove(block.kind, row, key, object);
        if (block.kind === tables.bases.kind) histories.addBase(row);
        continue;
      }
      addTo(histories, row, object);
      if (opener === undefined) continue;
      const body = opener.openRun(row, key, object);
      spokenOf(body, { number, seq: Number(row[1]) }, opener.associated, keys, contents, object);
    }
    rows += block.rows;
    onBytes(bytes);
  }
  for (const row of await holdRows(target, contents)) {
    const key = keys.keyOf(Number(row[0]));
    if (key !== undefined) opener?.prove(tables.holds.kind, row, key, holdsObject(shard));
  }
  for (const number of keys.numbers()) histories.droppedTo(number, { shard });
  const [damagedNumber] = withoutKey(contents, keys);
  if (damagedNumber !== undefined) {
    const why = `the slot of number ${damagedNumber} was damaged when it was backed up: a restore leaves it out`;
    throw damaged(keysObject(shard, damagedNumber), undefined, why);
  }
  return {
    type: "verify",
    shard,
    position: head.position,
    lastRecordedAt: head.lastRecordedAt,
    entities: opener === undefined ? told.size : keys.count,
    erased: erased.size - erasedSubjects,
    erasedSubjects,
    segments: segments.length,
    rows,
    bytes: segments.reduce((sum, { header }) => sum + header.bytes, 0),
  };
}

function addTo(histories: Histories, row: readonly Value[], object: string): void {
  const [number, seq, count] = row as [number, number, number];
  histories.add(number, seq, count, object);
}

/** The key of every number, or something in its place when there is no root key. */
async function verifyKeys(
  target: BackupTarget,
  { context, shard, rootKey }: VerifyTask,
  contents: ShardContents,
): Promise<EntityKeys> {
  const keys = new EntityKeys(contents.head.nextNumber);
  for (const number of contents.head.damaged ?? []) keys.leaveOut(number);
  const opener = rootKey === undefined ? undefined : new KeyRowOpener(context, shard, rootKey);
  for await (const { object, header, rows } of keyObjects(target, contents)) {
    const keyring = opener?.keyringOf(header, object);
    for (const { number, slot, id: sealedId, idHash: hash } of rows) {
      if (opener === undefined || keyring === undefined) {
        keys.add(number, hidden);
        continue;
      }
      const { key, id } = opener.open(keyring, object, number, slot, sealedId);
      if (!idHash(keyring.idHashKey, id).equals(hash)) {
        throw damaged(object, undefined, `the hash of the id of number ${number} is another`);
      }
      keys.add(number, key, isSubjectName(id));
    }
  }
  return keys;
}
