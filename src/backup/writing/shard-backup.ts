/**
 * Backing up one shard, again and again: each time what was settled since the last time.
 *
 *   point, made durable → key set (ledger first) → segments → ledger again → head → tidying up
 *
 * - The head is written last. Until then everything new is without effect; the next backup begins where the head says,
 *   and removes what was left over.
 * - What the head covers is durable in the shard first, so after a power failure the shard is never behind it: rows that were
 *   settled again, in other batches, would come into the backup twice.
 * - Another disk can be mounted in the target's place, or an older copy put back: what is remembered counts only while the
 *   target's head is the one that this object wrote.
 * - A directory that was put back to an older state goes on in another history. It is told by the newest run that the target knows.
 * - The key set is as new as the head or newer: whoever has rows in the backup has a key there, or is in the ledger.
 * - Whoever is erased while the segments are written has only some of her rows in them. The ledger is as new as the segments, so
 *   a restore leaves her out.
 */
import { WarpError } from "../../core/errors.ts";
import { ledgerEntryBytes, ledgerHeaderBytes } from "../../shard/files/ledger-format.ts";
import { shardDirectory } from "../../shard/shard.ts";
import { encodeBlock, encodeEnd, encodeHeader, encodeObject, missing } from "../format/container.ts";
import {
  type HeadHeader,
  type HoldsHeader,
  headObject,
  holdsObject,
  keysFolder,
  ledgerObject,
  type ShardPoint,
  segmentsFolder,
} from "../format/objects.ts";
import { BlockDraft, tables } from "../format/tables.ts";
import { type ChainedSegment, readChain, readHead } from "../reading/chain.ts";
import { ledgerTooOld } from "../reading/shard-contents.ts";
import type { BackupTarget } from "../target/target.ts";
import type { BackupTask, ShardBackedUp } from "../work/messages.ts";
import { StopFlag } from "../work/stop-flag.ts";
import { KeySetBackup, otherHistory, periodsOf } from "./key-set-backup.ts";
import { mergeSmall } from "./merge.ts";
import { NewSegments } from "./new-segments.ts";
import type { SegmentDraft } from "./segment-draft.ts";
import { ShardSource } from "./shard-source.ts";

/** What the target has of the shard. */
interface BackedUp {
  readonly head: HeadHeader;
  readonly segments: readonly ChainedSegment[];
}

export class ShardBackup {
  readonly #target: BackupTarget;
  readonly #shard: number;
  readonly #source: ShardSource;
  readonly #keys: KeySetBackup;
  readonly #draft: SegmentDraft;
  /** As this object left it; undefined before its first backup and after one that failed. */
  #known: BackedUp | undefined;

  /** The draft may be shared with other shards of the same thread. */
  constructor(target: BackupTarget, { shard, dataDir }: BackupTask, draft: SegmentDraft) {
    this.#target = target;
    this.#draft = draft;
    this.#shard = shard;
    this.#source = new ShardSource(shardDirectory(dataDir, shard), shard);
    this.#keys = new KeySetBackup(target, this.#source);
  }

