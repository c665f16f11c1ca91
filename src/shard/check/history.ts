/**
 * The runs of a shard: they open, their entries parse, and each entity's events are 1 … n without a gap.
 */
import type { Database } from "bun:sqlite";
import {
  bytesOf,
  entryCount,
  entryLength,
  entryPosition,
  entryRecordedAt,
  readEntry,
} from "../../core/entry.ts";
import { entryHeaderBytes } from "../../core/record.ts";
import { droppedMark } from "../files/bases.ts";
import type { Meta } from "../sqlite/database.ts";
import { openParts, subjectsOf } from "../files/personal-parts.ts";
import { openPacked, type ShardAssociated } from "../files/sealed.ts";
import type { Vault } from "../files/vault.ts";
import type { EntityMarks } from "./entities.ts";
import { damage, type Finding } from "./finding.ts";

export interface HistoryFiles {
  readonly directory: string;
  readonly runs: Database;
  readonly file: string;
  readonly meta: Meta;
  readonly vault: Vault;
  readonly associated: ShardAssociated;
  readonly marks: EntityMarks;
}

interface Row {
  readonly id: number;
  readonly number: number;
  readonly seq: number;
  readonly count: number;
  readonly batch: number;
  readonly data: Uint8Array;
}

/** What is known of the entity whose runs are being walked. */
interface Walk {
  number: number;
  dueSeq: number;
  position: number;
  recordedAt: number;
}

/** Batches rise with the ids of the rows and end at or before the settled position. Returns the distinct ones. */
export function* checkBatches({ runs, file, meta }: HistoryFiles): Generator<Finding, readonly number[]> {
  const batches: number[] = [];
  let last = 0;
  for (const { id, batch } of runs
    .query<{ id: number; batch: number }, []>("SELECT id, batch FROM runs ORDER BY id")
    .iterate()) {
    if (batch < last)
      yield damage(file, `run ${id}: its batch ${batch} comes after batch ${last}`, { row: id });
    if (batch > meta.position) {
      const what = `run ${id}: its batch ${batch} is beyond the settled position ${meta.position}`;
      yield damage(file, what, { row: id });
    }
    if (batch > last) batches.push(batch);
    last = Math.max(last, batch);
  }
  return batches;
}

/** All runs, entity by entity. `onEntity` hears each entity's newest seq. */
export function* checkRuns(
  files: HistoryFiles,
  batches: readonly number[],
  onEntity: (number: number, tip: number) => void,
): Generator<Finding> {
  const { runs, file, marks } = files;
  const walk: Walk = { number: 0, dueSeq: 1, position: 0, recordedAt: 0 };
  const dropped = runs.query<{ seq: number }, [number]>(
    `SELECT seq FROM bases WHERE number = ? AND aggregate = ${droppedMark}`,
  );
  const rows = runs.query<Row, []>(
    "SELECT id, number, seq, count, batch, data FROM runs ORDER BY number, seq",
  );
  for (const row of rows.iterate()) {
    if (marks.isErased(row.number)) continue;
    const where = { row: row.id, number: row.number, seq: row.seq };
    if (row.number !== walk.number) {
      if (walk.number > 0) onEntity(walk.number, walk.dueSeq - 1);
      const dueSeq = (dropped.get(row.number)?.seq ?? 0) + 1;
      Object.assign(walk, { number: row.number, dueSeq, position: 0, recordedAt: 0 });
      if (!marks.isNamed(row.number)) yield damage(file, `entity ${row.number} has runs and no name`, where);
      if (!marks.isKeyed(row.number)) yield damage(file, `entity ${row.number} has runs and no key`, where);
    }
    if (row.seq !== walk.dueSeq) {
      yield damage(file, `entity ${row.number}: seq ${row.seq} comes where ${walk.dueSeq} is due`, where);
    }
    walk.dueSeq = row.seq + row.count;
    if (!marks.isKeyed(row.number)) continue;
    const fault = runFault(files, row, walk, batches);
    if (fault !== undefined) yield damage(file, `run ${row.id}: ${fault}`, where);
  }
  if (walk.number > 0) onEntity(walk.number, walk.dueSeq - 1);
}

