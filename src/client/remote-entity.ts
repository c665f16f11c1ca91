/**
 * The handle of one entity on a server: the verbs of the library's handle, each one a request.
 *
 * Cheap to make; one that is kept and called again is cheaper to call (entity-numbers.ts).
 */

import { toWarpError, WarpError } from "../core/errors.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import { withManifest } from "../core/export-digest.ts";
import { limits } from "../core/limits.ts";
import { type DeletePlan, type Hold, type Receipt, requireWait } from "../core/receipt.ts";
import { Table } from "../core/table.ts";
import type { FrameWriter } from "../net/protocol/frame-writer.ts";
import type { AppendResult, EventsQuery, Expect, SendResult, StateAt } from "../net/protocol/outcomes.ts";
import {
  type ExportCursor,
  type ExportPage,
  writeDelete,
  writeExport,
  writeHold,
} from "../net/protocol/privacy.ts";
import type { EventsPage } from "../net/protocol/replies.ts";
import {
  type AppendDraft,
  writeAppend,
  writeEvents,
  writeSend,
  writeSeq,
  writeState,
} from "../net/protocol/requests.ts";
import { encodeValue } from "../net/protocol/value.ts";
import { operation, tableForm } from "../net/protocol/words.ts";
import { neverCalled } from "./sending/entity-numbers.ts";
import { encodeEvents, encodePlain, momentOf, pagesOf, requireExpect, requireRange } from "./encoding.ts";
import type { Link } from "./link.ts";
import type { CallOptions, Effect, WriteRequest } from "./sending/requests.ts";
import { answerMs } from "./settings.ts";

export interface WriteCall extends CallOptions {
  /** Default `any`. */
  readonly expect?: Expect;
  /** Caller key, 1 to 512 UTF-8 bytes: this call takes effect once for as long as the entity lives. */
  readonly key?: string;
}

/** Where to cut an entity's past; times are ms since 1970 or a Date. */
export type RemoteMoment =
  | { readonly seq: number }
  | { readonly recorded: number | Date }
  | { readonly occurred: number | Date };

/** What the compiler must know of an aggregate, which `defineAggregate` returns. */
export interface AggregateLike<State, Commands> {
  readonly name: string;
  readonly types?: { readonly state: State; readonly commands: Commands; readonly event: unknown };
}

export class RemoteEntity {
  readonly id: string;
  /** For the connection. */
  number = neverCalled;
  readonly #link: Link;

  /** Use `client.entity(id)`. Errors: INVALID_ARGUMENT for what is no text. */
  constructor(link: Link, id: string) {
    // A number would be sent, and be taken for that of another entity on the connection.
    if (typeof id !== "string") throw new WarpError("INVALID_ARGUMENT", "an entity id is a string", { id });
    this.#link = link;
    this.id = id;
  }

  /**
   * Appends one event. Resolves when it is durable, or with the conflict when `expect` does not hold. Lost connections
   * are repaired within the time limit, and it counts once.
   * Errors: INVALID_EVENT, EVENT_TOO_LARGE, KEY_REUSED, OVERLOADED, TIMEOUT, DISCONNECTED, ABORTED and those of the engine.
   */
  append(event: NewEvent, options?: WriteCall): Promise<AppendResult> {
    if (options !== undefined) return this.appendBatch([event], options);
    let text: string | undefined;
    try {
      text = encodePlain(event);
    } catch (thrown) {
      return Promise.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
    }
    return text === undefined ? this.appendBatch([event]) : this.#link.append(this, event.type, text);
  }

