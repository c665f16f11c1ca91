/**
 * The segments of a shard, in order, as its head leads to them.
 *
 * - They are found from the newest back: a head or segment names the id of the one before, and its place is where that
 *   one begins. Of several that end at one place with one id, the widest is the merged one.
 * - A gap is damage, and the error names the segment that should be there.
 */
import { damaged, decodeHeader, decodeObject, missing } from "../format/container.ts";
import {
  type HeadHeader,
  headObject,
  parseSegmentName,
  type SegmentHeader,
  type SegmentName,
  segmentObject,
  segmentsFolder,
} from "../format/objects.ts";
import type { BackupTarget } from "../target/target.ts";

/** A segment as it lies in the target. */
export interface ChainedSegment {
  readonly object: string;
  readonly header: SegmentHeader;
}

export interface Chain {
  readonly head: HeadHeader;
  /** Oldest first. */
  readonly segments: readonly ChainedSegment[];
  /** Objects of the segments' folder that no head leads to. */
  readonly leftOver: readonly string[];
}

/** Enough for the header of a segment. */
const headerBytesMax = 4096;

/** Undefined when the shard was never backed up. Errors: CORRUPT, FORMAT_UNSUPPORTED, IO_ERROR. */
export async function readHead(target: BackupTarget, shard: number): Promise<HeadHeader | undefined> {
  const object = headObject(shard);
  const bytes = await target.get(object);
  if (bytes === undefined) return undefined;
  const header = decodeObject<HeadHeader>(bytes, object);
  if (header.kind === "head" && header.shard === shard) return header;
  throw damaged(object, 0, `it is a ${header.kind} of shard ${header.shard}`);
}

/** Errors: CORRUPT with the object that is missing or damaged. */
export async function readChain(target: BackupTarget, head: HeadHeader): Promise<Chain> {
  const { shard } = head;
  const objects = await target.list(segmentsFolder(shard));
  const byEnd = new Map<string, SegmentName[]>();
  for (const object of objects) {
    const name = parseSegmentName(object);
    if (name === undefined) continue;
    const key = `${name.to}-${name.id}`;
    const same = byEnd.get(key);
    if (same === undefined) byEnd.set(key, [name]);
    else same.push(name);
  }
  const segments: ChainedSegment[] = [];
  let end = head.position;
  let id = head.segment;
  while (id !== undefined) {
    const widest = byEnd.get(`${end}-${id}`)?.reduce((a, b) => (a.from <= b.from ? a : b));
    if (widest === undefined)
      throw missing(`${segmentObject(shard, { from: 0, to: end, id }).replace(/\d+-/, "…-")}`);
    const segment = await readSegmentHeader(target, widest, head);
    segments.push(segment);
    end = widest.from;
    id = segment.header.previous;
  }
  const objectOf = new Set(segments.map(({ object }) => object));
  if (end !== 0) {
    const first = segments.at(-1)?.object ?? headObject(shard);
    throw damaged(first, undefined, `nothing comes before position ${end}`);
  }
  return { head, segments: segments.reverse(), leftOver: objects.filter((object) => !objectOf.has(object)) };
}

async function readSegmentHeader(
  target: BackupTarget,
  name: SegmentName,
  head: HeadHeader,
): Promise<ChainedSegment> {
  const { object } = name;
  const bytes = await target.get(object, headerBytesMax);
  if (bytes === undefined) throw missing(object);
  const { header } = decodeHeader<SegmentHeader>(bytes, object);
  const isNamed = header.from === name.from && header.position === name.to && header.id === name.id;
  if (header.kind === "segment" && isNamed && header.shard === head.shard) {
    if (header.incarnation === head.incarnation) return { object, header };
  }
  throw damaged(object, 0, "it is another object than its name says");
}
