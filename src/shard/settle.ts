/**
 * Settling one shard of a round: keys, then names, then runs, in this order, each durable or committed before the next;
 * erasures come between keys and names (erase/carry-out.ts).
 *
 * - Every step does nothing for what it has done before, so a round may be settled again after a crash between any two.
 * - Entries are copied verbatim but for their personal parts, which are sealed under the keys of their subjects. A run holds at most `limits.runBytesMax` of them, but at least one.
 */
import { release, seal } from "../core/aead.ts";
import { contentHashBytes } from "../core/append-record.ts";
import { type DeliveryWindows, windowsIn } from "../core/delivery-windows.ts";
import { entryCount, entryRecordedAt } from "../core/entry.ts";
import { stepDone } from "../core/erasure-steps.ts";
import { assert, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { hasPersonal } from "../core/personal.ts";
import { entryOffset, partFlag, partHeaderBytes, partOffset } from "../core/record.ts";
import type { ErasedEntries } from "./erase/carry-out.ts";
import { elementHashOfBytes } from "./files/filter.ts";
import type { NamesTransaction } from "./files/names.ts";
import { sealParts } from "./files/personal-parts.ts";
import type { RunsTransaction } from "./files/runs.ts";
import { aggregateHash, callerKeyHash, formBytes, sealPacked } from "./files/sealed.ts";
import type { Gather, ShardBatch } from "./gather.ts";
import type { SnapshotDraft } from "./messages.ts";
import { callerKeyLayout, type Shard } from "./shard.ts";

/** What a shard settles beside its records. */
export interface SettleExtras {
  readonly snapshots: readonly SnapshotDraft[];
  readonly deliveries: readonly DeliveryWindows[];
}

export interface SettleCounts {
  readonly runs: number;
  /** Bytes of entries. */
  readonly bytes: number;
}

/** Plaintext of the run under construction; grows to the largest entry seen. */
let scratch = Buffer.allocUnsafe(limits.runBytesMax + formBytes);

/** First step: keys of new entities, on the disk when it returns. */
export function settleKeys(shard: Shard, batch: ShardBatch): void {
  for (const number of batch.minted) shard.vault.mint(number);
  shard.vault.sync();
}

/**
 * Second step: ids of new entities, and those of erased ones taken away; and up to where all are named, also when there are none: a
 * start takes what lies behind that for not named, and settles it once more.
 */
export function settleNames(shard: Shard, batch: ShardBatch, gather: Gather): void {
  const erasures = [...batch.unnamedErasures, ...batch.erasures];
  // An erasure may be settled again when names are ahead of it already.
  const position = Math.max(batch.lastPosition, shard.names.namedPosition);
  if (batch.named.length + erasures.length === 0 && position === shard.names.namedPosition) return;
  const { buffer, view } = gather.bytes;
  // Names that are ahead are of records that a journal without syncs has lost. Their positions are given out again, and by its position
  // nobody can tell then whether a record's id is named; so it is on the disk before its runs are, and a replay need not bring it.
  const synced = shard.names.namedPosition > shard.runs.meta.position;
  const work = ({ insert, erase }: NamesTransaction) => {
    // First: the id of an erased entity may be that of a new one.
    for (const { number, id, position } of erasures) erase(number, id, position);
    for (const part of batch.named) {
      const at = gather.partAt(part);
      const length = view.getUint16(at + partHeaderBytes, true);
      const from = at + partHeaderBytes + 2;
      insert.run(view.getFloat64(at + partOffset.number, true), buffer.subarray(from, from + length));
    }
  };
  shard.names.settle(position, batch.newestNumber + 1, work, { synced });
  if (erasures.length > 0) stepDone("unnamed", shard.shard);
  shard.ids.reserve(batch.named.length);
  for (const part of batch.named) {
    const at = gather.partAt(part) + partHeaderBytes;
    shard.ids.addBytes(buffer, at + 2, at + 2 + view.getUint16(at, true));
  }
}

/** Third step: runs, caller keys, snapshots, delivery windows and the settled position, in one transaction. */
export function settleRuns(
  shard: Shard,
  batch: ShardBatch,
  gather: Gather,
  extras: SettleExtras,
  erased: ErasedEntries,
): SettleCounts {
  const { meta } = shard.runs;
  const isEmpty = batch.lastPosition <= meta.position;
  if (isEmpty && extras.snapshots.length + extras.deliveries.length === 0) return { runs: 0, bytes: 0 };
  let runs = 0;
  let bytes = 0;
  const lastRecordedAt = Math.max(meta.lastRecordedAt, batch.lastRecordedAt);
  const after = {
    position: Math.max(meta.position, batch.lastPosition),
    nextNumber: shard.nextNumber,
    lastRecordedAt,
  };
  shard.keys.reserve(batch.keyed.length);
  shard.runs.settle(after, (to) => {
    for (const chain of batch.chains) {
      const counts = settleChain(shard, batch, gather, chain, to);
      runs += counts.runs;
      bytes += counts.bytes;
    }
    for (const part of batch.keyed) settleCallerKey(shard, gather, part, to);
    // Behind the runs: which of the entities speak of others is known then.
    for (const snapshot of extras.snapshots) {
      const { number } = snapshot;
      if (!batch.erased?.has(number) && !shard.runs.personal.hasHost(number))
        settleSnapshot(shard, snapshot, to);
    }
    for (const { number, position, events } of batch.erasures)
      shard.runs.erasures.begin(number, position, erased.get(number) ?? 0, events);
    for (const changed of extras.deliveries) {
      for (const window of windowsIn(changed)) to.putDelivery(window);
      // The time of the newest record: it may never become durable, and what is durable goes by its own.
      shard.runs.forgetDeliveries(Math.min(changed.usedAt, lastRecordedAt) - limits.deliveryTtlMs);
    }
  });
  if (batch.erasures.length > 0) stepDone("settled", shard.shard);
  return { runs, bytes };
}

/** The events of one entity: as few runs as `limits.runBytesMax` allows. */
function settleChain(
  shard: Shard,
  batch: ShardBatch,
  gather: Gather,
  chain: number,
  to: RunsTransaction,
): SettleCounts {
  const { buffer, view } = gather.bytes;
  const number = gather.numberOf(chain);
  const position = batch.lastPosition;
  let runs = 0;
  let bytes = 0;
  let part = gather.headOf(chain);
  gather.lookAt(part);
  while (part >= 0) {
    const seq = view.getFloat64(gather.partAt(part) + partOffset.firstSeq, true);
    let count = 0;
    let end: number = formBytes;
    let subjects: Map<number, number> | undefined;
    do {
      const at = gather.partAt(part);
      const from = at + view.getUint32(at + partOffset.entry, true);
      const sealed = hasPersonal(gather.bytes, from)
        ? sealPersonal(shard, batch, gather, from, number, seq + count)
        : undefined;
      const length = sealed?.entry.length ?? view.getUint32(from + entryOffset.length, true);
      if (end + length > limits.runBytesMax && count > 0) break;
      if (end + length > scratch.length) growScratch(end + length, end);
      if (sealed === undefined) buffer.copy(scratch, end, from, from + length);
      else {
        scratch.set(sealed.entry, end);
        subjects ??= new Map();
        for (const subject of sealed.subjects) subjects.set(subject, (subjects.get(subject) ?? 0) + 1);
      }
      end += length;
      count += view.getUint32(from + entryOffset.count, true);
      part = gather.nextOf(part);
    } while (part >= 0);
    const associated = shard.associated.run.of(number, seq, count, position);
    const sealed = sealPacked(keyFor(shard, number), scratch, end, associated);
    to.insertRun.run(number, seq, count, position, sealed);
    release(sealed);
    if (subjects !== undefined) shard.runs.personal.add(number, seq, subjects);
    runs++;
    bytes += end - formBytes;
  }
  return { runs, bytes };
}

/** The entry at `from` with its personal parts sealed; those of who is erased are left out. */
function sealPersonal(
  shard: Shard,
  batch: ShardBatch,
  gather: Gather,
  from: number,
  number: number,
  seq: number,
): ReturnType<typeof sealParts> {
  return sealParts(gather.bytes, from, shard.associated.personal, { number, seq }, (subject) =>
    batch.erased?.has(subject) ? undefined : keyFor(shard, subject),
  );
}

function settleCallerKey(shard: Shard, gather: Gather, part: number, to: RunsTransaction): void {
  const { buffer, view } = gather.bytes;
  const partAt = gather.partAt(part);
  const flags = view.getUint32(partAt + partOffset.flags, true);
  const number = view.getFloat64(partAt + partOffset.number, true);
  const firstSeq = view.getFloat64(partAt + partOffset.firstSeq, true);
  const entryAt = partAt + view.getUint32(partAt + partOffset.entry, true);
  const count = entryCount(gather.bytes, entryAt);
  let at = partAt + partHeaderBytes;
  if ((flags & partFlag.id) !== 0) at += 2 + view.getUint16(at, true);
  const from = at + 2;
  const end = from + view.getUint16(at, true);
  const hasOutcome = (flags & partFlag.outcome) !== 0;
  const outcomeAt = entryAt - (hasOutcome ? outcomeLength(gather, end + contentHashBytes, flags) : 0);

  const entityKey = keyFor(shard, number);
  const hash = callerKeyHash(entityKey, buffer.subarray(from, end));
  const element = elementHashOfBytes(buffer, from, end, number);
  const plaintext = Buffer.allocUnsafe(callerKeyLayout.outcome + entryAt - outcomeAt);
  plaintext.set(hash, callerKeyLayout.hash);
  buffer.copy(plaintext, callerKeyLayout.contentHash, end, end + contentHashBytes);
  plaintext.writeUInt32LE(element.a, callerKeyLayout.element);
  plaintext.writeUInt32LE(element.b, callerKeyLayout.element + 4);
  plaintext.writeDoubleLE(entryRecordedAt(gather.bytes, entryAt), callerKeyLayout.recordedAt);
  buffer.copy(plaintext, callerKeyLayout.outcome, outcomeAt, entryAt);
  const associated = shard.associated.callerKey.of(number, firstSeq, count);
  to.insertCallerKey.run(number, hash, firstSeq, count, seal(entityKey, plaintext, associated));
  shard.keys.addHash(element);
}

/** Bytes of the outcome's text, the last section of an envelope. */
function outcomeLength(gather: Gather, afterKey: number, flags: number): number {
  const deliveryBytes = (flags & partFlag.delivery) === 0 ? 0 : 24;
  return gather.bytes.view.getUint32(afterKey + deliveryBytes, true);
}

function settleSnapshot(shard: Shard, draft: SnapshotDraft, to: RunsTransaction): void {
  const { number, aggregate, version, seq, state } = draft;
  assert(seq <= shard.runs.tipOf(number), "a snapshot is stored with or after the events that made it");
  const key = keyFor(shard, number);
  const hash = aggregateHash(shard.context, aggregate);
  const plaintext = Buffer.allocUnsafe(formBytes + state.length);
  plaintext.set(state, formBytes);
  const associated = shard.associated.snapshot.of(number, hash, version, seq);
  to.putSnapshot.run(number, hash, version, seq, sealPacked(key, plaintext, plaintext.length, associated));
}

/** The key of an entity that exists. Errors: CORRUPT. */
function keyFor(shard: Shard, number: number): Uint8Array {
  const key = shard.vault.keyOf(number);
  if (key !== undefined) return key;
  throw new WarpError("CORRUPT", `shard ${shard.shard}: entity ${number} has no key in the vault`, {
    shard: shard.shard,
    number,
  });
}

function growScratch(length: number, used: number): void {
  const larger = Buffer.allocUnsafe(length * 2);
  scratch.copy(larger, 0, 0, used);
  scratch = larger;
}
