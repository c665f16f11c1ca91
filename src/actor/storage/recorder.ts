/**
 * Writing records into the tail: what gives an append its position, and a new entity its number.
 *
 * Either the whole record is in the open turn and every actor it touches knows of it, or nothing has changed.
 */
import {
  appendRecordBound,
  type Delivery,
  entryOfOneAt,
  entryOfPart,
  type PartDraft,
  recordOfOneBound,
  writePart,
  writePartOfOne,
  writeRecordHeader,
} from "../../core/append-record.ts";
import { type EntryDraft, inUtf8, type TypeRef } from "../../core/entry.ts";
import { type EraseDraft, eraseRecordBound, writeErasePart } from "../../core/erase-record.ts";
import { WarpError } from "../../core/errors.ts";
import { recordHeaderBytes, recordKind } from "../../core/record.ts";
import { isTable, Table } from "../../core/table.ts";
import type { Journal } from "../../journal/journal.ts";
import type { Tail } from "../../journal/tail.ts";
import type { Actor } from "../actor.ts";
import type { SessionTime } from "../deliveries/session-time.ts";
import type { Write } from "../write.ts";
import type { ShardState } from "./shard-state.ts";

export interface RecorderParts {
  readonly journal: Journal<Write>;
  readonly tails: readonly Tail[];
  /** One record, all parts, bytes. */
  readonly recordBytesMax: number;
  /** Hears how far records are ahead of the clock. */
  readonly sessionTime: SessionTime;
}

export class Recorder {
  readonly #parts: RecorderParts;
  #clock = 0;
  #clockTurn = 0;
  #isWriting = false;

  constructor(parts: RecorderParts) {
    this.#parts = parts;
  }

  /** True when a record was begun and not finished, which only a bug of this code can bring about. */
  get isBroken(): boolean {
    return this.#isWriting;
  }

