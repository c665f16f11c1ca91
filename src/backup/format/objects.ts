/**
 * What the objects of a backup are called and what their headers say.
 *
 *   warp-backup                      whose backup this is
 *   shard-007/head                   up to where the shard is backed up; written last
 *   shard-007/segments/FROM-TO-ID    rows of the positions behind FROM up to TO; never changed
 *   shard-007/keys/00001             the key set: entities 1 … 1024, then the next 1024, …; overwritten in place
 *   shard-007/holds                  legal holds as they stand; overwritten in place
 *   shard-007/ledger                 the shard's ledger as it stands; overwritten in place
 *
 * - A head names its newest segment and every segment the one before it, so a missing one is found. What no head leads
 *   to is left over from a backup that was interrupted.
 * - A segment that was merged from several has the id of the last of them and the predecessor of the first.
 */
import type { KeyringFile } from "../../core/keyring.ts";

export const rootObject = "warp-backup";
/** Entities of one object of the key set. */
export const keysPerObject = 1024;

/** Whose backup it is. */
export interface RootHeader {
  readonly kind: "backup";
  readonly context: string;
  readonly shards: number;
  readonly incarnation: string;
  readonly createdAt: string;
  /** As it was when a backup last began, wrapped by the root key. */
  readonly keyring: KeyringFile;
}

/** What a shard has settled at a point; that of runs.db's `meta`. */
export interface ShardPoint {
  readonly position: number;
  readonly nextNumber: number;
  /** `recordedAt` of the newest record up to there, ms. */
  readonly lastRecordedAt: number;
  readonly epoch: number;
  /** The newest id of `callerKeys`. */
  readonly lastCallerKey: number;
  /** When delivery windows were last stored, ms. */
  readonly deliveriesAt: number;
}

/** Which run it is: number, seq, and the tag of its ciphertext in hexadecimal, which no other run has. */
export type RunMark = readonly [number: number, seq: number, tag: string];

/** How far a shard is backed up. */
export interface HeadHeader extends ShardPoint {
  readonly kind: "head";
  readonly shard: number;
  readonly incarnation: string;
  /** Id of the newest segment; undefined when nothing was ever settled. */
  readonly segment: string | undefined;
  /** Entries of the ledger that every object of the key set has taken notice of. */
  readonly ledger: number;
  /** The periods of the keyring that every object of the key set has, rising. Heads of earlier versions name the newest alone. */
  readonly periods?: readonly number[];
  /** Numbers of which the key set has no key, because their slots were damaged: a restore leaves them out. None when undefined. */
  readonly damaged?: readonly number[] | undefined;
  /** The newest run that the directory had then: one that goes on differently has another. None when undefined, and in heads of earlier versions. */
  readonly newest?: RunMark | undefined;
  /** When this backup was made, ms. */
  readonly at: number;
}

/** A segment's point is where it ends. */
export interface SegmentHeader extends ShardPoint {
  readonly kind: "segment";
  readonly shard: number;
  readonly incarnation: string;
  readonly id: string;
  /** Positions behind this one. */
  readonly from: number;
  /** Id of the segment that ends at `from`. */
  readonly previous: string | undefined;
  /** How many it was merged from; 1 for one as it was written. */
  readonly pieces: number;
  /** Of its blocks. */
  readonly bytes: number;
  readonly rows: number;
}

/** Entities `first` … `first + keysPerObject - 1`. */
export interface KeysHeader {
  readonly kind: "keys";
  readonly shard: number;
  readonly incarnation: string;
  readonly first: number;
  /** Entries of the ledger that were known when it was made; their entities are not in it. */
  readonly ledger: number;
  /** The keyring that opens it: wrapped by the root key. */
  readonly keyring: KeyringFile;
}

export interface HoldsHeader {
  readonly kind: "holds";
  readonly shard: number;
  readonly incarnation: string;
}

export function shardFolder(shard: number): string {
  return `shard-${String(shard).padStart(3, "0")}`;
}

export function headObject(shard: number): string {
  return `${shardFolder(shard)}/head`;
}

export function ledgerObject(shard: number): string {
  return `${shardFolder(shard)}/ledger`;
}

export function holdsObject(shard: number): string {
  return `${shardFolder(shard)}/holds`;
}

export function segmentsFolder(shard: number): string {
  return `${shardFolder(shard)}/segments`;
}

export function keysFolder(shard: number): string {
  return `${shardFolder(shard)}/keys`;
}

/** The object of the key set that holds a number. */
export function keysObject(shard: number, number: number): string {
  const index = Math.floor((number - 1) / keysPerObject) + 1;
  return `${keysFolder(shard)}/${String(index).padStart(6, "0")}`;
}

/** Where a segment begins and ends, as its name says. */
export interface SegmentName {
  readonly object: string;
  readonly from: number;
  readonly to: number;
  readonly id: string;
}

const positionDigits = 16;

export function segmentObject(shard: number, { from, to, id }: Omit<SegmentName, "object">): string {
  const [first, last] = [from, to].map((position) => String(position).padStart(positionDigits, "0"));
  return `${segmentsFolder(shard)}/${first}-${last}-${id}`;
}

/** Undefined for what is no segment's name. */
export function parseSegmentName(object: string): SegmentName | undefined {
  const match = /\/(\d{16})-(\d{16})-([0-9a-f]+)$/.exec(object);
  const [, from, to, id] = match ?? [];
  if (from === undefined || to === undefined || id === undefined) return undefined;
  return { object, from: Number(from), to: Number(to), id };
}
