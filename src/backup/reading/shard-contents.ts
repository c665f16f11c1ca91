/**
 * What a target has of one shard, read back: its head, ledger, key set and segments, each verified as it comes.
 *
 * - A ledger that is older than the key set is refused: what was erased between them could not be told.
 * - Whoever is in the ledger has no key here, whatever the key set says.
 */
import { Collector } from "../../core/aead.ts";
import { WarpError } from "../../core/errors.ts";
import { walkLedger } from "../../shard/files/ledger.ts";
import { type Block, damaged, decodeBlocks, decodeHeader, missing } from "../format/container.ts";
import {
  type HeadHeader,
  type HoldsHeader,
  headObject,
  holdsObject,
  type KeysHeader,
  keysObject,
  keysPerObject,
  ledgerObject,
} from "../format/objects.ts";
import { rowsOf, shapeOf, type Value } from "../format/tables.ts";
import type { BackupTarget } from "../target/target.ts";
import { blocksOf } from "./beside-backups.ts";
import { type ChainedSegment, readChain, readHead } from "./chain.ts";
import type { EntityKeys } from "./entity-keys.ts";

/** Whoever reads these opens a key and an id per entity, and every row. */
const collector = new Collector();

export interface ShardContents {
  readonly head: HeadHeader;
  readonly segments: readonly ChainedSegment[];
  /** The ledger as it was written. */
  readonly ledger: Uint8Array;
  readonly entries: number;
  /** Numbers of entities and of subjects. */
  readonly erased: ReadonlySet<number>;
  /** How many of them are subjects. */
  readonly erasedSubjects: number;
}

/** A row of the key set. Bytes are views of the object. */
export interface KeyRow {
  readonly number: number;
  readonly slot: Uint8Array;
  readonly idHash: Uint8Array;
  readonly id: Uint8Array;
}

/** Errors: CORRUPT with the object, FORMAT_UNSUPPORTED, IO_ERROR. */
export async function openContents(
  target: BackupTarget,
  { shard, context, incarnation }: { shard: number; context: string; incarnation: string },
): Promise<ShardContents> {
  const head = await readHead(target, shard);
  if (head === undefined) throw missing(headObject(shard));
  if (head.incarnation !== incarnation) {
    throw damaged(headObject(shard), 0, "it belongs to the backup of another data directory");
  }
  if (head.at === 0) {
    const object = headObject(shard);
    throw new WarpError("CORRUPT", `${object}: the first backup of this shard was never finished`, {
      object,
    });
  }
  const { segments } = await readChain(target, head);
  const { ledger, numbers, subjects } = await readLedger(target, shard, context);
  if (numbers.length < head.ledger) throw ledgerTooOld(shard, numbers.length, headObject(shard), head.ledger);
  const erased = new Set(numbers);
  return { head, segments, ledger, entries: numbers.length, erased, erasedSubjects: subjects };
}

/** The objects of the key set, each with its rows that count. */
export async function* keyObjects(
  target: BackupTarget,
  { head, entries, erased }: ShardContents,
): AsyncGenerator<{ object: string; header: KeysHeader; rows: KeyRow[] }> {
  const { shard } = head;
  for (let first = 1; first < head.nextNumber; first += keysPerObject) {
    const object = keysObject(shard, first);
    const bytes = await target.get(object);
    if (bytes === undefined) throw missing(object);
    const { header, end } = decodeHeader<KeysHeader>(bytes, object);
    const isRight = header.kind === "keys" && header.shard === shard && header.first === first;
    if (!isRight || header.incarnation !== head.incarnation) {
      throw damaged(object, 0, "it is another object than its name says");
    }
    if (header.ledger > entries) throw ledgerTooOld(shard, entries, object, header.ledger);
    const rows: KeyRow[] = [];
    for (const block of decodeBlocks(bytes, end, object, shapeOf)) {
      for (const [number, slot, idHash, id] of rowsOf(block) as Iterable<
        [number, Uint8Array, Uint8Array, Uint8Array]
      >) {
        // What came behind the head has no rows in the segments yet.
        if (!erased.has(number) && number < head.nextNumber) rows.push({ number, slot, idHash, id });
      }
    }
    yield { object, header, rows };
    collector.note(2 * rows.length);
  }
}

/** The legal holds: number and sealed text. */
export async function holdRows(target: BackupTarget, { head }: ShardContents): Promise<Value[][]> {
  const object = holdsObject(head.shard);
  const bytes = await target.get(object);
  if (bytes === undefined) throw missing(object);
  const { header, end } = decodeHeader<HoldsHeader>(bytes, object);
  if (header.kind !== "holds" || header.shard !== head.shard || header.incarnation !== head.incarnation) {
    throw damaged(object, 0, "it is another object than its name says");
  }
  const rows: Value[][] = [];
  for (const block of decodeBlocks(bytes, end, object, shapeOf)) {
    for (const row of rowsOf(block)) rows.push([...row]);
  }
  return rows;
}

/** All blocks of the segments, oldest first, each with its segment and the object that it stands in. */
export async function* segmentBlocks(
  target: BackupTarget,
  segments: readonly ChainedSegment[],
): AsyncGenerator<{ segment: ChainedSegment; object: string; block: Block; bytes: number }> {
  for (const [at, segment] of segments.entries()) {
    for await (const { object, block } of blocksOf(target, segments, at)) {
      yield { segment, object, block, bytes: block.data.length + block.rows * 8 * block.numbers.length };
      collector.note(block.rows);
    }
  }
}

/** Numbers whose keys the key set does not have, because their slots were damaged. */
export function withoutKey({ head, erased }: ShardContents, keys: EntityKeys): number[] {
  const damaged = head.damaged ?? [];
  return damaged.filter((number) => !erased.has(number) && keys.keyOf(number) === undefined);
}

/** An entity without a key was erased, or its key is missing. Errors: CORRUPT. */
export function requireErased({ head, erased }: ShardContents, number: number): void {
  if (erased.has(number)) return;
  const why = `it has no key for number ${number}, which has events, and no erasure of it is known`;
  throw damaged(keysObject(head.shard, number), undefined, why);
}

async function readLedger(
  target: BackupTarget,
  shard: number,
  context: string,
): Promise<{ ledger: Uint8Array; numbers: number[]; subjects: number }> {
  const object = ledgerObject(shard);
  const ledger = await target.get(object);
  if (ledger === undefined) throw missing(object);
  const numbers: number[] = [];
  let subjects = 0;
  try {
    const read = (offset: number, length: number) => ledger.subarray(offset, offset + length);
    const walk = walkLedger(read, { path: object, context, shard });
    let step = walk.next();
    for (; !step.done; step = walk.next()) {
      numbers.push(step.value.number);
      if (step.value.kind === "subject") subjects++;
    }
    if (step.value.torn > 0)
      throw damaged(object, ledger.length - step.value.torn, "its last entry is cut off");
  } catch (thrown) {
    if (thrown instanceof WarpError)
      throw new WarpError(thrown.code, thrown.message, { ...thrown.details, object });
    throw thrown;
  }
  return { ledger, numbers, subjects };
}

/** The ledger of a shard has fewer entries than an object of its backup knows of. */
export function ledgerTooOld(shard: number, has: number, object: string, needs: number): WarpError {
  const ledger = ledgerObject(shard);
  const why = `${ledger} is older than ${object}: it has ${has} erasures and ${needs} were known`;
  return new WarpError("CORRUPT", `${why}. An older ledger would bring erased entities back`, {
    object: ledger,
  });
}