  /**
   * Backs up everything that is settled now; `onBytes` hears of what was written. Errors: CONFIG_MISMATCH (the backup is
   * of another directory, or of a newer or another state of this one), CORRUPT, IO_ERROR, DISK_FULL, ABORTED
   * (again, later; or `task.stop`).
   */
  async run(task: BackupTask, onBytes: (bytes: number) => void): Promise<ShardBackedUp> {
    const stop = new StopFlag(task.stop);
    stop.requireUnset();
    const { head, segments } = await this.#inTarget(task);
    this.#known = undefined;
    await requireLedger(this.#target, head);
    const { point, newest, deliveries } = this.#source.point(head.deliveriesAt);
    refuseForeign(head, point, task, this.#target);
    if (head.newest !== undefined && !this.#source.knows(head.newest))
      throw otherHistory(this.#target, this.#shard, "what it had last");
    // Delivery windows may be stored after their records, so a segment can be without a position of its own.
    const isNew = point.position > head.position || point.deliveriesAt > head.deliveriesAt;
    if (isNew) this.#source.sync({ hasNewNames: point.nextNumber > head.nextNumber });
    const { ledger, damaged } = await this.#keys.run(task, head, point.nextNumber, stop);
    await this.#putHolds(task);
    const parts = { target: this.#target, source: this.#source, draft: this.#draft };
    const options = { ...parts, head, point, onBytes, stop };
    const added = isNew ? await new NewSegments(options).write(deliveries) : [];
    stop.requireUnset();
    await this.#keys.putLedger(task);
    const all = [...segments, ...added];
    const next: HeadHeader = {
      ...point,
      kind: "head",
      shard: this.#shard,
      incarnation: task.incarnation,
      segment: all.at(-1)?.header.id,
      ledger,
      periods: periodsOf(task),
      damaged: damaged.size === 0 ? undefined : [...damaged.keys()],
      newest,
      at: Date.now(),
    };
    const isUnchanged = isSame(next, head);
    if (!isUnchanged) await this.#target.replace(headObject(this.#shard), [encodeObject(next)]);
    const merged = await mergeSmall(this.#target, all, this.#draft.bytesMax);
    this.#known = { head: isUnchanged ? head : next, segments: merged };
    const [fault] = damaged.values();
    const sum = (of: "rows" | "bytes") => added.reduce((total, { header }) => total + header[of], 0);
    return {
      type: "backup",
      shard: this.#shard,
      position: point.position,
      ledger,
      segments: added.length,
      rows: sum("rows"),
      bytes: sum("bytes"),
      keyObjects: this.#keys.written,
      damaged: fault === undefined ? undefined : { numbers: damaged.size, first: fault.toWire() },
    };
  }

  close(): void {
    this.#source.close();
  }

  /** What the target has; what is remembered if it still has that. Removes what an interrupted backup left over. */
  async #inTarget(task: BackupTask): Promise<BackedUp> {
    const found = await readHead(this.#target, this.#shard);
    const known = this.#known;
    if (known !== undefined && JSON.stringify(found) === JSON.stringify(known.head)) return known;
    this.#keys.forgetTarget();
    const head = found ?? (await this.#begin(task));
    const { segments, leftOver } = await readChain(this.#target, head);
    for (const object of leftOver) await this.#target.delete(object);
    return { head, segments };
  }

  /** A head that leads to nothing, before there is anything: segments without a head are damage, never left over. */
  async #begin(task: BackupTask): Promise<HeadHeader> {
    const { shard, incarnation } = task;
    const object = headObject(shard);
    const remains = [
      ...(await this.#target.list(segmentsFolder(shard))),
      ...(await this.#target.list(keysFolder(shard))),
    ];
    if (remains.length > 0) throw missing(object);
    const head: HeadHeader = {
      ...{ kind: "head", shard, incarnation, position: 0, nextNumber: 1, lastRecordedAt: 0, epoch: 0 },
      ...{
        lastCallerKey: 0,
        deliveriesAt: 0,
        segment: undefined,
        ledger: 0,
        periods: periodsOf(task),
        at: 0,
      },
    };
    await this.#target.replace(object, [encodeObject(head)]);
    return head;
  }

  /** Writes the holds as they are now, unless the target has them. */
  async #putHolds({ shard, incarnation }: BackupTask): Promise<void> {
    const draft = new BlockDraft(tables.holds);
    for (const row of this.#source.holds()) draft.add(row);
    const header: HoldsHeader = { kind: "holds", shard, incarnation };
    const blocks = draft.rows === 0 ? [] : encodeBlock(draft.take());
    const object = Buffer.concat([encodeHeader(header), ...blocks, encodeEnd(blocks.length === 0 ? 0 : 1)]);
    const known = await this.#target.get(holdsObject(shard));
    if (known === undefined || !object.equals(known))
      await this.#target.replace(holdsObject(shard), [object]);
  }
}

/** True when two heads differ in nothing but when they were made, and the older one counts. */
function isSame(next: HeadHeader, last: HeadHeader): boolean {
  return last.at !== 0 && JSON.stringify({ ...next, at: 0 }) === JSON.stringify({ ...last, at: 0 });
}

/**
 * A ledger that is older than the head was put back by somebody; then keys of who is erased may have been too, and no
 * later backup would find them. Errors: CORRUPT.
 */
async function requireLedger(target: BackupTarget, head: HeadHeader): Promise<void> {
  if (head.ledger === 0) return;
  const object = ledgerObject(head.shard);
  const size = await target.size(object);
  if (size === undefined) throw missing(object);
  const entries = Math.floor((size - ledgerHeaderBytes) / ledgerEntryBytes);
  if (entries < head.ledger) throw ledgerTooOld(head.shard, entries, headObject(head.shard), head.ledger);
}

function refuseForeign(head: HeadHeader, point: ShardPoint, task: BackupTask, target: BackupTarget): void {
  const object = headObject(task.shard);
  const details = { target: target.name, object };
  if (head.incarnation !== task.incarnation) {
    const why = "holds the backup of another data directory, or of this one before it was restored";
    throw new WarpError("CONFIG_MISMATCH", `${target.name} ${why}; choose another target`, details);
  }
  if (head.position > point.position || head.epoch > point.epoch) {
    const why = `is newer than the data directory: position ${head.position} against ${point.position}`;
    throw new WarpError("CONFIG_MISMATCH", `${target.name}: ${object} ${why}`, details);
  }
}
