/**
 * Restoring one shard into a new directory: from the key set come vault and names, from the segments the rest.
 *
 * - The ledger comes first: whoever is in it gets no key, no name and no row, and it is put into the new directory.
 * - Rows are taken as they are. Only a run that is cut in two at a time is sealed again, and one that speaks of who is left out.
 * - Every row is decrypted on its way, so damage is found here and is told with the object that it stands in.
 */
import { rmSync } from "node:fs";
import { idHash } from "../../core/erasure.ts";
import { toWarpError } from "../../core/errors.ts";
import { type Keyring, unlockKeyring } from "../../core/keyring.ts";
import { isSubjectName, subjectName } from "../../core/personal.ts";
import { Associated } from "../../shard/files/sealed.ts";
import { wrapSlot } from "../../shard/files/vault.ts";
import { shardDirectory } from "../../shard/shard.ts";
import { KeyRowOpener } from "../format/key-rows.ts";
import { rootObject } from "../format/objects.ts";
import { rowsOf, tables, type Value } from "../format/tables.ts";
import type { BackupTarget } from "../target/target.ts";
import type { RestoreTask, ShardRestored } from "../work/messages.ts";
import { besideBackups } from "./beside-backups.ts";
import { Cut } from "./cut.ts";
import { EntityKeys } from "./entity-keys.ts";
import { Histories } from "./histories.ts";
import { NewShard } from "./new-shard.ts";
import { numberOf, RowOpener, sealedRun } from "./row-opener.ts";
import {
  holdRows,
  keyObjects,
  openContents,
  requireErased,
  type ShardContents,
  segmentBlocks,
  withoutKey,
} from "./shard-contents.ts";
import { RestoredSubjects } from "./subjects.ts";

/**
 * Errors: CORRUPT with the object, ROOT_KEY_WRONG, EVENTS_DROPPED, FORMAT_UNSUPPORTED, IO_ERROR, DISK_FULL, ABORTED (backups were
 * in the way).
 */
export function restoreShard(
  target: BackupTarget,
  task: RestoreTask,
  onBytes: (bytes: number) => void,
): Promise<ShardRestored> {
  return besideBackups(target, task.shard, onBytes, (read) => restoreOnce(target, task, read));
}

async function restoreOnce(
  target: BackupTarget,
  task: RestoreTask,
  onBytes: (bytes: number) => void,
): Promise<ShardRestored> {
  const contents = await openContents(target, task);
  const nextNumber = [...contents.erased].reduce(
    (next, number) => Math.max(next, number + 1),
    contents.head.nextNumber,
  );
  const directory = shardDirectory(task.dataDir, task.shard);
  // What is left of a round before.
  rmSync(directory, { recursive: true, force: true });
  const files = new NewShard(directory, task.context, task.shard, nextNumber);
  try {
    const restore = new ShardRestore(target, task, contents, files, nextNumber);
    await restore.keys();
    await restore.rows(onBytes);
    restore.finish();
    return restore.summary();
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: directory });
  } finally {
    files.close();
  }
}

class ShardRestore {
  readonly #target: BackupTarget;
  readonly #task: RestoreTask;
  readonly #contents: ShardContents;
  readonly #files: NewShard;
  readonly #nextNumber: number;
  readonly #cut: Cut | undefined;
  /** Of the first backup that goes beyond the cut: all its segments have the same `lastRecordedAt`. */
  #cutBackup: number | undefined;
  readonly #histories: Histories;
  readonly #keys: EntityKeys;
  readonly #opener: RowOpener;
  readonly #subjects: RestoredSubjects;
  /** Entities that have something beside events. */
  readonly #withCallerKeys = new Set<number>();
  #position = 0;
  #lastRecordedAt = 0;
  #entities = 0;
  #rows = 0;
  #unreadableHolds = 0;

  constructor(
    target: BackupTarget,
    task: RestoreTask,
    contents: ShardContents,
    files: NewShard,
    nextNumber: number,
  ) {
    this.#target = target;
    this.#task = task;
    this.#contents = contents;
    this.#files = files;
    this.#nextNumber = nextNumber;
    this.#keys = new EntityKeys(nextNumber);
    this.#histories = new Histories(nextNumber);
    this.#opener = new RowOpener(task.context, task.shard);
    this.#subjects = new RestoredSubjects(this.#keys, contents, this.#opener.associated);
    if (task.at !== undefined) this.#cut = new Cut(task.at, this.#opener.associated);
  }