  /** Appends up to 10,000 events, all or none. Errors as {@link append}. */
  appendBatch(events: readonly NewEvent[], options?: WriteCall): Promise<AppendResult> {
    let draft: AppendDraft;
    try {
      if (options?.expect !== undefined) requireExpect(options.expect);
      draft = encodeEvents(events, this.#link.welcome?.limits.tables === tableForm);
    } catch (thrown) {
      return Promise.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
    }
    const write: WriteRequest = (writer, number, delivery, entity) =>
      writeAppend(writer, number, entity, draft, options, delivery);
    return this.#link.request(operation.append, this, options, write, lengthOf(draft.data));
  }

  /**
   * Runs a command in the entity's actor and appends what it decides. The name may be qualified by the aggregate's:
   * `account.debit`. Errors as {@link append}, UNKNOWN_COMMAND, COMMAND_FAILED.
   */
  send(command: string, input?: unknown, options?: WriteCall): Promise<SendResult> {
    return this.#link.request(operation.send, this, options, (writer, number, delivery, entity) => {
      if (options?.expect !== undefined) requireExpect(options.expect);
      const encoded = input === undefined ? undefined : encodeValue(input);
      writeSend(writer, number, entity, command, encoded, options, delivery);
    });
  }

  /** The same entity seen through one aggregate: typed commands and state. */
  as<State, Commands>(aggregate: AggregateLike<State, Commands>): RemoteView<State, Commands> {
    return new RemoteView(this, aggregate.name);
  }

  /** The committed state; the initial state for an entity without events. Without a name, of the context's first aggregate. */
  async state(aggregate?: string, options?: CallOptions): Promise<unknown> {
    return (await this.#read(aggregate, undefined, options)).state;
  }

  /** The same as {@link state}; the library's handle calls it so. */
  read(aggregate?: string, options?: CallOptions): Promise<unknown> {
    return this.state(aggregate, options);
  }

  /** The newest durable seq; 0 for an entity without events. */
  seq(options?: CallOptions): Promise<number> {
    return this.#link.request(operation.seq, this, options, (writer, number, _delivery, entity) =>
      writeSeq(writer, number, entity),
    );
  }

  /** State and seq of one moment, read together. */
  async snapshot(aggregate?: string, options?: CallOptions): Promise<{ seq: number; state: unknown }> {
    const { seq, state } = await this.#read(aggregate, undefined, options);
    return { seq: seq ?? 0, state };
  }

  /** The state as it was after an event, at a time, or by what had happened at a time. */
  async stateAt(moment: RemoteMoment, aggregate?: string, options?: CallOptions): Promise<unknown> {
    return (await this.#read(aggregate, moment, options)).state;
  }

  /** The durable events, in the newest version of their types. A page is fetched while the one before it is read. */
  events(query: EventsQuery = {}, options?: CallOptions): AsyncGenerator<StoredEvent> {
    return this.#events(query, false, options);
  }

  /** The durable events exactly as they were stored. */
  storedEvents(query: EventsQuery = {}, options?: CallOptions): AsyncGenerator<StoredEvent> {
    return this.#events(query, true, options);
  }

  /**
   * Everything that the context holds of the entity, as NDJSON in pieces of whole lines, with a manifest behind it.
   * Errors: INVALID_ARGUMENT when it has no events, ERASED.
   */
  export(options?: CallOptions): AsyncGenerator<string> {
    return withManifest(this.#exportPages(options));
  }

  async *#exportPages(options: CallOptions | undefined): AsyncGenerator<string> {
    const { id } = this;
    let cursor: ExportCursor | undefined;
    do {
      const from = cursor;
      const page = await this.#link.request<ExportPage>(operation.export, id, options, (writer, number) =>
        writeExport(writer, number, id, from),
      );
      yield page.text;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /**
   * Erases the entity; resolves with the receipt. It is not repeated when the connection is lost, since by then there may be
   * somebody new under the id: DISCONNECTED, or TIMEOUT, says by `details.outcome` whether it may have happened, or go on
   * (`unknown`), or not (`none`). When it has, the id is answered ERASED until it begins anew. `waitMs`: how long the server waits for
   * what is pending; the call waits longer than that unless its own options say otherwise.
   * Errors: HELD, INVALID_ARGUMENT, OUTCOME_UNKNOWN, TIMEOUT, DISCONNECTED.
   */
  async delete(
    erasure: { reason?: string; by?: string; waitMs?: number } = {},
    options?: CallOptions,
  ): Promise<Receipt> {
    const waitMs = requireWait(erasure.waitMs ?? limits.receiptMsServed);
    const timeoutMs = options?.timeoutMs ?? Math.max(this.#link.timeoutMs, waitMs + answerMs);
    return await this.#ask(
      { ...options, timeoutMs },
      operation.delete,
      (writer, number) => writeDelete(writer, number, this.id, erasure),
      "once",
    );
  }

  /** What a deletion would remove. Changes nothing. */
  deletePlan(options?: CallOptions): Promise<DeletePlan> {
    return this.#ask(options, operation.delete, (writer, number) =>
      writeDelete(writer, number, this.id, { dryRun: true }),
    );
  }

  /** Refuses erasures of the entity (HELD) until the hold ends or is released. Not repeated, as {@link delete}. */
  hold(hold: { reason: string; by?: string; until?: number }, options?: CallOptions): Promise<Hold> {
    return this.#ask(
      options,
      operation.hold,
      (writer, number) => writeHold(writer, number, this.id, "set", hold),
      "once",
    );
  }

  /** Not repeated, as {@link delete}. */
  async releaseHold(options?: CallOptions): Promise<void> {
    await this.#ask(
      options,
      operation.hold,
      (writer, number) => writeHold(writer, number, this.id, "release", {}),
      "once",
    );
  }

  /** The hold that is in force. */
  async currentHold(options?: CallOptions): Promise<Hold | undefined> {
    const hold = await this.#ask<Hold | null>(options, operation.hold, (writer, number) =>
      writeHold(writer, number, this.id, "get", {}),
    );
    return hold ?? undefined;
  }

  #ask<Result>(
    options: CallOptions | undefined,
    op: number,
    write: (writer: FrameWriter, number: number) => void,
    effect: Effect = "none",
  ): Promise<Result> {
    return this.#link.request<Result>(op, this.id, options, write, 0, effect);
  }

  #read(
    aggregate: string | undefined,
    moment: RemoteMoment | undefined,
    options: CallOptions | undefined,
  ): Promise<StateAt> {
    const at = moment === undefined ? undefined : momentOf(moment);
    return this.#link.request(operation.state, this, options, (writer, number, _delivery, entity) =>
      writeState(writer, number, entity, aggregate, at),
    );
  }

  #events(
    query: EventsQuery,
    stored: boolean,
    options: CallOptions | undefined,
  ): AsyncGenerator<StoredEvent> {
    const { id } = this;
    const edge = query.direction === "backward" ? "to" : "from";
    return pagesOf(query.limit, async (limit, next: number | undefined) => {
      requireRange(query);
      const page = {
        ...query,
        ...(limit === undefined ? undefined : { limit }),
        ...(next === undefined ? undefined : { [edge]: next }),
      };
      const { events, next: after } = await this.#link.request<EventsPage>(
        operation.events,
        id,
        options,
        (writer, number) => writeEvents(writer, number, id, page, stored),
      );
      return { items: events, next: after };
    });
  }
}

/** The bytes that the data of an append takes, about. */
function lengthOf(data: AppendDraft["data"]): number {
  return data instanceof Table ? data.bytesMax : data.length;
}

/** An entity seen through one of its aggregates; made by {@link RemoteEntity.as}. */
export class RemoteView<State, Commands> {
  readonly entity: RemoteEntity;
  readonly #aggregate: string;

  constructor(entity: RemoteEntity, aggregate: string) {
    this.entity = entity;
    this.#aggregate = aggregate;
  }

  send<Name extends string & keyof Commands>(
    command: Name,
    input: Commands[Name],
    options?: WriteCall,
  ): Promise<SendResult> {
    return this.entity.send(`${this.#aggregate}.${command}`, input, options);
  }

  async state(options?: CallOptions): Promise<State> {
    return (await this.entity.state(this.#aggregate, options)) as State;
  }

  /** The same as {@link state}; the library's view calls it so. */
  read(options?: CallOptions): Promise<State> {
    return this.state(options);
  }

  async stateAt(moment: RemoteMoment, options?: CallOptions): Promise<State> {
    return (await this.entity.stateAt(moment, this.#aggregate, options)) as State;
  }
}
