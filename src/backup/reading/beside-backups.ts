/**
 * Reading a shard of a target while backups are made into it: they merge and remove segments, and replace the key set.
 *
 * - A shard is read as of one head and one ledger. What does not fit them is damage only if nothing has changed since, or if
 *   it is found again; else the shard is read once more, from the beginning.
 * - Segments that are merged meanwhile need no new beginning: their rows are in the merged one, in the same blocks.
 */
import { WarpError } from "../../core/errors.ts";
import { type Block, damaged, decodeBlocks, decodeHeader, missing } from "../format/container.ts";
import {
  headObject,
  ledgerObject,
  parseSegmentName,
  type SegmentHeader,
  segmentsFolder,
} from "../format/objects.ts";
import { shapeOf } from "../format/tables.ts";
import type { BackupTarget } from "../target/target.ts";
import type { ChainedSegment } from "./chain.ts";

const roundsMax = 8;

/**
 * Does what `read` does, again when a backup was in its way; `onBytes` hears a negative number then. Errors: ABORTED when that
 * happened too often, and those of `read`.
 */
export async function besideBackups<Result>(
  target: BackupTarget,
  shard: number,
  onBytes: (bytes: number) => void,
  read: (onBytes: (bytes: number) => void) => Promise<Result>,
): Promise<Result> {
  let last: string | undefined;
  for (let round = 0; round < roundsMax; round++) {
    const before = await stateOf(target, shard);
    let done = 0;
    try {
      return await read((bytes) => {
        done += bytes;
        onBytes(bytes);
      });
    } catch (thrown) {
      if (!(thrown instanceof WarpError) || thrown.code !== "CORRUPT") throw thrown;
      if (thrown.message === last || (await stateOf(target, shard)) === before) throw thrown;
      last = thrown.message;
      onBytes(-done);
    }
  }
  const why = `${target.name}: backups have changed shard ${shard} ${roundsMax} times while it was read; try again`;
  throw new WarpError("ABORTED", why, { target: target.name, shard });
}

/** Differs when a backup has written or removed something that a reader of the shard may have missed. */
async function stateOf(target: BackupTarget, shard: number): Promise<string> {
  const head = await target.get(headObject(shard));
  const ledger = await target.size(ledgerObject(shard));
  return JSON.stringify([head?.toBase64(), ledger, await target.list(segmentsFolder(shard))]);
}

/** The blocks of a segment of a chain, with the object that they stand in. Errors: CORRUPT with the object. */
export async function* blocksOf(
  target: BackupTarget,
  chain: readonly ChainedSegment[],
  at: number,
): AsyncGenerator<{ object: string; block: Block }> {
  const { object, header } = chain[at] as ChainedSegment;
  const bytes = await target.get(object);
  const found = bytes === undefined ? undefined : decodeHeader<SegmentHeader>(bytes, object);
  // One that was merged with others that begin and end where it does keeps its name.
  if (bytes === undefined || found === undefined || found.header.pieces !== header.pieces) {
    yield* mergedBlocksOf(target, chain, at);
    return;
  }
  for (const block of decodeBlocks(bytes, found.end, object, shapeOf)) yield { object, block };
}

async function* mergedBlocksOf(
  target: BackupTarget,
  chain: readonly ChainedSegment[],
  at: number,
): AsyncGenerator<{ object: string; block: Block }> {
  const segment = chain[at] as ChainedSegment;
  const { object, bytes, end, first } = await mergedFrom(target, chain, at);
  const from = chain.slice(first, at).reduce((sum, { header }) => sum + header.rows, 0);
  const to = from + segment.header.rows;
  let rows = 0;
  for (const block of decodeBlocks(bytes, end, object, shapeOf)) {
    const next = rows + block.rows;
    if (rows < to && next > from) {
      if (rows < from || next > to)
        throw damaged(object, undefined, `${segment.object} is not in it as it was`);
      yield { object, block };
    }
    rows = next;
  }
  if (rows < to) throw damaged(object, undefined, `${segment.object} is not in it as it was`);
}

interface Merged {
  readonly object: string;
  readonly bytes: Uint8Array;
  /** Where its first block is. */
  readonly end: number;
  /** Which segment of the chain it begins with. */
  readonly first: number;
}

/** The segment that one of a chain was merged into. Errors: CORRUPT when there is none. */
async function mergedFrom(
  target: BackupTarget,
  chain: readonly ChainedSegment[],
  at: number,
): Promise<Merged> {
  const { object: missed, header: part } = chain[at] as ChainedSegment;
  // One that is listed may be merged itself before it is read.
  for (let hasVanished = true; hasVanished; ) {
    hasVanished = false;
    for (const object of await target.list(segmentsFolder(part.shard))) {
      const name = parseSegmentName(object);
      if (name === undefined || name.from > part.from || name.to < part.position) continue;
      const bytes = await target.get(object);
      if (bytes === undefined) {
        hasVanished = true;
        continue;
      }
      const { header, end } = decodeHeader<SegmentHeader>(bytes, object);
      const first = chain.findIndex(
        (segment) => segment.header.from === header.from && segment.header.previous === header.previous,
      );
      // Its id is that of its last part, which may be newer than the chain.
      const last = chain.findIndex((segment) => segment.header.id === header.id);
      if (first >= 0 && first <= at && (last < 0 || last >= at)) return { object, bytes, end, first };
    }
  }
  throw missing(missed);
}
