/**
 * One write on its way: what was asked, and, once it is appended, what its caller is told when it is durable.
 */
import type { Delivery } from "../core/append-record.ts";
import type { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import type { Parsed } from "../core/table.ts";
import type { Actor, KeyedResult, States } from "./actor.ts";
import type { Expect, SendResult } from "./results.ts";

export interface WriteOptions {
  /** Default `any`. */
  readonly expect?: Expect;
  /** Caller key, 1 to 512 UTF-8 bytes: this call takes effect once for as long as the entity lives. */
  readonly key?: string;
  /** Delivery id, set by client libraries. */
  readonly delivery?: Delivery;
}

/**
 * Who hears of a write: a server's request, or the two ends of a promise. Exactly one method is called, once, in the
 * middle of the engine's work: it must neither throw nor call the engine before it returns.
 */
export interface Answer<Result> {
  resolve(result: Result): void;
  reject(error: Error): void;
}

/** A command with its input. */
export interface CommandCall {
  readonly name: string;
  readonly input: unknown;
}

/** What is known of the caller key of a call. */
export interface KeyedCall {
  /** Once it was needed. */
  contentHash: Uint8Array | undefined;
  /** What the disk said of the key; undefined before it was asked, null when the key is new. */
  stored: KeyedResult | null | undefined;
  /** Up to where the actor was recorded then: what it has recorded since may be a call under the same key. */
  askedAt: number;
}

/** Twelve fields: with one more the runtime gives an object 160 bytes instead of 112. */
export class Write {
  actor: Actor;
  /** Events to append, or undefined for a command. */
  readonly events: readonly NewEvent[] | undefined;
  /** What the data of the events was read from, as one list; it then need not be written again. */
  readonly parsed: Parsed | undefined;
  readonly command: CommandCall | undefined;
  readonly options: WriteOptions | undefined;
  readonly answer: Answer<SendResult>;
  /** Of a call with a caller key, once something is. */
  keyed: KeyedCall | undefined;
  /** Why it was refused, when what it was decided on is not durable yet. */
  error: WarpError | undefined;
  /** Set when it is appended. */
  result: SendResult | undefined;
  seq = 0;
  states: States;
  position = 0;

  /** Either `events` or `command`; an answer alone waits for what its actor has appended. */
  constructor(
    actor: Actor,
    events: readonly NewEvent[] | undefined,
    command: CommandCall | undefined,
    options: WriteOptions | undefined,
    answer: Answer<SendResult>,
    parsed?: Parsed,
  ) {
    this.actor = actor;
    this.events = events;
    this.parsed = parsed;
    this.command = command;
    this.options = options;
    this.answer = answer;
  }
}

/** What the write's actor will have committed when the write's turn is durable. */
export function noteTip(write: Write): void {
  write.seq = write.actor.tipSeq;
  write.states = write.actor.tipStates;
}

/** The text that the data was read from. */
export function textOf({ parsed }: Write): string | undefined {
  return typeof parsed === "string" ? parsed : undefined;
}
