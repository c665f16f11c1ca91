/**
 * What all connections of one TCP server share: its engine, limits, counters, buffers and the turn in which replies are
 * gathered.
 */
import { limits } from "../../core/limits.ts";
import type { Logger } from "../../core/logger.ts";
import type { EnginePort } from "../engine-port.ts";
import { FrameReader } from "../protocol/frame-reader.ts";
import { FrameWriter } from "../protocol/frame-writer.ts";
import type { Connection } from "./connection.ts";
import { HeldSpace } from "./held-rows.ts";

/** Defaults are those of core/limits.ts. */
export interface TcpLimits {
  readonly connections: number;
  /** Unanswered requests of one connection. */
  readonly requests: number;
  /** Replies that one connection has not read, bytes. */
  readonly outputBytes: number;
  /** Buffers of all connections. */
  readonly networkBytes: number;
  readonly handshakeMs: number;
  readonly stallMs: number;
  readonly idleMs: number;
}

export const defaultTcpLimits: TcpLimits = {
  connections: limits.connectionsMax,
  requests: limits.connectionRequestsMax,
  outputBytes: limits.connectionOutputBytes,
  networkBytes: limits.networkBytesMax,
  handshakeMs: limits.handshakeMs,
  stallMs: limits.stallMs,
  idleMs: limits.idleMs,
};

/** Since the start, for operators. */
export interface TcpCounters {
  accepted: number;
  refused: number;
  requests: number;
  errors: number;
  protocolErrors: number;
  receivedBytes: number;
  sentBytes: number;
  subscriptions: number;
  pushes: number;
  pushedEvents: number;
}

/** Enough for the answers of a connection with few callers; a writer grows when it has to. */
const writerBytes = 4 * 1024;
/** A writer that has grown beyond it is let go … */
const pooledBytesMax = 128 * 1024;
/** … and so is one that does not fit in what all that rest may take. */
const poolBytesMax = 8 * 1024 * 1024;

export class Shared {
  readonly port: EnginePort;
  readonly limits: TcpLimits;
  readonly logger: Logger;
  /** SHA-256 of the token that a hello must carry. */
  readonly tokenDigest: Buffer | undefined;
  readonly connections = new Set<Connection>();
  readonly heldSpace = new HeldSpace();
  /** Reads one frame after the other; no request is read while another is. */
  readonly reader = new FrameReader();
  readonly counters: TcpCounters = {
    accepted: 0,
    refused: 0,
    requests: 0,
    errors: 0,
    protocolErrors: 0,
    receivedBytes: 0,
    sentBytes: 0,
    subscriptions: 0,
    pushes: 0,
    pushedEvents: 0,
  };
  /** Memory that connections hold. */
  bufferBytes = 0;
  /** Bytes of large requests that are not answered yet, of all connections. */
  #requestBytes = 0;
  /** Connections that are not read while these are too many. */
  readonly #crowded = new Set<Connection>();
  isDraining = false;
  /** Numbers of entities that may still be given to connections. */
  #numbersLeft = limits.numberedEntitiesMax;
  /** Hears of every connection that has gone. */
  onGone: () => void = () => {};
  /** Writers that rest, the last used one last: it is likely to be in the processor's cache. */
  readonly #writers: FrameWriter[] = [];
  #pooledBytes = 0;
  /** Connections that were given replies since they were last written to. */
  #replied: Connection[] = [];
  #dirty: Connection[] = [];
  #turn: Connection[] = [];

  constructor(port: EnginePort, given: TcpLimits, logger: Logger, tokenDigest: Buffer | undefined) {
    this.port = port;
    this.limits = given;
    this.logger = logger;
    this.tokenDigest = tokenDigest;
  }

  /** How many entities a new connection may number: the fewer, the more of them others have been given. */
  grantNumbers(): number {
    const granted = Math.min(limits.connectionEntitiesMax, Math.floor(this.#numbersLeft / 8));
    this.#numbersLeft -= granted;
    return granted;
  }

  returnNumbers(granted: number): void {
    this.#numbersLeft += granted;
  }

  /** Large requests of all connections together take too much. */
  get isCrowded(): boolean {
    return this.#requestBytes > this.limits.networkBytes;
  }

  addRequest(bytes: number): void {
    this.#requestBytes += bytes;
  }

  endRequest(bytes: number): void {
    const wasCrowded = this.isCrowded;
    this.#requestBytes -= bytes;
    if (!wasCrowded || this.isCrowded) return;
    for (const connection of this.#crowded) this.markDirty(connection);
    this.#crowded.clear();
  }

  /** The connection has its next turn when it {@link isCrowded} no more. */
  awaitSpace(connection: Connection): void {
    this.#crowded.add(connection);
  }

  /** The connection has gone. */
  forget(connection: Connection): void {
    this.#crowded.delete(connection);
    this.connections.delete(connection);
    this.onGone();
  }

  takeWriter(): FrameWriter {
    const writer = this.#writers.pop();
    if (writer === undefined) return new FrameWriter(writerBytes);
    this.#pooledBytes -= writer.capacity;
    return writer;
  }

  returnWriter(writer: FrameWriter): void {
    const { capacity } = writer;
    if (capacity > pooledBytesMax || this.#pooledBytes + capacity > poolBytesMax) return;
    this.#pooledBytes += capacity;
    writer.at = 0;
    this.#writers.push(writer);
  }

  /** Writes the connection's replies, and reads on where it can, when everything under way in this turn has run. */
  markDirty(connection: Connection): void {
    if (this.#dirty.push(connection) === 1) queueMicrotask(this.#endTurn);
  }

  /** Between the requests of a long arrival: what is answered by now leaves at once, and the peers go to work on it. */
  advance(): void {
    this.port.poll();
    if (this.#replied.length === 0) return;
    const replied = this.#replied;
    this.#replied = [];
    for (const connection of replied) connection.flush();
  }

  /** The connection has replies, and had none. */
  noteReplies(connection: Connection): void {
    this.#replied.push(connection);
  }

  readonly #endTurn = (): void => {
    const turn = this.#dirty;
    // Those of the turn have all of them.
    this.#replied.length = 0;
    this.#dirty = this.#turn;
    this.#turn = turn;
    for (const connection of turn) connection.endTurn();
    turn.length = 0;
  };
}
