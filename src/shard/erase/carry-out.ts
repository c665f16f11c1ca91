/**
 * Carrying out erasures in the files of a shard: the ledger first, then the key. Names and runs follow in the
 * transactions that settle (settle.ts), rows in slices (sweep.ts).
 *
 * - The ledger's entry is on the disk before the key is destroyed, and the key is destroyed before the settled position
 *   passes the record. So whatever was destroyed is in the ledger, and a crash in between repeats the record.
 * - Each step does nothing for what it has done before.
 */

import type { EraseRecord } from "../../core/erase-record.ts";
import { fingerprintBytes, idHash, keyFingerprint } from "../../core/erasure.ts";
import { stepDone } from "../../core/erasure-steps.ts";
import { isSubjectName } from "../../core/personal.ts";
import type { LedgerEntry } from "../files/ledger-format.ts";
import type { NamesTransaction } from "../files/names.ts";
import type { Shard } from "../shard.ts";

/** Ledger entries by number. */
export type ErasedEntries = ReadonlyMap<number, number>;

const none: ErasedEntries = new Map();

/** Writes ledger entries and destroys keys, both on the disk when it returns. */
export function settleErasures(shard: Shard, records: readonly EraseRecord[]): ErasedEntries {
  if (records.length === 0) return none;
  const fresh = records.filter(({ number }) => shard.runs.erasures.find(number) === undefined);
  const first = shard.ledger.count + 1;
  shard.ledger.append(
    fresh.map(({ number, position, id, erasedAt, reason, by }) => {
      const fingerprint = fingerprintOf(shard, number);
      const kind = isSubjectName(id) ? "subject" : "entity";
      return {
        kind,
        number,
        position,
        erasedAt,
        fingerprint,
        idHash: idHash(shard.idHashKey, id),
        reason,
        by,
      };
    }),
  );
  stepDone("ledger", shard.shard);
  shard.vault.erase(records.map(({ number }) => number));
  stepDone("key", shard.shard);
  return new Map(fresh.map(({ number }, i) => [number, first + i]));
}

/**
 * Carries out what the ledger knows and the shard does not: a crash came between, or the ledger was laid beside files
 * that are older. A number whose key is another one belongs to somebody else: it is left alone, and returned.
 */
export function carryOutLedger(shard: Shard, entries: readonly LedgerEntry[]): number[] {
  const due: LedgerEntry[] = [];
  const others: number[] = [];
  for (const entry of entries) {
    const found = fingerprintOf(shard, entry.number);
    const isHers =
      isZero(found) || isZero(entry.fingerprint) || Buffer.compare(found, entry.fingerprint) === 0;
    if (isHers) due.push(entry);
    else others.push(entry.number);
  }
  if (due.length === 0) return others;
  shard.vault.erase(due.map(({ number }) => number));
  stepDone("key", shard.shard);
  const { namedPosition, nextNumber } = shard.names;
  const unname = ({ erase }: NamesTransaction) => {
    for (const { number, position } of due) {
      const id = shard.names.idOf(number);
      if (id !== undefined) erase(number, id, position);
    }
  };
  // No record brings this back.
  shard.names.settle(namedPosition, nextNumber, unname, { synced: true });
  stepDone("unnamed", shard.shard);
  shard.runs.erasures.beginAll(due);
  stepDone("settled", shard.shard);
  return others;
}

/** Zeros when the number has no key on the disk, or one that nobody can read: its slot is damaged. */
function fingerprintOf(shard: Shard, number: number): Uint8Array {
  const key = shard.vault.keyOrFault(number);
  return key instanceof Uint8Array ? keyFingerprint(key) : new Uint8Array(fingerprintBytes);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
