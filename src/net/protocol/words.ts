/**
 * The numbers of the wire protocol. docs/protocol.md is their specification; they are never changed or reused.
 */

export const protocolVersion = 1;

/** First element of every frame. */
export const frameKind = { request: 0, reply: 1, error: 2, push: 3, credit: 4, outcomes: 5 } as const;

export const operation = {
  hello: 0,
  append: 1,
  send: 2,
  state: 3,
  events: 4,
  entities: 5,
  ping: 6,
  seq: 7,
  subscribe: 9,
  unsubscribe: 10,
  query: 20,
  projection: 21,
  rows: 24,
  acknowledge: 11,
  join: 12,
  groups: 13,
  group: 14,
  export: 16,
  delete: 17,
  hold: 18,
  erasures: 19,
  backup: 22,
  keys: 23,
  appends: 32,
} as const;

/** First element of the result of a write. */
export const outcomeKind = { appended: 0, conflict: 1, rejected: 2 } as const;

export const momentKind = { seq: 0, recorded: 1, occurred: 2 } as const;

/** The MessagePack extension type of a value that JSON cannot hold. */
export const valueExtension = 1;
/** MessagePack extension type of the data of an append that is a table (core/table.ts). */
export const tableExtension = 2;
/** The form of tables that this version reads and writes. */
export const tableForm = 1;

/** Bytes of the length in front of a frame. */
export const lengthBytes = 4;
