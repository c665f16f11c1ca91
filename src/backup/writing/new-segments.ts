/**
 * What a backup adds to the chain of a shard: everything behind the head, in as many segments as it takes.
 *
 * - A segment is ended when it is full: between two batches, or between rows of what stands beside the runs. Then the next
 *   one begins and ends where it ended. So no object is much larger than a full one, and no more is in memory.
 * - A state goes with the segment that has its event, once: a restore takes no state that is ahead of the events so far.
 */
import type { HeadHeader, ShardPoint } from "../format/objects.ts";
import { type Row, type Table, tables } from "../format/tables.ts";
import type { ChainedSegment } from "../reading/chain.ts";
import type { BackupTarget } from "../target/target.ts";
import type { StopFlag } from "../work/stop-flag.ts";
import type { SegmentDraft } from "./segment-draft.ts";
import type { SeqRange, ShardSource } from "./shard-source.ts";

export interface NewSegmentsOptions {
  readonly target: BackupTarget;
  readonly source: ShardSource;
  readonly draft: SegmentDraft;
  /** Up to where the target has the shard. */
  readonly head: HeadHeader;
  /** Up to where it shall have it. */
  readonly point: ShardPoint;
  /** Hears of the bytes of each segment. */
  readonly onBytes: (bytes: number) => void;
  readonly stop: StopFlag;
}

export class NewSegments {
  readonly #options: NewSegmentsOptions;
  readonly #written: ChainedSegment[] = [];
  /** Where the segment that is being made begins, and the id of the one before. */
  #from: number;
  #previous: string | undefined;
  /** Of the events in it, by number. */
  #seqs = new Map<number, SeqRange>();

  constructor(options: NewSegmentsOptions) {
    this.#options = options;
    this.#from = options.head.position;
    this.#previous = options.head.segment;
  }

  /** The segments, oldest first; at least one. Errors: IO_ERROR, DISK_FULL, CORRUPT, ABORTED. */
  async write(deliveries: readonly Row[]): Promise<readonly ChainedSegment[]> {
    const { draft, head, point, source, stop } = this.#options;
    const { lastCallerKey, deliveriesAt } = head;
    // Caller keys and delivery windows go with the last segments.
    const before: ShardPoint = { ...point, lastCallerKey, deliveriesAt };
    draft.clear();
    await this.#addRuns(before);
    for (const page of source.callerKeys(lastCallerKey, point.lastCallerKey)) {
      stop.requireUnset();
      for (const row of page) {
        if (draft.isFull) await this.#end({ ...before, lastCallerKey: Number(row[0]) - 1 });
        draft.add(tables.callerKeys, row);
      }
    }
    for (const row of deliveries) {
      if (draft.isFull) await this.#end({ ...point, deliveriesAt });
      draft.add(tables.deliveries, row);
    }
    await this.#end(point);
    return this.#written;
  }

  async #addRuns(before: ShardPoint): Promise<void> {
    const { draft, head, point, source, stop } = this.#options;
    // Where no entity has a state beside its events, nobody needs to know whose these are.
    const hasStates = source.hasSnapshots || source.hasBases;
    let lastBatch = head.position;
    for (const page of source.runs(head.position, point.position)) {
      stop.requireUnset();
      for (const row of page) {
        const [number, seq, count, batch] = row as readonly [number, number, number, number];
        // An id that an erasure has freed meanwhile may be that of a later run, which is of a later segment.
        if (batch > point.position) continue;
        // Between batches is between positions.
        if (batch !== lastBatch && draft.isFull) {
          const at = { ...before, position: lastBatch };
          await this.#addStates(at);
          await this.#end(at);
        }
        lastBatch = batch;
        draft.add(tables.runs, row);
        if (hasStates) this.#note(number, seq, seq + count - 1);
      }
    }
    await this.#addStates(before);
  }

  #note(number: number, first: number, last: number): void {
    const known = this.#seqs.get(number);
    if (known === undefined) this.#seqs.set(number, { first, last });
    else known.last = last;
  }

  /** What stands beside the events so far, all of which are up to this point. */
  async #addStates(at: ShardPoint): Promise<void> {
    const { source } = this.#options;
    const seqs = this.#seqs;
    // A snapshot that is older than these runs is with older ones, or is made again from them.
    await this.#addAll(tables.snapshots, source.states(tables.snapshots, seqs), at);
    if (source.hasBases) {
      // Of what was dropped before it came into a backup, what stands in its place.
      for (const range of seqs.values()) {
        range.first--;
        range.last--;
      }
      await this.#addAll(tables.bases, source.states(tables.bases, seqs), at);
    }
    this.#seqs = new Map();
  }

  async #addAll(table: Table, rows: Iterable<Row>, at: ShardPoint): Promise<void> {
    const { draft } = this.#options;
    for (const row of rows) {
      if (draft.isFull) await this.#end(at);
      draft.add(table, row);
    }
  }

  async #end(at: ShardPoint): Promise<void> {
    const { target, draft, head, onBytes, stop } = this.#options;
    stop.requireUnset();
    const { shard, incarnation } = head;
    const of = { shard, incarnation, from: this.#from, previous: this.#previous };
    const segment = await draft.write(target, of, at);
    this.#written.push(segment);
    this.#from = at.position;
    this.#previous = segment.header.id;
    onBytes(segment.header.bytes);
  }
}