  /** Vault and names. */
  async keys(): Promise<void> {
    const { context, shard, rootKey, entity, keyring: file } = this.#task;
    const opener = new KeyRowOpener(context, shard, rootKey);
    const own = unlockKeyring(file, rootKey, context, rootObject);
    const slots = new Associated("entity key", context, shard);
    const wanted = entity === undefined ? undefined : idHash(own.idHashKey, entity);
    const subject = entity === undefined ? undefined : Buffer.from(subjectName(entity));
    for (const number of this.#contents.head.damaged ?? []) this.#keys.leaveOut(number);
    for await (const { object, header, rows } of keyObjects(this.#target, this.#contents)) {
      const keyring = opener.keyringOf(header, object);
      for (const row of rows) {
        const { number } = row;
        const { key, id } = opener.open(keyring, object, number, row.slot, row.id);
        const isSubject = isSubjectName(id);
        if (wanted !== undefined && !isSubject && !wanted.equals(row.idHash)) {
          this.#keys.leaveOut(number);
          continue;
        }
        const slot = slotUnder(own, keyring, slots, number, key, row.slot);
        this.#files.addEntity(number, slot, id);
        this.#keys.add(number, key);
        if (isSubject) this.#subjects.addName(number, subject?.equals(id) !== false);
        else this.#entities++;
      }
    }
  }

  /** Runs and what stands beside them. */
  async rows(onBytes: (bytes: number) => void): Promise<void> {
    const { head, segments } = this.#contents;
    this.#position = this.#cut === undefined ? head.position : 0;
    this.#lastRecordedAt = this.#cut === undefined ? head.lastRecordedAt : 0;
    for await (const { segment, object, block, bytes } of segmentBlocks(this.#target, segments)) {
      const { header } = segment;
      if (this.#cutOf(header.lastRecordedAt) !== undefined) this.#cutBackup ??= header.lastRecordedAt;
      const isMet = this.#cut?.isMet === true && header.position > this.#position;
      if (block.kind !== tables.runs.kind || !isMet) {
        for (const row of rowsOf(block)) this.#take(block.kind, row, header.lastRecordedAt, object);
      } else if (header.lastRecordedAt === this.#cutBackup) {
        for (const row of rowsOf(block)) this.#leaveOut(row, header.lastRecordedAt);
      }
      if (!isMet && this.#cut !== undefined) {
        this.#position = header.position;
        this.#lastRecordedAt = Math.min(header.lastRecordedAt, this.#cut.at);
        if (header.lastRecordedAt <= this.#cut.at) this.#cut.keep(header.position);
      }
      onBytes(bytes);
    }
    for (const row of await holdRows(this.#target, this.#contents)) {
      const key = this.#keys.keyOf(Number(row[0]));
      if (key === undefined) continue;
      // One that cannot be read holds all the same, until it is released.
      if (!this.#opener.opensHold(row, key)) this.#unreadableHolds++;
      this.#insert(tables.holds.kind, row);
    }
  }

  /** What can be done only when all rows are in; the files are complete afterwards. */
  finish(): void {
    const { ledger, head } = this.#contents;
    this.#files.index();
    this.#closeGaps();
    this.#subjects.finish(this.#files);
    if (this.#cut !== undefined) this.#removeUnborn();
    this.#files.finish(
      {
        shard: this.#task.shard,
        position: this.#position,
        nextNumber: this.#nextNumber,
        lastRecordedAt: this.#lastRecordedAt,
        epoch: Math.max(1, head.epoch),
      },
      ledger,
    );
  }

  summary(): ShardRestored {
    const { erased, erasedSubjects } = this.#contents;
    let events = 0;
    for (let number = 1; number < this.#nextNumber; number++) {
      const tip = this.#histories.tipOf(number);
      const droppedTo = this.#histories.droppedTo(number, this.#task);
      if (tip > 0) events += tip - Math.max(this.#histories.firstOf(number) - 1, droppedTo);
    }
    return {
      type: "restore",
      shard: this.#task.shard,
      position: this.#position,
      lastRecordedAt: this.#lastRecordedAt,
      entities: this.#entities,
      erased: erased.size - erasedSubjects,
      erasedSubjects,
      events,
      rows: this.#rows,
      unreadableHolds: this.#unreadableHolds,
      withoutKey: withoutKey(this.#contents, this.#keys).length,
      backedUpAt: this.#contents.head.at,
    };
  }

  #take(kind: number, row: readonly Value[], lastRecordedAt: number, object: string): void {
    const number = numberOf(kind, row);
    if (number === undefined) {
      this.#takeWindow(row, lastRecordedAt);
      return;
    }
    const key = this.#keys.keyOf(number);
    if (key === undefined) {
      if (this.#keys.isUnknown(number)) requireErased(this.#contents, number);
      return;
    }
    const cut = this.#cutOf(lastRecordedAt);
    if (cut !== undefined && kind === tables.runs.kind) {
      const kept = cut.run(row, key, object);
      if (kept !== undefined) this.#takeRun(kept, key, object);
      if (kept !== row) this.#leaveOut(row, lastRecordedAt);
      return;
    }
    if (cut !== undefined && kind === tables.callerKeys.kind) {
      if (cut.keepsCallerKey(row, key, object)) this.#takeBeside(kind, row, number);
      return;
    }
    if (kind === tables.runs.kind) {
      this.#takeRun(row, key, object);
      return;
    }
    this.#opener.prove(kind, row, key, object);
    this.#takeBeside(kind, row, number);
  }

  #takeRun(row: readonly Value[], key: Uint8Array, object: string): void {
    const [number, seq, count, batch] = row as [number, number, number, number];
    const body = this.#opener.openRun(row, key, object);
    const taken = this.#subjects.take(row, body, object, this.#files);
    this.#histories.add(number, seq, count, object);
    const { associated } = this.#opener;
    const isSame = taken === body;
    this.#insert(
      tables.runs.kind,
      isSame ? row : sealedRun([number, seq, count, batch], taken, key, associated),
    );
  }

  /**
   * A run that is later than the cut, or ends later. The newest run of an entity is never dropped: so the first backup beyond the
   * cut has what there was at the time, or tells by a gap that it was dropped. Gaps of later backups are later. Errors: EVENTS_DROPPED.
   */
  #leaveOut(row: readonly Value[], lastRecordedAt: number): void {
    const [number, seq] = row as [number, number];
    if (lastRecordedAt !== this.#cutBackup || this.#keys.keyOf(number) === undefined) return;
    this.#histories.leaveOut(number, seq, this.#task.shard);
  }

  /** Snapshots and caller keys, as far as the events go that they belong to. */
  #takeBeside(kind: number, row: readonly Value[], number: number): void {
    const tip = this.#histories.tipOf(number);
    if (kind === tables.snapshots.kind) {
      // One of a later seq was read after its events; it comes again with the segment that has them.
      if (Number(row[3]) > tip) return;
    } else if (kind === tables.bases.kind) {
      if (!this.#histories.addBase(row)) return;
    } else {
      this.#withCallerKeys.add(number);
    }
    this.#insert(kind, row);
  }

  #takeWindow(row: readonly Value[], lastRecordedAt: number): void {
    if (this.#task.entity !== undefined) return;
    const cut = this.#cutOf(lastRecordedAt);
    this.#insert(tables.deliveries.kind, cut === undefined ? row : cut.window(row));
  }

  /** The cut, as far as it concerns rows of a segment that ends at this time. */
  #cutOf(lastRecordedAt: number): Cut | undefined {
    return this.#cut !== undefined && lastRecordedAt > this.#cut.at ? this.#cut : undefined;
  }

  #insert(kind: number, row: readonly Value[]): void {
    this.#files.insert(kind, row);
    this.#rows++;
  }

  /** Where events were dropped before they came into a backup, the history begins behind them. Errors: EVENTS_DROPPED. */
  #closeGaps(): void {
    for (const number of this.#keys.numbers()) {
      const droppedTo = this.#histories.droppedTo(number, this.#task);
      if (droppedTo === 0) continue;
      this.#files.removeTo(number, droppedTo);
      this.#files.removeOlderBases(number, droppedTo);
    }
    this.#files.removeBases((number) => this.#histories.firstOf(number) <= 1);
  }

  /** Entities that did not exist yet at the time of the cut. */
  #removeUnborn(): void {
    for (const number of this.#keys.numbers()) {
      if (this.#histories.tipOf(number) > 0 || this.#withCallerKeys.has(number)) continue;
      if (this.#subjects.isSubject(number)) continue;
      this.#files.removeEntity(number);
      this.#entities--;
    }
  }
}

/** A slot that the new directory's keyring opens: as it is, or wrapped again when it stands under an older period. */
function slotUnder(
  own: Keyring,
  theirs: Keyring,
  slots: Associated,
  number: number,
  key: Uint8Array,
  slot: Uint8Array,
): Uint8Array {
  const period = Buffer.from(slot.buffer, slot.byteOffset, slot.length).readUInt16LE(0);
  const known = own.keyOf(period);
  if (known !== undefined && Buffer.from(known).equals(theirs.keyOf(period) ?? known)) return slot;
  const wrapped = Buffer.alloc(slot.length);
  wrapSlot(own.current, slots, number, key, wrapped, 0);
  return wrapped;
}
