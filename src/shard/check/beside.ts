/**
 * What stands beside the runs: snapshots, caller keys, legal holds, delivery windows, and the saved filters.
 */

import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../core/aead.ts";
import { rowChecksum } from "../sqlite/database.ts";
import { Filter } from "../files/filter.ts";
import { readFilterFile } from "../files/filter-file.ts";
import type { CallerKeyRow, SnapshotRow } from "../files/runs.ts";
import { keyHashBytes, openPacked } from "../files/sealed.ts";
import { callerKeyLayout } from "../shard.ts";
import { damage, type Finding, notice } from "./finding.ts";
import type { HistoryFiles } from "./history.ts";

type TipOf = (number: number) => number;

/** Every snapshot opens and is of a seq that exists. */
export function* checkSnapshots(files: HistoryFiles, tipOf: TipOf): Generator<Finding> {
  yield* checkStates(files, "snapshots", tipOf);
  // What a history begins with has events behind it.
  yield* checkStates(files, "bases", (number) => tipOf(number) - 1);
}

function* checkStates(
  files: HistoryFiles,
  table: "snapshots" | "bases",
  seqMaxOf: TipOf,
): Generator<Finding> {
  const { runs, file, marks, vault, associated } = files;
  const rows = runs.query<SnapshotRow & { number: number }, []>(`SELECT * FROM ${table} ORDER BY number`);
  for (const { number, aggregate, version, seq, data } of rows.iterate()) {
    if (marks.isErased(number)) continue;
    const where = { number, seq, aggregate };
    if (seq < 1 || seq > seqMaxOf(number))
      yield damage(file, `a snapshot of seq ${seq} has no such event`, where);
    const key = marks.isKeyed(number) ? vault.keyOf(number) : undefined;
    if (key === undefined) yield damage(file, "a snapshot's entity has no key", where);
    else if (openPacked(key, data, associated.snapshot.of(number, aggregate, version, seq)) === undefined) {
      yield damage(file, "the tag of a snapshot does not match", where);
    }
  }
}

/** Every caller key opens, is where its hash says, and points at events that exist or at the place of a rejection. */
export function* checkCallerKeys(files: HistoryFiles, tipOf: TipOf): Generator<Finding> {
  const { runs, file, marks, vault, associated } = files;
  const filter = loadFilter(files.directory, "keys");
  const rows = runs.query<CallerKeyRow, []>("SELECT * FROM callerKeys ORDER BY id");
  let last = 0;
  for (const { id, number, hash, firstSeq, count, data } of rows.iterate()) {
    const where = { row: id, number, seq: firstSeq };
    last = id;
    if (marks.isErased(number)) continue;
    const key = marks.isKeyed(number) ? vault.keyOf(number) : undefined;
    if (key === undefined) {
      yield damage(file, `caller key ${id}: its entity has no key`, where);
      continue;
    }
    const plaintext = open(key, data, associated.callerKey.of(number, firstSeq, count));
    if (plaintext === undefined) {
      yield damage(file, `caller key ${id}: its tag does not match`, where);
      continue;
    }
    if (!plaintext.subarray(callerKeyLayout.hash, keyHashBytes).equals(hash)) {
      yield damage(file, `caller key ${id}: it stands under another hash`, where);
    }
    if (firstSeq < 1 || firstSeq + count > tipOf(number) + 1) {
      yield damage(file, `caller key ${id}: it points at seq ${firstSeq}, which does not exist`, where);
    }
    const at = callerKeyLayout.element;
    const element = { a: plaintext.readUInt32LE(at), b: plaintext.readUInt32LE(at + 4) };
    if (filter !== undefined && id <= filter.completeTo && !filter.bits.mayHaveHash(element)) {
      yield damage(file.replace("runs.db", "keys.filter"), `it denies caller key ${id}`, where);
    }
  }
  const given = runs
    .query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'callerKeys'")
    .get();
  if (last > (given?.seq ?? 0))
    yield damage(file, `ids of caller keys were given out up to ${given?.seq ?? 0} only`);
}

/** Every hold opens. */
export function* checkHolds({ runs, file, marks, vault, associated }: HistoryFiles): Generator<Finding> {
  const rows = runs.query<{ number: number; data: Uint8Array }, []>("SELECT * FROM holds ORDER BY number");
  for (const { number, data } of rows.iterate()) {
    if (marks.isErased(number)) continue;
    const key = marks.isKeyed(number) ? vault.keyOf(number) : undefined;
    if (key === undefined)
      yield damage(file, `the hold of number ${number}: its entity has no key`, { number });
    else if (open(key, data, associated.hold.of(number)) === undefined) {
      yield damage(file, `the hold of number ${number}: its tag does not match`, { number });
    }
  }
}

/** Every delivery window matches its checksum. */
export function* checkDeliveries({ runs, file }: HistoryFiles): Generator<Finding> {
  const rows = runs.query<
    { sessionStart: number; sessionNumber: number; usedAt: number; results: Uint8Array; checksum: number },
    []
  >("SELECT * FROM deliveries");
  for (const { sessionStart, sessionNumber, usedAt, results, checksum } of rows.iterate()) {
    if (checksum === rowChecksum([sessionStart, sessionNumber, usedAt], results)) continue;
    yield damage(file, "a delivery window does not match its checksum", { sessionStart, sessionNumber });
  }
}

/** The saved filter of ids denies no name that it should have. */
export function* checkIdFilter(names: Database, directory: string, file: string): Generator<Finding> {
  const filter = loadFilter(directory, "ids");
  if (filter === undefined) return;
  const rows = names.query<{ number: number; id: Uint8Array }, [number]>(
    "SELECT * FROM names WHERE number <= ?",
  );
  for (const { number, id } of rows.iterate(filter.completeTo)) {
    if (filter.bits.mayHave(Buffer.from(id).toString("utf8"))) continue;
    yield damage(file, `it denies the name of number ${number}`, { number });
  }
}

/** Filter files that cannot be used are rebuilt at the next start. */
export function* checkFilterFiles(directory: string, folder: string): Generator<Finding> {
  for (const name of ["ids.filter", "keys.filter"]) {
    const path = join(directory, name);
    if (!existsSync(path)) continue;
    const content = readFilterFile(path);
    if (typeof content === "string") yield notice(`${folder}/${name}`, `${content}; it will be rebuilt`);
  }
}

function loadFilter(directory: string, of: "ids" | "keys") {
  const content = readFilterFile(join(directory, `${of}.filter`));
  if (typeof content === "string") return undefined;
  return { bits: new Filter(content.memory), completeTo: content.completeTo };
}
