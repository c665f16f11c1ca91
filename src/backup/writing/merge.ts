/**
 * Merging small segments, so that years of continuous backup are not millions of objects.
 *
 * - The newest `mergedAtOnce` segments that were merged equally often become one, unless that would be a large one. So
 *   a row is copied a few times in its life, and the number of small segments grows with the logarithm of their count.
 * - The merged segment takes the place of its parts in the chain (same end and id, same predecessor) before they are
 *   removed: at any moment the chain is whole. Its blocks are theirs, one part after the other: a reader who misses a part
 *   goes on in it.
 */
import { decodeBlocks, decodeHeader, encodeEnd, encodeHeader, missing } from "../format/container.ts";
import { type SegmentHeader, segmentObject } from "../format/objects.ts";
import { shapeOf } from "../format/tables.ts";
import type { ChainedSegment } from "../reading/chain.ts";
import type { BackupTarget } from "../target/target.ts";

const mergedAtOnce = 8;

/** The chain of a shard after merging what is due into segments of at most `bytesMax`. Its head is written already. */
export async function mergeSmall(
  target: BackupTarget,
  segments: readonly ChainedSegment[],
  bytesMax: number,
): Promise<readonly ChainedSegment[]> {
  let chain = segments;
  for (;;) {
    const parts = chain.slice(-mergedAtOnce);
    const pieces = parts[0]?.header.pieces;
    const isDue = parts.length === mergedAtOnce && parts.every(({ header }) => header.pieces === pieces);
    const bytes = parts.reduce((sum, { header }) => sum + header.bytes, 0);
    if (!isDue || bytes > bytesMax) return chain;
    const merged = await merge(target, parts);
    chain = [...chain.slice(0, -mergedAtOnce), merged];
  }
}

async function merge(target: BackupTarget, parts: readonly ChainedSegment[]): Promise<ChainedSegment> {
  const first = parts[0];
  const last = parts.at(-1);
  if (first === undefined || last === undefined) throw missing("a segment");
  const bodies: Uint8Array[] = [];
  let blocks = 0;
  for (const { object } of parts) {
    const bytes = await target.get(object);
    if (bytes === undefined) throw missing(object);
    const { end } = decodeHeader(bytes, object);
    // Damage must not be copied into an object whose hashes are right.
    for (const _ of decodeBlocks(bytes, end, object, shapeOf)) blocks++;
    bodies.push(bytes.subarray(end, bytes.length - encodeEnd(0).length));
  }
  const sum = (of: (header: SegmentHeader) => number) =>
    parts.reduce((total, { header }) => total + of(header), 0);
  const header: SegmentHeader = {
    ...last.header,
    from: first.header.from,
    previous: first.header.previous,
    pieces: sum(({ pieces }) => pieces),
    bytes: sum(({ bytes }) => bytes),
    rows: sum(({ rows }) => rows),
  };
  const object = segmentObject(header.shard, { from: header.from, to: header.position, id: header.id });
  // Parts that all begin and end at one position: the merged one has the name of the last.
  const write = object === last.object ? target.replace : target.put;
  await write.call(target, object, [encodeHeader(header), ...bodies, encodeEnd(blocks)]);
  for (const part of parts) if (part.object !== object) await target.delete(part.object);
  return { object, header };
}
