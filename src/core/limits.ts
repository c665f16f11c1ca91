/**
 * Every limit of the engine, in one place, asserted against each other below.
 *
 * Bytes are bytes, times are milliseconds. A limit that a user may set is a default here and a setting in
 * `Settings`; the others are fixed because a file format or a proof depends on them.
 */
import { assert } from "./errors.ts";

const kiB = 1024;
const miB = 1024 * kiB;

export const limits = {
  /** Length of an entity id in UTF-8 bytes; at least 1. */
  entityIdBytesMax: 512,
  /** Length of an event type in UTF-8 bytes; at least 1. */
  eventTypeBytesMax: 255,
  /** Length of a caller key in UTF-8 bytes; at least 1. */
  callerKeyBytesMax: 512,
  /** Encoded data of one event. */
  eventBytesMax: 1 * miB,
  /** Nesting of event data: an array or object inside another counts one. */
  dataDepthMax: 32,
  /** Events in one append. */
  appendEventsMax: 10_000,
  /** Distinct event types in one append (an index to them is one byte). */
  appendTypesMax: 255,
  /** Entities in one `atomically`. */
  appendPartsMax: 64,
  /** One record, header and all parts. */
  recordBytesMax: 8 * miB,
  /** What one journal block may carry; a turn that grows beyond it is cut. */
  blockBytesMax: 16 * miB,
  /** Journal blocks start at multiples of this: the sector of the disks in use. */
  sectorBytes: 4096,
  /** One preallocated journal segment. */
  segmentBytes: 32 * miB,
  /** Segments in the ring at most; the ring grows up to it when settling lags. */
  segmentsMax: 16,
  /** The tail: records that are journalled but not settled, per writer. */
  arenaBytes: 128 * miB,
  /** A writer is told to settle when this much waits, or a quarter more of small writes … */
  settleBytes: 32 * miB,
  /** … or when the oldest waiting record is this old. */
  settleDelayMs: 2000,
  /** An idle journal says so on disk after this long (see docs/recovery.md). */
  idleMarkerMs: 50,
  /** Plaintext of one run; a single larger record makes a larger run. */
  runBytesMax: 256 * kiB,
  /** A shard's WAL is checkpointed when it grows past this. */
  walBytesMax: 8 * miB,
  /** Pages of SQLite that a writer or reader keeps in memory, over all its shards … */
  shardCacheBytes: 128 * miB,
  /** … but at least this per shard. */
  shardCacheBytesMin: 1 * miB,
  /** Unwrapped entity keys that a writer or reader keeps, over all its shards; 40 bytes each. */
  cachedKeysMax: 1024 * 1024,
  /** Shards of a context. */
  shardsMax: 256,
  /** Operations that may wait in one actor's mailbox while it loads. */
  mailboxMax: 10_000,
  /** Writes that may wait for their fsync, for space in a tail or in mailboxes, over all actors. */
  pendingMax: 200_000,
  /** Results remembered per delivery session and shard. */
  deliveryWindow: 4096,
  /** Default memory for delivery windows of all shards, estimated; those that were not used lately leave it beyond that. */
  deliveryBytes: 256 * miB,
  /** How long a silent delivery session is remembered. */
  deliveryTtlMs: 24 * 60 * 60 * 1000,
  /** How far in the future a new delivery session may begin: clocks differ. */
  deliveryAheadMs: 10 * 60 * 1000,
  /** Entries of history that the reader hands over in one message. */
  readPageBytes: 1 * miB,
  /** Opened batches that a reader keeps for the next pages of the feed; the newest one is kept whatever its size. */
  feedCacheBytes: 64 * miB,
  /** A page that a subscription reads; what it is handed at once is at most this and one record. */
  followPageBytes: 256 * kiB,
  /** Records that a subscription of one entity may be behind before the entity's own history is read. */
  followHistoryFrom: 2048,
  /** A subscription that is handed nothing hears this often that its cursor has moved. */
  followMarkMs: 5000,
  /** Subscriptions of a context. */
  subscriptionsMax: 100_000,
  /** Subscriptions of one connection. */
  connectionSubscriptionsMax: 4096,
  /** Pushes that a client lets a server send ahead of its reader, per subscription. */
  clientPushBytes: 512 * kiB,
  /** Events that a group has read and is not done with, or that are done behind one that is not. */
  groupOutstandingMax: 4096,
  /** … and about what they take. */
  groupOutstandingBytes: 16 * miB,
  /** Deliveries that one member of a group may leave unanswered. */
  groupWindowMax: 1024,
  /** A delivery that is not answered for this long is made again. */
  groupAnswerMs: 30_000,
  /** The first wait before an event is tried again; it doubles … */
  groupRetryMs: 500,
  /** … up to this. */
  groupRetryMsMax: 60_000,
  /** An event that failed this often is parked. */
  groupAttemptsMax: 10,
  /** A checkpoint is written this long after it moved. */
  groupSaveMs: 200,
  /** Event types that one subscription may name. */
  subscriptionTypesMax: 256,
  /** Pages of the feed in one message to the Worker of a projection; two are under way at most. */
  projectionMessageBytes: 1 * miB,
  /** What a query takes and gives when it does not say: time in all, rows … */
  queryMs: 10_000,
  queryRows: 10_000,
  /** … and at most. */
  queryMsMax: 600_000,
  queryRowsMax: 1_000_000,
  /** Results of queries of one connection of which the client has not asked for all pages, and how long one waits for that. */
  heldResultsMax: 2,
  heldResultMs: 60_000,
  /** What those of all connections take, about. */
  heldResultBytes: 256 * miB,
  /** Values of a query's result in one process, by default; it is truncated behind the row that passes it … */
  queryBytesLocal: 64 * miB,
  /** … and over the network. */
  queryBytes: 4 * miB,
  /** How long a deletion waits for its receipt when it does not say: in this process, through a server … */
  receiptMs: 30_000,
  receiptMsServed: 15_000,
  /** … and at most. */
  receiptMsMax: 50 * 60 * 1000,
  /** Entities in one page of a listing. */
  listPage: 500,
  /** Default memory for resident actors and their states, estimated. */
  residentBytes: 512 * miB,
  /** From the end of one search for events that retention lets go to the next. */
  retentionEveryMs: 10 * 60 * 1000,
  /** Default of `snapshotEvery`, in events. */
  snapshotEvery: 500,
  /** One frame of the network protocol, without its length. */
  frameBytesMax: 10 * miB,
  /** The first one of a connection, hello: who has not said it may hold little … */
  helloBytesMax: 64 * kiB,
  /** … and what each text in it may take in UTF-8. */
  helloTextBytesMax: 16 * kiB,
  /** Connections of a server. */
  connectionsMax: 20_000,
  /** Requests of one connection that are not answered yet; it is not read beyond. */
  connectionRequestsMax: 4096,
  /** A request of so many bytes is counted until it is answered: a connection is not read while the frames of those … */
  largeRequestBytes: 64 * kiB,
  /** … take more than this, or those of all connections more than `networkBytesMax`. */
  connectionRequestBytes: 16 * miB,
  /** Entities that a connection may have numbers for, if the server has as many left … */
  connectionEntitiesMax: 16 * 1024,
  /** … of all that its connections have; about 100 bytes each. */
  numberedEntitiesMax: 512 * 1024,
  /** Requests for pages, of history, listings or rows, that one connection has under way; others wait … */
  connectionPagesMax: 8,
  /** … and it is not read beyond so many bytes of those that wait. */
  connectionQueueBytes: 256 * kiB,
  /** Replies that a connection has not read; no more of its requests are read beyond. */
  connectionOutputBytes: 1 * miB,
  /** Buffers of all connections together. */
  networkBytesMax: 256 * miB,
  /** Events in one page of history that is sent; it is cut at `readPageBytes` too. */
  eventsPage: 10_000,
  /** From connecting to a complete hello. */
  handshakeMs: 10_000,
  /** From the first byte of a frame to its last; and for a peer that reads nothing while replies wait. */
  stallMs: 30_000,
  /** Bodies of HTTP requests that are read or worked on, over all connections; what is beyond is answered OVERLOADED. */
  httpBodiesBytes: 256 * miB,
  /** From the head of an HTTP request to the end of its body. */
  httpBodyMs: 60_000,
  /** A connection that is silent for this long is closed. */
  idleMs: 120_000,
  /** Requests that a client holds, sent or waiting. */
  clientRequestsMax: 100_000,
  /** A client begins a new delivery session after this. */
  clientSessionMs: 6 * 60 * 60 * 1000,
} as const;

