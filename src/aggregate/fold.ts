/**
 * The fold plan: all aggregates of a context, compiled for the path that every event takes.
 *
 * - The states of an entity are an array with one element per aggregate, in the order of the plan. It is never changed:
 *   folding returns the same array when no state changed, and a new one otherwise.
 * - A failed fold changes nothing, and says which aggregate, event and entity (EVOLVE_FAILED).
 * - Upcasts belong to the event type, whichever aggregate declares them: everyone sees the newest form.
 * - Folding allocates nothing but the new array: what is checked here runs for every event.
 */
import { toWarpError, WarpError } from "../core/errors.ts";
import type { NewEvent, StoredEvent } from "../core/event.ts";
import type { Aggregate, Decide, Evolve, FoldEvent, Upcast } from "./aggregate.ts";
import { decide, type Rejection } from "./command.ts";
import { document } from "./document.ts";

/** One aggregate's part in folding a type. */
export interface Handler {
  /** Index of its state. */
  readonly index: number;
  readonly aggregate: string;
  readonly evolve: Evolve;
}

/** A command that was looked up once and can be run on many states. */
export interface Command {
  /** Index of the state it decides on. */
  readonly index: number;
  readonly aggregate: string;
  readonly name: string;
  /** The events, their data unchecked, or the rejection; throws COMMAND_FAILED. `entity` is for messages. */
  readonly decide: (state: unknown, input: unknown, entity: string) => readonly NewEvent[] | Rejection;
}

/** Compiles aggregates; `document` when there are none. Throws APPLICATION_INVALID. */
export function compileAggregates(aggregates: readonly Aggregate[]): FoldPlan {
  return new FoldPlan(aggregates.length === 0 ? [document] : aggregates);
}

export class FoldPlan {
  readonly aggregates: readonly Aggregate[];
  readonly #indexes = new Map<string, number>();
  readonly #handlers = new Map<string, readonly Handler[]>();
  /** For types that no aggregate names: those that fold every type. */
  readonly #handlersOfOthers: readonly Handler[];
  /** Of the type that was asked for last: events of a type come in a row. */
  #recentType: string | undefined;
  #recentHandlers: readonly Handler[] = [];
  readonly #upcasts = new Map<string, readonly Upcast[]>();
  /** By name and by qualified name; undefined marks a name that several aggregates have. */
  readonly #commands = new Map<string, Command | undefined>();

  constructor(aggregates: readonly Aggregate[]) {
    this.aggregates = [...aggregates];
    for (const [index, aggregate] of aggregates.entries()) {
      if (this.#indexes.has(aggregate.name)) throw invalid(`two aggregates are called ${aggregate.name}`);
      this.#indexes.set(aggregate.name, index);
      this.#addUpcasts(aggregate);
      for (const [name, run] of aggregate.commands) this.#addCommand(index, aggregate, name, run);
    }
    this.#handlersOfOthers = this.#handlersFor(undefined);
    for (const { handlers } of aggregates) {
      for (const type of handlers.keys()) {
        if (!this.#handlers.has(type)) this.#handlers.set(type, this.#handlersFor(type));
      }
    }
  }

  /** Index of an aggregate's state; undefined when the context has no aggregate of this name. */
  indexOf(aggregate: string): number | undefined {
    return this.#indexes.get(aggregate);
  }

  /** True when the aggregate at `index` folds events of one of these types. */
  foldsAny(index: number, types: readonly string[]): boolean {
    return types.some((type) => this.handlersOf(type).some((handler) => handler.index === index));
  }

  /** The states of an entity without events. */
  initialStates(): readonly unknown[] {
    return this.aggregates.map((aggregate) => aggregate.initialState());
  }

  /** Who folds events of this type. */
  handlersOf(type: string): readonly Handler[] {
    if (type !== this.#recentType) {
      this.#recentHandlers = this.#handlers.get(type) ?? this.#handlersOfOthers;
      this.#recentType = type;
    }
    return this.#recentHandlers;
  }

  /** The states after `event`, whose data has the newest form ({@link upcastEvent}). */
  fold(
    states: readonly unknown[],
    event: FoldEvent,
    handlers = this.handlersOf(event.type),
  ): readonly unknown[] {
    let next = states;
    let changed: unknown[] | undefined;
    for (let i = 0; i < handlers.length; i++) {
      const handler = handlers[i];
      if (handler === undefined) break;
      const before = next[handler.index];
      const after = evolve(handler, before, event);
      if (after === before) continue;
      if (changed === undefined) {
        changed = states.slice();
        next = changed;
      }
      changed[handler.index] = after;
    }
    return next;
  }

  /**
   * The state of one aggregate after `event`, for folding from a snapshot that is older or newer than the others'.
   * The same as {@link fold}, limited to the aggregate at `index`.
   */
  foldOne(index: number, state: unknown, event: FoldEvent): unknown {
    for (const handler of this.handlersOf(event.type)) {
      if (handler.index === index) return evolve(handler, state, event);
    }
    return state;
  }

  /** The version that events of this type are stored under: 1 if no aggregate declares upcasts. */
  versionOf(type: string): number {
    const steps = this.#upcasts.get(type);
    return steps === undefined ? 1 : steps.length + 1;
  }

  /** `data` of an event of this version, in the form of {@link versionOf}. */
  upcast(type: string, version: number, data: unknown): unknown {
    const steps = this.#upcasts.get(type);
    const newest = steps === undefined ? 1 : steps.length + 1;
    if (version === newest) return data;
    if (version > newest || version < 1) {
      const message = `an event of type ${type} was stored as version ${version}; this application knows 1 to ${newest}`;
      throw new WarpError("APPLICATION_INVALID", message, { type, version, newest });
    }
    let current = data;
    for (let from = version; from < newest; from++)
      current = upcastOnce(type, from, steps?.[from - 1], current);
    return current;
  }

  /** A stored event with the newest form of its data; the event itself when it has that already. */
  upcastEvent(event: StoredEvent): StoredEvent {
    const { type, version, entity, seq } = event;
    const newest = this.versionOf(type);
    if (version === newest) return event;
    try {
      return { ...event, version: newest, data: this.upcast(type, version, event.data) };
    } catch (thrown) {
      const { code, message, details, cause } = toWarpError(thrown, "EVOLVE_FAILED");
      const where = `entity ${JSON.stringify(entity)}, seq ${seq}: ${message}`;
      throw new WarpError(code, where, { ...details, entity, seq }, cause);
    }
  }

  /**
   * A command by its name, or by `aggregate.name`. Undefined when there is none; throws UNKNOWN_COMMAND when several
   * aggregates have one of this name.
   */
  command(name: string): Command | undefined {
    const known = this.#commands.get(name);
    if (known !== undefined) return known;
    if (this.#commands.has(name)) {
      const owners = this.aggregates.filter((aggregate) => aggregate.commands.has(name));
      const names = owners.map((aggregate) => `${aggregate.name}.${name}`).join(" or ");
      throw new WarpError("UNKNOWN_COMMAND", `several aggregates have a command ${name}: say ${names}`, {
        name,
      });
    }
    return this.#commandOfAnyName(name);
  }

  /** For aggregates whose `decide` takes every name: the one that is named, or the only one there is. */
  #commandOfAnyName(name: string): Command | undefined {
    const dot = name.indexOf(".");
    const qualifier = dot < 0 ? undefined : name.slice(0, dot);
    const takers = this.aggregates.filter(
      ({ decideAny, name }) => decideAny !== undefined && (qualifier === undefined || qualifier === name),
    );
    const [taker] = takers;
    if (taker?.decideAny === undefined || takers.length > 1 || name === "") return undefined;
    const type = name.slice(dot + 1);
    const decideAny = taker.decideAny;
    const index = this.#indexes.get(taker.name) ?? 0;
    return toCommand(index, taker.name, type, (state, data) => decideAny({ type, data }, state));
  }

  #addCommand(index: number, aggregate: Aggregate, name: string, run: Decide): void {
    const command = toCommand(index, aggregate.name, name, run);
    this.#commands.set(`${aggregate.name}.${name}`, command);
    this.#commands.set(name, this.#commands.has(name) ? undefined : command);
  }

