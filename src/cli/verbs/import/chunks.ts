/**
 * Cuts the rows of an input into chunks, and the rows of a chunk into one group of events per entity.
 *
 * - Where a chunk ends depends on nothing but the input: each row counts, also one that is skipped. So every run over
 *   the same input makes the same chunks, and the groups of an entity are the same each time.
 * - A group is one append: a chunk is small enough that all its rows in one group are within the limits of an append.
 */
import { assert } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import { limits } from "../../../core/limits.ts";

export const chunkRows = 2000;
/** Bytes of rows as they stand in the file. Encoded they may take up to six times as much. */
export const chunkBytes = 1024 * 1024;

assert(chunkRows <= limits.appendEventsMax, "a chunk of one entity is one append");
assert(chunkBytes * 6 < limits.recordBytesMax, "a chunk of one entity fits in a record");

export interface Chunk {
  readonly rows: number;
  readonly firstLine: number;
  readonly lastLine: number;
  /** The events of each entity, in the order of the file. */
  readonly groups: ReadonlyMap<string, readonly NewEvent[]>;
}

export class ChunkCutter {
  private groups = new Map<string, NewEvent[]>();
  private readonly types = new Set<string>();
  private rows = 0;
  private bytes = 0;
  private firstLine = 0;
  private lastLine = 0;

  /** Takes the event of a row. Returns the chunk that ends before this row, if one does. */
  add(row: { line: number; bytes: number }, entity: string, event: NewEvent): Chunk | undefined {
    const isTypeTooMany = this.types.size === limits.appendTypesMax && !this.types.has(event.type);
    const ended = this.count(row, isTypeTooMany);
    this.types.add(event.type);
    const group = this.groups.get(entity);
    if (group === undefined) this.groups.set(entity, [event]);
    else group.push(event);
    return ended;
  }

  /** Takes a row that is left out. Returns the chunk that ends before this row, if one does. */
  skip(row: { line: number; bytes: number }): Chunk | undefined {
    return this.count(row, false);
  }

  /** The last chunk, if it has rows. */
  end(): Chunk | undefined {
    return this.rows === 0 ? undefined : this.cut();
  }

  private count(row: { line: number; bytes: number }, isTypeTooMany: boolean): Chunk | undefined {
    const isFull = this.rows === chunkRows || this.bytes + row.bytes > chunkBytes || isTypeTooMany;
    const ended = isFull && this.rows > 0 ? this.cut() : undefined;
    if (this.rows === 0) this.firstLine = row.line;
    this.lastLine = row.line;
    this.rows++;
    this.bytes += row.bytes;
    return ended;
  }

  private cut(): Chunk {
    const { rows, firstLine, lastLine, groups } = this;
    this.rows = 0;
    this.bytes = 0;
    this.groups = new Map();
    this.types.clear();
    return { rows, firstLine, lastLine, groups };
  }
}
