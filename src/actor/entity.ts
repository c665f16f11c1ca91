/**
 * The handle of one entity, as a program sees it. Cheap to make: it holds no state of its own and does not keep the
 * entity's place in memory; but what it saw last is collected only once it is used again or let go.
 */
import type { Aggregate, StateOf } from "../aggregate/aggregate.ts";
import { WarpError } from "../core/errors.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import { Promised } from "../core/promised.ts";
import type { Parsed } from "../core/table.ts";
import { type Actor, erased, type States } from "./actor.ts";
import type { Engine } from "./engine.ts";
import type { Folding } from "./folding.ts";
import type {
  DeleteOptions,
  DeletePlan,
  ExportCursor,
  ExportPage,
  Hold,
  HoldOptions,
  Privacy,
  Receipt,
} from "./privacy.ts";
import type { Residency } from "./residency.ts";
import type { AppendResult, SendResult } from "./results.ts";
import { type EventsQuery, type HistoryParts, type Moment, readEvents, statesAt } from "./storage/history.ts";
import { type Answer, Write, type WriteOptions } from "./write.ts";

export interface EntityParts {
  readonly engine: Engine;
  readonly residency: Residency;
  readonly folding: Folding;
  readonly history: HistoryParts;
  readonly privacy: Privacy;
}

export class Entity {
  readonly id: string;
  readonly #parts: EntityParts;
  #actor: Actor;

  /** Use `warp.entity(id)`. */
  constructor(parts: EntityParts, actor: Actor) {
    this.id = actor.id;
    this.#parts = parts;
    this.#actor = actor;
  }

  /**
   * Appends one event. Resolves when it is durable, or with the conflict when `expect` does not hold. Its data belongs to Warp
   * from now on: states may keep its objects, so nobody changes them any more.
   * Errors: INVALID_EVENT, EVENT_TOO_LARGE, EVOLVE_FAILED, KEY_REUSED, OVERLOADED, OUTCOME_UNKNOWN, ENGINE_FAILED.
   */
  append(event: NewEvent, options?: WriteOptions): Promise<AppendResult> {
    const answer = new Promised<SendResult>();
    this.appendInto(answer, [event], own(options));
    return answer.promise as Promise<AppendResult>;
  }

  /** Appends up to 10,000 events, all or none. The list itself stays the caller's. Errors as {@link append}. */
  appendBatch(events: readonly NewEvent[], options?: WriteOptions): Promise<AppendResult> {
    const answer = new Promised<SendResult>();
    // It may be taken only when its entity has been read from the disk, and the list be filled again by then.
    this.appendInto(answer, Array.isArray(events) ? events.slice() : events, own(options));
    return answer.promise as Promise<AppendResult>;
  }

  /**
   * As {@link appendBatch}, with no promise in between: what a server calls for every request. `parsed` is the JSON text
   * that the list of the events' data was parsed from, when it was. Never throws.
   */
  appendInto(
    answer: Answer<SendResult>,
    events: readonly NewEvent[],
    options?: WriteOptions,
    parsed?: Parsed,
  ): void {
    this.#parts.engine.submit(new Write(this.#actor, events, undefined, options, answer, parsed));
  }

  /**
   * Runs a command of an aggregate in the actor and appends what it decides. The name may be qualified by the
   * aggregate's: `account.debit`. The input belongs to Warp from now on, as events do: the command may be run when its entity has been
   * read from the disk. Errors as {@link append}, UNKNOWN_COMMAND, COMMAND_FAILED.
   */
  send(command: string, input?: unknown, options?: WriteOptions): Promise<SendResult> {
    const answer = new Promised<SendResult>();
    this.sendInto(answer, command, input, own(options));
    return answer.promise;
  }

  /** As {@link send}, with no promise in between. Never throws. */
  sendInto(answer: Answer<SendResult>, command: string, input: unknown, options?: WriteOptions): void {
    this.#parts.engine.submit(new Write(this.#actor, undefined, { name: command, input }, options, answer));
  }

