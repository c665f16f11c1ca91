/**
 * One import from its first byte to its last acknowledgement, in memory that grows only with the number of entities, by
 * some 20 bytes each.
 *
 * - It stops before the chunk that holds the first bad row, so that a chunk is sent whole or not at all; a later run,
 *   with the row put right or skipped, goes on from there.
 * - Everything it reports as imported is durable.
 */
import { WarpError } from "../../../core/errors.ts";
import type { Target } from "../../target.ts";
import { ChunkAppender, type LeftOut, type Tally } from "./appender.ts";
import { type Chunk, ChunkCutter } from "./chunks.ts";
import { createReader, type FormatOptions, headBytes, withoutByteOrderMark } from "./format.ts";
import { compileMapping, type MappingOptions } from "./mapping.ts";
import type { Row, RowReader } from "./row.ts";
import type { Source } from "./source.ts";

export interface ImportOptions {
  readonly source: Source;
  readonly target: Pick<Target, "append">;
  /** Names this import in the caller keys of its groups. */
  readonly name: string;
  readonly format: FormatOptions;
  readonly mapping: MappingOptions;
  /** Leave bad rows, and what was erased, out instead of stopping. */
  readonly skipInvalid: boolean;
  /** Ends the import early, between two chunks. */
  readonly signal: AbortSignal;
  /** Told of every bad row that is left out. */
  readonly onSkipped: (line: number, problem: string) => void;
  /** Told of what is left out because it was erased. */
  readonly onErased: (leftOut: LeftOut) => void;
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress extends Tally {
  readonly rows: number;
  /** Rows that are left out, because they are bad or their entity was erased. */
  readonly skipped: number;
}

export interface Summary extends Progress {
  /** True when `signal` ended it before the end of the input. */
  readonly interrupted: boolean;
}

/**
 * Imports all rows of a source. Errors: INVALID_EVENT with the line of the first bad row, INVALID_ARGUMENT for an input
 * that cannot be read, and whatever the target fails with.
 */
export async function importRows(options: ImportOptions): Promise<Summary> {
  const run = new ImportRun(options);
  try {
    // What was sent is awaited before anything is reported, also when reading failed.
    await run.read().finally(() => run.finish());
    return run.summary;
  } catch (error) {
    throw run.withTally(error);
  }
}

class ImportRun {
  private readonly options: ImportOptions;
  private readonly map: ReturnType<typeof compileMapping>;
  private readonly cutter = new ChunkCutter();
  private readonly appender: ChunkAppender;
  private rows = 0;
  private skipped = 0;

  constructor(options: ImportOptions) {
    this.options = options;
    this.map = compileMapping(options.mapping);
    const onErased = (leftOut: LeftOut) => {
      if (leftOut.subject === undefined) this.skipped += leftOut.rows;
      options.onErased(leftOut);
    };
    this.appender = new ChunkAppender(
      options.target,
      options.name,
      options.skipInvalid ? onErased : undefined,
    );
  }

  get summary(): Summary {
    return { ...this.progress, interrupted: this.options.signal.aborted };
  }

  finish(): Promise<void> {
    return this.appender.finish();
  }

  /** The error with what is durable in its details, and the name under which the import goes on. */
  withTally(error: unknown): unknown {
    if (!(error instanceof WarpError)) return error;
    const { events, alreadyThere } = this.appender.tally;
    return new WarpError(
      error.code,
      error.message,
      { ...error.details, name: this.options.name, imported: events, alreadyThere },
      error,
    );
  }

  async read(): Promise<void> {
    const { source, format, signal } = this.options;
    const pieces = until(signal, source.pieces());
    const head = withoutByteOrderMark(await readHead(pieces));
    if (signal.aborted) return;
    const reader = createReader(source.name, head, format);
    await this.feed(reader, head);
    for await (const piece of pieces) await this.feed(reader, piece);
    if (signal.aborted) return;
    await this.take((rows) => reader.end(rows));
    const last = this.cutter.end();
    if (last !== undefined) await this.submit(last);
  }

  private feed(reader: RowReader, piece: Buffer): Promise<void> {
    return this.take((rows) => reader.feed(piece, rows));
  }

  /** Handles the rows that a reader adds, also those before the damage that it throws. */
  private async take(addRows: (rows: Row[]) => void): Promise<void> {
    const rows: Row[] = [];
    let damage: { readonly error: unknown } | undefined;
    try {
      addRows(rows);
    } catch (error) {
      damage = { error };
    }
    for (const row of rows) {
      const ended = this.takeRow(row);
      if (ended === undefined) continue;
      await this.submit(ended);
      if (this.options.signal.aborted) return;
    }
    if (damage !== undefined) throw damage.error;
    this.options.onProgress(this.progress);
  }

  private takeRow(row: Row): Chunk | undefined {
    const mapped = this.map(row);
    this.rows++;
    if (mapped.problem === undefined) return this.cutter.add(row, mapped.entity, mapped.event);
    if (!this.options.skipInvalid) {
      throw new WarpError("INVALID_EVENT", `line ${row.line}: the row ${mapped.problem}`, { line: row.line });
    }
    this.skipped++;
    this.options.onSkipped(row.line, mapped.problem);
    return this.cutter.skip(row);
  }

  private async submit(chunk: Chunk): Promise<void> {
    await this.appender.submit(chunk);
    this.options.onProgress(this.progress);
  }

  private get progress(): Progress {
    return { rows: this.rows, skipped: this.skipped, ...this.appender.tally };
  }
}

/** The first bytes, as many as the choice of the format wants to see. */
async function readHead(pieces: AsyncGenerator<Buffer>): Promise<Buffer> {
  const head: Buffer[] = [];
  for (let bytes = 0; bytes < headBytes; ) {
    const piece = await pieces.next();
    if (piece.done === true) break;
    head.push(piece.value);
    bytes += piece.value.length;
  }
  return Buffer.concat(head);
}

/** The pieces up to the signal, which also ends the waiting for a piece that does not come. */
async function* until(signal: AbortSignal, pieces: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let stop: () => void = () => undefined;
  signal.addEventListener("abort", () => stop(), { once: true });
  while (!signal.aborted) {
    // Not Promise.race with one promise for the signal: that would hold on to every piece until the end.
    const piece = await new Promise<IteratorResult<Buffer, unknown>>((resolve, reject) => {
      stop = () => resolve({ done: true, value: undefined });
      pieces.next().then(resolve, reject);
    });
    if (piece.done === true) return;
    yield piece.value;
  }
}
