/**
 * The record: what one atomic append looks like in the tail, in a journal block and, entry by entry, in a run.
 * Byte tables: docs/data-files.md.
 *
 * - All integers are little-endian. A record is a header and `parts` parts, one per entity it touches.
 * - A part is an envelope (whose entity, from which seq, its id if the entity is new, the idempotency of the call)
 *   and one entry. The entry is copied verbatim into the entity's run when the record is settled.
 * - An entry with no events stands for a command that was rejected under a caller key; it is never put in a run.
 * - Data is the JSON text of an array with one element per event when JSON can hold it, else the msgpack of it; of many events
 *   with the same keys a table.
 */

/** Kinds of record. Replay refuses a kind it does not know. */
export const recordKind = { append: 1, erase: 2, ownership: 3, timer: 4, subject: 5 } as const;

export const recordHeaderBytes = 24;
export const recordOffset = {
  length: 0,
  kind: 4,
  flags: 5,
  shard: 6,
  epoch: 8,
  parts: 12,
  position: 16,
} as const;

export const partHeaderBytes = 28;
export const partOffset = { length: 0, flags: 4, number: 8, firstSeq: 16, entry: 24 } as const;
/** Optional sections of an envelope, in this order behind its header. */
export const partFlag = {
  /** u16 length, UTF-8 id: the entity is new with this record. */
  id: 1,
  /** u16 length, UTF-8 caller key, 16 bytes of content hash. */
  key: 2,
  /** f64 session start (ms), f64 session number, f64 counter. */
  delivery: 4,
  /** u32 length, UTF-8 JSON: the outcome of a rejected command; the entry has no events. */
  outcome: 8,
} as const;

export const entryHeaderBytes = 32;
/** `data` is the offset of the data section from the start of the entry; `position` is that of its record. */
export const entryOffset = {
  length: 0,
  count: 4,
  data: 8,
  flags: 12,
  types: 13,
  recordedAt: 16,
  position: 24,
} as const;
export const entryFlag = {
  /** `count` f64 values behind the types: ms since 1970, NaN where an event has none. */
  occurred: 1,
  /** The data section is msgpack, not JSON. */
  msgpack: 2,
  /** Behind the header stands a personal section (personal.ts). */
  personal: 4,
  /** The data section is a table (table.ts). */
  table: 8,
} as const;