  /** Whether its actor is still in memory; a server then need not look it up. */
  get isCurrent(): boolean {
    return this.#actor.isResident;
  }

  /** The actor leaves memory, and what it holds with it. */
  letGo(): void {
    this.#actor = this.#actor.shadow();
  }

  /**
   * Looks at what calls of the first `count` handles will look at. Actors and states are cold in the processor's caches; with nothing
   * in between it fetches several at a time, and a call that comes soon does not wait for them one after the other.
   */
  static lookAhead(handles: readonly (Entity | undefined)[], count: number): number {
    let seen = 0;
    for (let i = 0; i < count; i++) {
      const handle = handles[i];
      if (handle !== undefined) seen += handle.#actor.tipSeq + handle.#actor.committedSeq;
    }
    for (let i = 0; i < count; i++) {
      const handle = handles[i];
      if (handle !== undefined && typeof handle.#actor.tipStates === "object") seen++;
    }
    return seen;
  }

  /** The same entity seen through one aggregate: typed commands and state. */
  as<State, Commands>(aggregate: Aggregate<State, Commands>): EntityView<State, Commands> {
    return new EntityView(this, aggregate);
  }

  /**
   * The committed state, at once; undefined while the entity is not in memory (then `read` loads it). Without an
   * argument, of the context's first aggregate. Never change what it returns.
   */
  state<A extends Aggregate>(aggregate: A): StateOf<A> | undefined;
  state(aggregate?: string): unknown;
  state(aggregate?: Aggregate | string): unknown {
    const actor = this.#resident();
    if (actor === undefined) return undefined;
    const { folding } = this.#parts;
    return folding.stateOf(actor.committedStates, folding.slotOf(aggregate));
  }

  /** The committed state, loaded if need be; the initial state for an entity without events. */
  read<A extends Aggregate>(aggregate: A): Promise<StateOf<A>>;
  read(aggregate?: string): Promise<unknown>;
  async read(aggregate?: Aggregate | string): Promise<unknown> {
    const slot = this.#parts.folding.slotOf(aggregate);
    return this.#parts.folding.stateOf((await this.#load()).committedStates, slot);
  }

  /** The newest durable seq; 0 for an entity without events. */
  async seq(): Promise<number> {
    return (await this.#load()).committedSeq;
  }

  /** State and seq of one moment, read together. */
  async snapshot(aggregate?: Aggregate | string): Promise<{ seq: number; state: unknown }> {
    const slot = this.#parts.folding.slotOf(aggregate);
    const actor = await this.#load();
    return { seq: actor.committedSeq, state: this.#parts.folding.stateOf(actor.committedStates, slot) };
  }

  /** As {@link snapshot}, at once, for a server; undefined while the entity is not in memory. */
  residentSnapshot(aggregate?: Aggregate | string): { seq: number; state: unknown } | undefined {
    const { engine, folding } = this.#parts;
    engine.noteRead();
    const actor = engine.failure === undefined ? this.#resident() : undefined;
    if (actor === undefined || (actor.erasedAt !== undefined && actor.committedSeq === 0)) return undefined;
    return {
      seq: actor.committedSeq,
      state: folding.stateOf(actor.committedStates, folding.slotOf(aggregate)),
    };
  }

  /** The state as it was after an event, at a time, or by what had happened at a time. */
  stateAt<A extends Aggregate>(moment: Moment, aggregate: A): Promise<StateOf<A>>;
  stateAt(moment: Moment, aggregate?: string): Promise<unknown>;
  async stateAt(moment: Moment, aggregate?: Aggregate | string): Promise<unknown> {
    const { folding, history } = this.#parts;
    const slot = folding.slotOf(aggregate);
    const states: States = await statesAt(history, await this.#load(), moment);
    return folding.stateOf(states, slot);
  }

  /** The durable events, in the newest version of their types. */
  async *events(query: EventsQuery = {}): AsyncGenerator<StoredEvent> {
    const { folding, history } = this.#parts;
    for await (const event of readEvents(history, await this.#load(), query)) yield folding.upcast(event);
  }

  /** The durable events exactly as they were stored. */
  async *storedEvents(query: EventsQuery = {}): AsyncGenerator<StoredEvent> {
    yield* readEvents(this.#parts.history, await this.#load(), query);
  }

  /**
   * Erases the entity: everything that is stored under it, and Warp's own records of it. Calls that come later are
   * answered `ERASED`, until one appends with `expect: "none"`. Resolves with the receipt.
   * Errors: INVALID_ARGUMENT, OUTCOME_UNKNOWN, ENGINE_FAILED.
   */
  delete(options: DeleteOptions = {}): Promise<Receipt> {
    return this.#parts.privacy.delete(this.id, options);
  }

  /** What a deletion would remove, and what would refuse it. Changes nothing. */
  deletePlan(): Promise<DeletePlan> {
    return this.#parts.privacy.plan(this.id);
  }

  /**
   * Everything that the context holds of the entity, as NDJSON in pieces of whole lines, with a manifest behind it.
   * Errors: INVALID_ARGUMENT when it has no events, ERASED.
   */
  export(): AsyncGenerator<string> {
    return this.#parts.privacy.export(this.id);
  }

  /** One page of an export, without the manifest: what a server hands out. */
  exportPage(cursor: ExportCursor | undefined): Promise<ExportPage> {
    return this.#parts.privacy.exportPage(this.id, cursor);
  }

  /** Refuses erasures of the entity (HELD) until the hold ends or is released. */
  hold(options: HoldOptions): Promise<Hold> {
    return this.#parts.privacy.hold(this.id, options);
  }

  releaseHold(): Promise<void> {
    return this.#parts.privacy.release(this.id);
  }

  /** The hold that is in force. */
  currentHold(): Promise<Hold | undefined> {
    return this.#parts.privacy.holdOf(this.id);
  }

  /** The actor if it is in memory and loaded; this is a use of it. */
  #resident(): Actor | undefined {
    let actor: Actor | undefined = this.#actor;
    if (!actor.isLoaded || !actor.isResident) {
      actor = this.#parts.residency.peek(this.id);
      if (actor === undefined) return undefined;
      this.#actor = actor;
    }
    actor.isRecent = true;
    return actor;
  }

  async #load(): Promise<Actor> {
    const { engine, residency } = this.#parts;
    if (engine.failure !== undefined) {
      throw new WarpError("ENGINE_FAILED", `the engine has failed: ${engine.failure.message}`);
    }
    if (!this.#actor.isResident || !this.#actor.isLoaded) this.#actor = await residency.ready(this.id);
    if (this.#actor.erasedAt !== undefined && this.#actor.committedSeq === 0) throw erased(this.#actor);
    return this.#actor;
  }
}

/** An entity seen through one of its aggregates; made by {@link Entity.as}. */
export class EntityView<State, Commands> {
  readonly entity: Entity;
  readonly #aggregate: Aggregate<State, Commands>;

  constructor(entity: Entity, aggregate: Aggregate<State, Commands>) {
    this.entity = entity;
    this.#aggregate = aggregate;
  }

  send<Name extends string & keyof Commands>(
    command: Name,
    input: Commands[Name],
    options?: WriteOptions,
  ): Promise<SendResult> {
    return this.entity.send(`${this.#aggregate.name}.${command}`, input, options);
  }

  state(): State | undefined {
    return this.entity.state(this.#aggregate.name) as State | undefined;
  }

  async read(): Promise<State> {
    return (await this.entity.read(this.#aggregate.name)) as State;
  }

  async stateAt(moment: Moment): Promise<State> {
    return (await this.entity.stateAt(moment, this.#aggregate.name)) as State;
  }
}

/** A call may be taken only when its entity has been read from the disk, and its options be those of another one by then. */
function own(options: WriteOptions | undefined): WriteOptions | undefined {
  return options === undefined ? undefined : { ...options };
}
