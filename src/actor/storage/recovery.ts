/**
 * At a start: everything that the journal holds beyond the shards is put into the tails, and is served from there; it is
 * settled behind the start. The table of what can be found is docs/recovery.md.
 *
 * - The journal's segments stay as they are until what they hold is in main database files.
 * - Two things are settled before anything is served: erasures, so that nothing is shown of what they erase, and names that a
 *   power failure took of what is settled.
 * - When what comes next could not follow the segments in one replay, everything is settled and checkpointed first, and nothing
 *   of them is kept: behind a hole that a journal without syncs may have, and when a ledger, or a shard, is ahead of the journal.
 */
import { release } from "../../core/aead.ts";
import { type RecordHead, readPartHeads, readRecordHead } from "../../core/append-record.ts";
import { type Bytes, bytesOf } from "../../core/entry.ts";
import { readEraseRecord } from "../../core/erase-record.ts";
import { WarpError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { recordKind } from "../../core/record.ts";
import type { TailRange } from "../../journal/control.ts";
import type { Turn } from "../../journal/journal.ts";
import { type ReplayOptions, type ReplaySummary, replayJournal } from "../../journal/replay.ts";
import type { Tail } from "../../journal/tail.ts";
import type { Reading } from "./reading.ts";
import { Recovered } from "./recovered.ts";
import type { Settling } from "./settling.ts";
import type { ShardState } from "./shard-state.ts";

export interface RecoverySummary extends ReplaySummary {
  /** Records that the shards did not have yet. */
  readonly replayed: number;
  /** Turn ids up to this one are taken. */
  readonly lastTurn: number;
  /** What is settled behind the start. */
  readonly recovered: Recovered;
}

export interface RecoveryParts {
  readonly replay: ReplayOptions;
  readonly tails: readonly Tail[];
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  /** By shard: records up to this position have their names in names.db. */
  readonly named: readonly number[];
  /** Only a start with more delivery windows than fit in memory reads before the journal is replayed. */
  readonly openReading: () => Promise<Reading>;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

/** Errors: CORRUPT, naming file and offset, or shard and position. */
export async function recover(parts: RecoveryParts): Promise<RecoverySummary> {
  const recovery = new Recovery(parts);
  const blocks = replayJournal({ ...parts.replay, rewritesLast: true });
  let step = blocks.next();
  try {
    while (!step.done) {
      await recovery.replay(step.value);
      release(step.value);
      step = blocks.next();
    }
  } finally {
    await recovery.closeReading();
  }
  const { shards, settlings, failed } = parts;
  const { replayed, turn: lastTurn, recovered } = recovery;
  const summary = { ...step.value, replayed, lastTurn, recovered };
  const isKept = !summary.cutShort && recovery.isContinued;
  if (isKept && !recovery.isSettledFirst) {
    const settled = orFailed(settleAll(settlings, isKept), failed);
    // Without a record there is nothing that a read could miss.
    if (replayed === 0) settled.catch(() => {});
    else recovered.settleBehind(settled);
    return summary;
  }
  await settleAll(settlings, isKept);
  for (const shard of shards) shard.goOnBehindErasures();
  recovered.forget();
  return isKept ? summary : { ...summary, retiredUse: summary.lastUse };
}

/** Settles everything that is durable now, and says that it was all that the journal held, and whether that is kept. */
async function settleAll(settlings: readonly Settling[], isJournalKept: boolean): Promise<void> {
  const settleOne = async (settling: Settling) => {
    await settling.whenCaughtUp();
    await settling.recovered(isJournalKept);
  };
  await Promise.all(settlings.map(settleOne));
}

async function orFailed(work: Promise<unknown>, failed: Promise<WarpError>): Promise<void> {
  const failure = await Promise.race([work, failed]);
  if (failure instanceof WarpError) throw failure;
}

/** Says what a start found in the journal, and how long its steps took: `begun` is when the replay began. */
export function reportRecovery(
  recovery: RecoverySummary,
  logger: Logger,
  { shardsMs, begun }: { readonly shardsMs: number; readonly begun: number },
): void {
  const { replayed, blocks, bytes, torn } = recovery;
  if (torn !== undefined)
    logger.info("the last write before the end was torn; it was never acknowledged", { ...torn });
  if (recovery.cutShort)
    logger.warn('the journal was kept with durability "os": its newest records may be missing');
  if (recovery.hole !== undefined)
    logger.warn("the journal has a hole; the blocks behind it were dropped", { ...recovery.hole });
  if (replayed === 0) return;
  const sinceBegun = () => Math.round(performance.now() - begun);
  const steps = { shardsMs: Math.round(shardsMs), journalMs: sinceBegun() };
  logger.info("replayed the journal", { records: replayed, blocks, bytes, ...steps });
  const settled = () => logger.info("settled what the journal held", { ms: sinceBegun() });
  recovery.recovered.whenSettled().then(settled, () => {});
}

class Recovery {
  replayed = 0;
  turn = 0;
  /** True when nothing may be served before everything is settled. */
  isSettledFirst = false;
  readonly recovered: Recovered;
  readonly #parts: RecoveryParts;
  /** By shard: the newest position that the journal has shown. */
  readonly #seen: (number | undefined)[] = [];
  #ranges: TailRange[] = [];
  #reading: Promise<Reading> | undefined;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
    this.recovered = new Recovered(parts.tails);
  }

  /**
   * True when the next record of each shard has the position behind the newest that the journal has shown. A start that ended while it
   * retired segments that it did not keep leaves others that end earlier.
   */
  get isContinued(): boolean {
    return this.#parts.shards.every((shard) => {
      const { index, committedPosition, isBehindErasures } = shard;
      return !isBehindErasures && (this.#seen[index] ?? committedPosition) === committedPosition;
    });
  }

  async replay(records: Buffer): Promise<void> {
    const { shards, tails, named } = this.#parts;
    const bytes = bytesOf(records.buffer, records.byteOffset, records.length);
    for (let at = 0; at < records.length; ) {
      const head = readRecordHead(bytes, at);
      at += head.length;
      const shard = shards[head.shard];
      if (shard === undefined || (head.kind !== recordKind.append && head.kind !== recordKind.erase)) {
        throw new WarpError(
          "CORRUPT",
          `the journal has a record of kind ${head.kind} for shard ${head.shard}`,
          {
            shard: head.shard,
            position: head.position,
          },
        );
      }
      requireNext(shard, head, this.#seen);
      if (head.position <= Math.min(shard.settledPosition, named[head.shard] ?? 0)) continue;
      if (head.position <= shard.settledPosition) this.isSettledFirst = true;
      if (shard.deliveries.hasAbsent && head.kind === recordKind.append)
        await this.#recallSessions(shard, head, bytes);
      const free = this.#reserve(shard.writer, head.length);
      // Nearly always there is room, and then there is nothing to wait for.
      const copyAt = free >= 0 ? free : await this.#reserveSettled(shard.writer, head.length);
      const tail = tails[shard.writer];
      tail?.bytes.buffer.set(records.subarray(head.at, at), copyAt);
      tail?.commit(copyAt + head.length);
      if (head.kind === recordKind.erase) this.#noteErasure(shard, head, bytes);
      else this.#note(shard, head, bytes, copyAt - head.at);
      this.replayed++;
    }
    this.#hand();
  }

  /** What the main thread must know of a record that it did not write itself; in the tail it lies `toTail` further. */
  #note(shard: ShardState, head: RecordHead, bytes: Bytes, toTail: number): void {
    const { buffer, view } = bytes;
    noteDurable(shard, head.position);
    for (const part of readPartHeads(bytes, head)) {
      shard.nextNumber = Math.max(shard.nextNumber, part.number + 1);
      shard.lastRecordedAt = Math.max(shard.lastRecordedAt, part.recordedAt);
      const { idAt } = part;
      if (idAt !== undefined) shard.ids.addBytes(buffer, idAt + 2, idAt + 2 + view.getUint16(idAt, true));
      if (part.key !== undefined) shard.keys.add(part.key, part.number);
      const idInTail = idAt === undefined ? undefined : idAt + toTail;
      this.recovered.note(shard, part.number, part.firstSeq, part.entryAt + toTail, idInTail);
      if (part.delivery === undefined || part.count === 0) continue;
      const { firstSeq, count } = part;
      const seq = firstSeq + count - 1;
      const { position } = head;
      const result = {
        ok: true,
        seq,
        firstSeq,
        count,
        duplicate: true,
        shard: shard.index,
        position,
      } as const;
      shard.deliveries.remember(part.delivery, result);
    }
  }

  /**
   * Of the sessions of a record, which is not noted yet, everything that the shard's file has is in memory when this resolves.
   * Rounds may be settled meanwhile, so what was noted before is given to the writers first.
   */
  async #recallSessions(shard: ShardState, head: RecordHead, bytes: Bytes): Promise<void> {
    const { index, deliveries } = shard;
    for (const { delivery } of [...readPartHeads(bytes, head)]) {
      if (delivery === undefined || !deliveries.isAbsent(delivery)) continue;
      this.#hand();
      const reading = await this.#openReading();
      await deliveries.recall(delivery, () => reading.window(index, delivery));
    }
  }

  #openReading(): Promise<Reading> {
    if (this.#reading === undefined) {
      this.#reading = this.#parts.openReading();
      // A writer that fails is waited for in vain.
      this.#parts.failed.then(
        () => this.closeReading(),
        () => {},
      );
    }
    return this.#reading;
  }

  async closeReading(): Promise<void> {
    await (await this.#reading)?.close();
  }

  #noteErasure(shard: ShardState, head: RecordHead, bytes: Bytes): void {
    const { number, id, erasedAt } = readEraseRecord(bytes, head.at);
    this.isSettledFirst = true;
    noteDurable(shard, head.position);
    shard.lastRecordedAt = Math.max(shard.lastRecordedAt, erasedAt);
    shard.erased.add(id, erasedAt);
    this.#parts.settlings[shard.writer]?.noteErasure(shard, number);
  }

  /** Space in a tail, or -1 when it is full. */
  #reserve(writer: number, bytes: number): number {
    const onWrap = (start: number, length: number) => this.#ranges.push({ tail: writer, start, length });
    return this.#parts.tails[writer]?.reserve(bytes, this.turn + 1, onWrap) ?? -1;
  }

  /** As {@link #reserve}, when everything that is in the tails is settled. */
  async #reserveSettled(writer: number, bytes: number): Promise<number> {
    this.#hand();
    await this.#parts.settlings[writer]?.whenSettled();
    const at = this.#reserve(writer, bytes);
    if (at >= 0) return at;
    throw new WarpError("CONFIG_MISMATCH", `a record of ${bytes} bytes does not fit in memory.tailBytes`, {
      bytes,
    });
  }

  /** Gives what is in the tails to the writers, as a turn of its own. */
  #hand(): void {
    const id = this.turn + 1;
    const ranges = this.#ranges;
    this.#ranges = [];
    for (const [writer, tail] of this.#parts.tails.entries()) {
      const { start, length } = tail.close(id);
      if (length > 0) ranges.push({ tail: writer, start, length });
    }
    if (ranges.length === 0) return;
    this.turn = id;
    const turn: Turn<unknown> = { id, completions: [], ranges, bytes: 0 };
    for (const settling of this.#parts.settlings) settling.add(turn, 0);
  }
}

/** Positions of a shard come without gaps, and the first is at most one behind what is settled. */
function requireNext(shard: ShardState, head: RecordHead, seen: (number | undefined)[]): void {
  const before = seen[head.shard];
  const expected = before === undefined ? Math.min(head.position, shard.settledPosition + 1) : before + 1;
  seen[head.shard] = head.position;
  if (head.position === expected) return;
  throw new WarpError(
    "CORRUPT",
    `shard ${head.shard} is settled up to position ${shard.settledPosition}, and the journal goes on at ` +
      `${head.position} instead of ${expected}`,
    { shard: head.shard, position: head.position, expected },
  );
}

function noteDurable(shard: ShardState, position: number): void {
  shard.committedPosition = Math.max(shard.committedPosition, position);
  shard.nextPosition = shard.committedPosition + 1;
}