/** What is wrong with a run, if anything is. */
function runFault(files: HistoryFiles, row: Row, walk: Walk, batches: readonly number[]): string | undefined {
  const { vault, associated } = files;
  const key = vault.keyOf(row.number);
  if (key === undefined) return "its entity has no key";
  const body = openPacked(key, row.data, associated.run.of(row.number, row.seq, row.count, row.batch));
  if (body === undefined) return "its tag does not match";
  const partsFault = personalFault(files, row, body);
  if (partsFault !== undefined) return partsFault;
  const opened = openParts(body, associated.personal, row, (subject) => vault.keyOf(subject));
  return entriesFault(opened, row, walk, batchBefore(batches, row.batch));
}

/** Whom a run speaks of has a key or is erased, and `personal` has it. */
function personalFault({ runs, marks }: HistoryFiles, row: Row, body: Uint8Array): string | undefined {
  const query = "SELECT subject, parts FROM personal WHERE host = ? AND seq = ?";
  const listed = runs.query<{ subject: number; parts: number }, [number, number]>(query);
  const left = new Map(listed.all(row.number, row.seq).map(({ subject, parts }) => [subject, parts]));
  for (const [subject, parts] of subjectsOf(body)) {
    const known = left.get(subject);
    left.delete(subject);
    if (marks.isErased(subject)) continue;
    if (!marks.isKeyed(subject)) return `its subject ${subject} has no key`;
    if (known !== parts)
      return `it has ${parts} parts of subject ${subject}, and personal says ${known ?? 0}`;
  }
  // The rows of who is erased go a while after her, and parts that came behind her erasure stand there erased.
  const other = [...left.keys()].find((subject) => !marks.isErased(subject));
  return other === undefined ? undefined : `it has no part of subject ${other}, and personal says so`;
}

/** What is wrong with the entries of a run, if anything is. */
function entriesFault(body: Uint8Array, row: Row, walk: Walk, before: number): string | undefined {
  const bytes = bytesOf(body.buffer, body.byteOffset, body.length);
  let seq = row.seq;
  for (let at = 0; at < body.length; ) {
    if (at + entryHeaderBytes > body.length) return `the entry at ${at} is cut off`;
    const length = entryLength(bytes, at);
    const count = entryCount(bytes, at);
    const position = entryPosition(bytes, at);
    const recordedAt = entryRecordedAt(bytes, at);
    if (length < entryHeaderBytes || at + length > body.length)
      return `the length of the entry at ${at} does not fit`;
    if (count < 1) return `the entry at ${at} has no events`;
    if (!(position > walk.position)) return `position ${position} of seq ${seq} comes after ${walk.position}`;
    if (!(position > before && position <= row.batch))
      return `position ${position} of seq ${seq} is not of its batch`;
    if (!(recordedAt >= walk.recordedAt)) return `seq ${seq} was recorded before the one before it`;
    readEntry(bytes, at, `number ${row.number}`, seq);
    walk.position = position;
    walk.recordedAt = recordedAt;
    seq += count;
    at += length;
  }
  return seq === row.seq + row.count ? undefined : `it has ${seq - row.seq} events and says ${row.count}`;
}

/** Every row of `personal` is of a run that is there, and no snapshot has folded it. */
export function* checkPersonal({ runs, file, marks }: HistoryFiles): Generator<Finding> {
  const rows = runs.query<{ subject: number; host: number; seq: number }, []>(
    `SELECT subject, host, seq FROM personal
     WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.number = personal.host AND runs.seq = personal.seq)`,
  );
  for (const { subject, host, seq } of rows.iterate()) {
    if (marks.isErased(host) || marks.isErased(subject)) continue;
    yield damage(file, `personal has a run of number ${host} at seq ${seq} that is not there`, {
      number: host,
    });
  }
  const folded = runs.query<{ subject: number; host: number; seq: number }, []>(
    `SELECT subject, host, snapshots.seq AS seq FROM personal JOIN snapshots
     ON snapshots.number = personal.host AND snapshots.seq >= personal.seq`,
  );
  for (const { subject, host, seq } of folded.iterate()) {
    if (marks.isErased(host) || marks.isErased(subject)) continue;
    const what = `the snapshot of number ${host} at seq ${seq} has folded what it says of ${subject}`;
    yield damage(file, what, { number: host });
  }
}

/** The batch before a batch; 0 before the first. */
function batchBefore(batches: readonly number[], batch: number): number {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((batches[middle] ?? 0) < batch) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : (batches[low - 1] ?? 0);
}