  /** ms since 1970; read once a turn, and never behind the shard's newest record. */
  now(shard: ShardState): number {
    const { id, completions } = this.#parts.journal.openTurn;
    // A turn stays open while nothing comes into it, perhaps for hours.
    if (id !== this.#clockTurn || completions.length === 0) {
      this.#clock = Date.now();
      this.#clockTurn = id;
    }
    const { lastRecordedAt } = shard;
    if (lastRecordedAt <= this.#clock) return this.#clock;
    this.#parts.sessionTime.noteAhead(lastRecordedAt - this.#clock);
    return lastRecordedAt;
  }

  /** Records one part. Returns its position, or 0 when the tail is full. Errors: EVENT_TOO_LARGE. */
  record(actor: Actor, part: PartDraft, recordedAt: number): number {
    const { shard } = actor;
    const tail = this.#parts.tails[shard.writer];
    const isBounded = appendRecordBound(part) <= this.#parts.recordBytesMax;
    const fitting = isBounded ? part : measured(part);
    const at = this.#reserve(shard, appendRecordBound(fitting));
    if (at < 0 || tail === undefined) return 0;
    this.#isWriting = true;
    const partAt = at + recordHeaderBytes;
    const end = writePart(tail.bytes, partAt, fitting, recordedAt, shard.nextPosition);
    this.#note(tail, actor, part, partAt);
    return this.#finish(tail, shard, at, end, 1, recordedAt);
  }

  /** As {@link record}, for one event of an entity that exists, as `writePartOfOne` takes it. */
  recordOne(
    actor: Actor,
    type: TypeRef,
    data: string,
    isList: boolean,
    delivery: Delivery | undefined,
    recordedAt: number,
  ): number {
    const { shard } = actor;
    const tail = this.#parts.tails[shard.writer];
    const at = this.#reserve(shard, recordOfOneBound(delivery, type, data));
    if (at < 0 || tail === undefined) return 0;
    this.#isWriting = true;
    const { number, tipSeq, tailRow } = actor;
    const { bytes, index } = tail;
    const seq = tipSeq + 1;
    const position = shard.nextPosition;
    const partAt = at + recordHeaderBytes;
    const end = writePartOfOne(
      bytes,
      partAt,
      number,
      seq,
      delivery,
      type,
      data,
      isList,
      recordedAt,
      position,
    );
    actor.tailRow = index.add(entryOfOneAt(partAt, delivery), seq, position, tailRow);
    actor.tipPosition = position;
    return this.#finish(tail, shard, at, end, 1, recordedAt);
  }

  /** Records the parts of several actors of one shard as one record. As {@link record}. */
  recordTogether(actors: readonly Actor[], parts: readonly PartDraft[], recordedAt: number): number {
    const shard = actors[0]?.shard;
    const tail = shard && this.#parts.tails[shard.writer];
    if (shard === undefined || tail === undefined) return 0;
    const fitting = boundOf(parts) <= this.#parts.recordBytesMax ? parts : parts.map(measured);
    const at = this.#reserve(shard, boundOf(fitting));
    if (at < 0) return 0;
    this.#isWriting = true;
    let end = at + recordHeaderBytes;
    for (const [index, part] of fitting.entries()) {
      const actor = actors[index];
      const partAt = end;
      end = writePart(tail.bytes, partAt, part, recordedAt, shard.nextPosition);
      if (actor !== undefined) this.#note(tail, actor, part, partAt);
    }
    return this.#finish(tail, shard, at, end, parts.length, recordedAt);
  }

  /**
   * Records erasures, of any shards, in one turn, and so in one block: all of them become durable or none. Returns their
   * positions, or undefined when a tail is full. The actors keep their tips until that is durable. Errors: EVENT_TOO_LARGE.
   */
  recordErasures(
    erasures: readonly { readonly actor: Actor; readonly draft: EraseDraft }[],
  ): readonly number[] | undefined {
    let bytes = 0;
    for (const { draft } of erasures) bytes += eraseRecordBound(draft);
    const shards = erasures.map(({ actor }) => actor.shard);
    // Twice: to make room, a tail may begin again at its start, which can end the turn. The second time there is room.
    for (const shard of [...shards, ...shards]) if (this.#reserve(shard, bytes) < 0) return undefined;
    return erasures.map(({ actor, draft }) => this.#recordErasure(actor, draft));
  }

  #recordErasure(actor: Actor, draft: EraseDraft): number {
    const { shard } = actor;
    const tail = this.#parts.tails[shard.writer];
    const at = this.#reserve(shard, eraseRecordBound(draft));
    if (at < 0 || tail === undefined) return 0;
    this.#isWriting = true;
    const end = writeErasePart(tail.bytes, at + recordHeaderBytes, actor.number, draft);
    actor.tipPosition = shard.nextPosition;
    return this.#finish(tail, shard, at, end, 1, draft.erasedAt, recordKind.erase);
  }

  #reserve(shard: ShardState, bound: number): number {
    const { journal, recordBytesMax } = this.#parts;
    if (bound > recordBytesMax) {
      const why = `an append takes at most ${recordBytesMax} bytes`;
      throw new WarpError("EVENT_TOO_LARGE", why, { limit: "recordBytesMax", bytes: bound });
    }
    return journal.reserve(shard.writer, bound);
  }

  #note(tail: Tail, actor: Actor, part: PartDraft, partAt: number): void {
    const { shard } = actor;
    const position = shard.nextPosition;
    actor.tailRow = tail.index.add(entryOfPart(tail.bytes, partAt), part.firstSeq, position, actor.tailRow);
    actor.tipPosition = position;
    if (actor.number !== 0) return;
    actor.number = shard.nextNumber++;
    shard.ids.add(actor.id);
  }

  #finish(
    tail: Tail,
    shard: ShardState,
    at: number,
    end: number,
    parts: number,
    recordedAt: number,
    kind: number = recordKind.append,
  ): number {
    const position = shard.nextPosition++;
    writeRecordHeader(tail.bytes, at, end, shard.index, shard.epoch, position, parts, kind);
    this.#parts.journal.commit(shard.writer, at, end);
    shard.lastRecordedAt = recordedAt;
    this.#isWriting = false;
    return position;
  }
}

function boundOf(parts: readonly PartDraft[]): number {
  let bound = 0;
  for (const part of parts) bound += appendRecordBound(part);
  return bound;
}

/** The part with its text in UTF-8, so that its bound is what it takes and not three bytes a unit. */
function measured(part: PartDraft): PartDraft {
  const { entry } = part;
  return { ...part, entry: { ...entry, data: written(entry.data) } };
}

function written(data: EntryDraft["data"]): EntryDraft["data"] {
  if (data instanceof Uint8Array) return data;
  if (isTable(data)) return data instanceof Table ? data.toBytes() : data;
  return inUtf8(data);
}
