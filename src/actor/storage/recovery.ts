/**
 * After a start: everything that the journal holds beyond the shards is put into the tails and settled, before
 * anything is served. The table of what can be found is docs/recovery.md.
 */
import { release } from "../../core/aead.ts";
import { type RecordHead, readPartHeads, readRecordHead } from "../../core/append-record.ts";
import { type Bytes, bytesOf } from "../../core/entry.ts";
import { readEraseRecord } from "../../core/erase-record.ts";
import { WarpError } from "../../core/errors.ts";
import { recordKind } from "../../core/record.ts";
import type { TailRange } from "../../journal/control.ts";
import type { Turn } from "../../journal/journal.ts";
import { type ReplayOptions, type ReplaySummary, replayJournal } from "../../journal/replay.ts";
import type { Tail } from "../../journal/tail.ts";
import type { Settling } from "./settling.ts";
import type { ShardState } from "./shard-state.ts";

export interface RecoverySummary extends ReplaySummary {
  /** Records that the shards did not have yet. */
  readonly replayed: number;
  /** Turn ids up to this one are taken. */
  readonly lastTurn: number;
}

export interface RecoveryParts {
  readonly replay: ReplayOptions;
  readonly tails: readonly Tail[];
  readonly settlings: readonly Settling[];
  readonly shards: readonly ShardState[];
  /** By shard: records up to this position have their names in names.db. */
  readonly named: readonly number[];
}

/** Errors: CORRUPT, naming file and offset, or shard and position. */
export async function recover(parts: RecoveryParts): Promise<RecoverySummary> {
  const recovery = new Recovery(parts);
  const blocks = replayJournal(parts.replay);
  let step = blocks.next();
  while (!step.done) {
    await recovery.replay(step.value);
    release(step.value);
    step = blocks.next();
  }
  for (const settling of parts.settlings) await settling.whenCheckpointed();
  await Promise.all(parts.settlings.map((settling) => settling.recovered()));
  for (const shard of parts.shards) shard.goOnBehindErasures();
  return { ...step.value, replayed: recovery.replayed, lastTurn: recovery.turn };
}

class Recovery {
  replayed = 0;
  turn = 0;
  readonly #parts: RecoveryParts;
  /** By shard: the newest position that the journal has shown. */
  readonly #seen: (number | undefined)[] = [];
  #ranges: TailRange[] = [];

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
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
      const copyAt = await this.#reserve(shard.writer, head.length);
      const tail = tails[shard.writer];
      tail?.bytes.buffer.set(records.subarray(head.at, at), copyAt);
      tail?.commit(copyAt + head.length);
      if (head.kind === recordKind.erase) this.#noteErasure(shard, head, bytes);
      else note(shard, head, bytes);
      this.replayed++;
    }
    this.#hand();
  }

  #noteErasure(shard: ShardState, head: RecordHead, bytes: Bytes): void {
    const { number, id, erasedAt } = readEraseRecord(bytes, head.at);
    noteDurable(shard, head.position);
    shard.lastRecordedAt = Math.max(shard.lastRecordedAt, erasedAt);
    shard.erased.add(id, erasedAt);
    this.#parts.settlings[shard.writer]?.noteErasure(shard, number);
  }

  /** Space in a tail; settles what is in it when it is full. */
  async #reserve(writer: number, bytes: number): Promise<number> {
    const tail = this.#parts.tails[writer];
    const onWrap = (start: number, length: number) => this.#ranges.push({ tail: writer, start, length });
    let at = tail?.reserve(bytes, this.turn + 1, onWrap) ?? -1;
    if (at >= 0) return at;
    this.#hand();
    await this.#parts.settlings[writer]?.whenSettled();
    at = tail?.reserve(bytes, this.turn + 1, onWrap) ?? -1;
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

/** What the main thread must know of a record that it did not write itself. */
function note(shard: ShardState, head: RecordHead, bytes: ReturnType<typeof bytesOf>): void {
  noteDurable(shard, head.position);
  for (const part of readPartHeads(bytes, head)) {
    shard.nextNumber = Math.max(shard.nextNumber, part.number + 1);
    shard.lastRecordedAt = Math.max(shard.lastRecordedAt, part.recordedAt);
    if (part.id !== undefined) shard.ids.add(part.id);
    if (part.key !== undefined) shard.keys.add(part.key, part.number);
    if (part.delivery === undefined || part.count === 0) continue;
    const { firstSeq, count } = part;
    const seq = firstSeq + count - 1;
    const { position } = head;
    const result = { ok: true, seq, firstSeq, count, duplicate: true, shard: shard.index, position } as const;
    shard.deliveries.remember(part.delivery, result);
  }
}
