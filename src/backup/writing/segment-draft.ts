/**
 * Segments in the making: rows go in, objects come out.
 *
 * A segment is begun behind the one before and ended at a point. It is kept in memory until then: it is written whole.
 * A thread has one draft for all its segments, whose memory is used again: making it anew would cost more than filling it.
 */
import { randomBytesPooled } from "../../core/random.ts";
import { encodeBlock, encodeEnd, encodeHeader } from "../format/container.ts";
import { type SegmentHeader, type ShardPoint, segmentObject } from "../format/objects.ts";
import { BlockDraft, type Row, type Table } from "../format/tables.ts";
import type { ChainedSegment } from "../reading/chain.ts";
import type { BackupTarget } from "../target/target.ts";

const segmentBytes = 16 * 1024 * 1024;
const blockBytes = 1024 * 1024;
/** What a draft of small segments has room for. */
const firstBytes = 1024 * 1024;

export class SegmentDraft {
  readonly #drafts = new Map<Table, BlockDraft>();
  #draft: BlockDraft | undefined;
  #table: Table | undefined;
  #memory = Buffer.alloc(0);
  #bytes = 0;
  #blocks = 0;
  #rows = 0;
  /** With this much it is full. */
  readonly bytesMax: number;

  constructor(bytesMax = segmentBytes) {
    this.bytesMax = bytesMax;
  }

  /** True when its blocks take, about, as much as a segment shall have. */
  get isFull(): boolean {
    return this.#bytes + (this.#draft?.bytes ?? 0) >= this.bytesMax;
  }

  /** Forgets what is in it. */
  clear(): void {
    this.#draft?.take();
    this.#draft = undefined;
    this.#table = undefined;
    this.#bytes = 0;
    this.#blocks = 0;
    this.#rows = 0;
  }

  /** Rows of one table come one after the other, and runs come first: who reads them knows then how far they go. */
  add(table: Table, row: Row): void {
    if (table !== this.#table) {
      this.#close();
      this.#table = table;
      this.#draft = this.#drafts.get(table) ?? new BlockDraft(table);
      this.#drafts.set(table, this.#draft);
    }
    this.#draft?.add(row);
    this.#rows++;
    if ((this.#draft?.bytes ?? 0) >= blockBytes) this.#close();
  }

  /** Writes it as the successor of `previous`, whose end is `from`, and begins anew. */
  async write(
    target: BackupTarget,
    of: Pick<SegmentHeader, "shard" | "incarnation" | "from" | "previous">,
    point: ShardPoint,
  ): Promise<ChainedSegment> {
    this.#close();
    const header: SegmentHeader = {
      kind: "segment",
      ...of,
      ...point,
      id: randomBytesPooled(6).toString("hex"),
      pieces: 1,
      bytes: this.#bytes,
      rows: this.#rows,
    };
    const object = segmentObject(of.shard, { from: of.from, to: point.position, id: header.id });
    const blocks = this.#memory.subarray(0, this.#bytes);
    await target.put(object, [encodeHeader(header), blocks, encodeEnd(this.#blocks)]);
    this.clear();
    return { object, header };
  }

  #close(): void {
    const draft = this.#draft;
    if (draft === undefined || draft.rows === 0) return;
    for (const part of encodeBlock(draft.take())) {
      const end = this.#bytes + part.length;
      if (end > this.#memory.length) this.#growTo(end);
      this.#memory.set(part, this.#bytes);
      this.#bytes = end;
    }
    this.#blocks++;
  }

  #growTo(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, firstBytes, this.#memory.length * 2));
    larger.set(this.#memory.subarray(0, this.#bytes));
    this.#memory = larger;
  }
}