assert(limits.eventBytesMax < limits.recordBytesMax, "an event fits in a record");
assert(limits.recordBytesMax < limits.blockBytesMax, "a record fits in a block");
assert(
  limits.blockBytesMax + 3 * limits.sectorBytes < limits.segmentBytes,
  "a block and a marker fit in a segment",
);
assert(limits.blockBytesMax * 2 <= limits.arenaBytes, "a block can be in flight while another gathers");
assert(limits.settleBytes * 2 <= limits.arenaBytes, "settling starts before the tail is full");
assert(limits.arenaBytes * 2 <= limits.segmentBytes * limits.segmentsMax, "the ring outlasts the tail");
assert(limits.recordBytesMax + miB <= limits.frameBytesMax, "the largest append fits in a frame");
assert(limits.queryBytes + miB <= limits.frameBytesMax, "the largest result of a query fits in a frame");
assert(limits.queryBytesLocal * 4 <= limits.heldResultBytes, "a few results may wait for their connections");
assert(
  limits.frameBytesMax * 4 <= limits.networkBytesMax,
  "a few large frames do not exhaust the network's memory",
);
assert(limits.frameBytesMax <= limits.connectionRequestBytes, "the largest frame is read beside small ones");
assert(limits.helloTextBytesMax * 3 + kiB <= limits.helloBytesMax, "any three texts fit in a hello");
assert(limits.connectionRequestsMax <= limits.deliveryWindow, "what is unanswered is remembered");
assert(limits.clientSessionMs * 2 <= limits.deliveryTtlMs, "a session ends long before it is forgotten");
assert(limits.deliveryAheadMs * 2 <= limits.deliveryTtlMs, "a clock that is ahead prolongs a session little");
assert(limits.appendTypesMax < 256, "a type index is one byte");
