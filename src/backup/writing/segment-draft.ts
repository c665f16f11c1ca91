/**
 * Segments in the making: rows go in, objects come out.
 *
 * A segment is begun behind the one before and ended at a point. It is kept in memory until then: it is written whole.
 */
import { randomBytesPooled } from "../../core/random.ts";
import { encodeBlock, encodeEnd, encodeHeader } from "../format/container.ts";
import { type SegmentHeader, type ShardPoint, segmentObject } from "../format/objects.ts";
import { BlockDraft, type Row, type Table } from "../format/tables.ts";
import type { ChainedSegment } from "../reading/chain.ts";
import type { BackupTarget } from "../target/target.ts";

/** A segment is ended at the next batch when it has this much. */
export const segmentBytes = 16 * 1024 * 1024;
const blockBytes = 1024 * 1024;

export class SegmentDraft {
  #draft: BlockDraft | undefined;
  #table: Table | undefined;
  #parts: Buffer[] = [];
  #bytes = 0;
  #blocks = 0;
  #rows = 0;

  /** What its blocks take, about. */
  get bytes(): number {
    return this.#bytes + (this.#draft?.bytes ?? 0);
  }

  /** Rows of one table come one after the other, and runs come first: who reads them knows then how far they go. */
  add(table: Table, row: Row): void {
    if (table !== this.#table) {
      this.#close();
      this.#table = table;
      this.#draft = new BlockDraft(table);
    }
    this.#draft?.add(row);
    this.#rows++;
    if ((this.#draft?.bytes ?? 0) >= blockBytes) this.#close();
  }

  /** Writes it as the successor of `previous`, whose end is `from`. */
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
    await target.put(object, [encodeHeader(header), ...this.#parts, encodeEnd(this.#blocks)]);
    return { object, header };
  }

  #close(): void {
    const draft = this.#draft;
    if (draft === undefined || draft.rows === 0) return;
    for (const part of encodeBlock(draft.take())) {
      this.#parts.push(part);
      this.#bytes += part.length;
    }
    this.#blocks++;
  }
}