  #addUpcasts(aggregate: Aggregate): void {
    for (const [type, steps] of aggregate.upcasts) {
      const others = this.#upcasts.get(type);
      const isSame =
        others === undefined ||
        (others.length === steps.length && others.every((step, from) => step === steps[from]));
      if (!isSame) throw invalid(`two aggregates declare different upcasts for ${type}: share one object`);
      this.#upcasts.set(type, steps);
    }
  }

  #handlersFor(type: string | undefined): readonly Handler[] {
    const handlers: Handler[] = [];
    for (const [index, { name, handlers: named, evolveAll }] of this.aggregates.entries()) {
      const evolve = (type === undefined ? undefined : named.get(type)) ?? evolveAll;
      if (evolve !== undefined) handlers.push({ index, aggregate: name, evolve });
    }
    return handlers;
  }
}

function evolve(handler: Handler, before: unknown, event: FoldEvent): unknown {
  const run = handler.evolve;
  let after: unknown;
  try {
    after = run(before, event);
  } catch (thrown) {
    throw evolveFailed(handler, event, `threw: ${messageOf(thrown)}`, thrown);
  }
  if (after === undefined) throw evolveFailed(handler, event, "returned no state");
  if (after instanceof Promise) {
    // Its own failure would otherwise be reported as unhandled, beside the one that is thrown here.
    after.catch(() => undefined);
    throw evolveFailed(handler, event, "returned a Promise: fold on the event alone");
  }
  return after;
}

function toCommand(index: number, aggregate: string, name: string, run: Decide): Command {
  return {
    index,
    aggregate,
    name,
    decide: (state, input, entity) => decide(run, state, input, { aggregate, command: name, entity }),
  };
}

function upcastOnce(type: string, from: number, step: Upcast | undefined, data: unknown): unknown {
  const failed = (why: string, cause?: unknown): WarpError =>
    new WarpError(
      "EVOLVE_FAILED",
      `the upcast of ${type} from version ${from} ${why}`,
      { type, version: from },
      cause,
    );
  let next: unknown;
  try {
    next = step?.(data);
  } catch (thrown) {
    throw failed(`threw: ${messageOf(thrown)}`, thrown);
  }
  if (next === undefined || next instanceof Promise) throw failed("returned no data");
  return next;
}

function evolveFailed(handler: Handler, event: FoldEvent, why: string, cause?: unknown): WarpError {
  const { aggregate } = handler;
  const { type, entity, seq } = event;
  const message = `evolve of ${aggregate} for ${type} on entity ${JSON.stringify(entity)} at seq ${seq} ${why}`;
  return new WarpError("EVOLVE_FAILED", message, { aggregate, type, entity, seq }, cause);
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function invalid(message: string): WarpError {
  return new WarpError("APPLICATION_INVALID", message);
}
