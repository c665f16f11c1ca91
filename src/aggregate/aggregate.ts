/**
 * Aggregates: what an application says about its entities. Checked when defined; folded by fold.ts.
 *
 * - `evolve` and commands are synchronous and pure: the same state and event give the same state, on every machine.
 * - States are values. An `initialState` that is given as a value is frozen, because all entities begin with it.
 * - An aggregate folds the event types it names; a single `evolve` function without a list folds all.
 */
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Decision } from "./command.ts";
import { eventTypeProblem } from "./event-type.ts";
import { deepFreeze } from "./freeze.ts";
import { checkRetention, type Retention } from "./retention.ts";

// biome-ignore lint/suspicious/noExplicitAny: data whose type the application has not declared; it stays in its handlers.
type Loose = any;

/** An event as `evolve` sees it: its data has the form of the newest version of its type. */
export interface FoldEvent<Type extends string = string, Data = unknown> {
  readonly entity: string;
  readonly seq: number;
  readonly type: Type;
  readonly data: Data;
  /** ms since 1970. */
  readonly recordedAt: number;
  readonly occurredAt?: number;
  /** The personal data of somebody else; null when that was erased, absent when there was none. */
  readonly personal?: unknown;
}

/** The least that a declared event or command has. */
export interface Message {
  readonly type: string;
  readonly data?: unknown;
}

type DataOf<M> = M extends { readonly data: infer Data } ? Data : undefined;
type Folded<E extends Message> = E extends Message ? FoldEvent<E["type"], DataOf<E>> : never;
type Decided<E extends Message> = E extends Message ? NewEvent<E["type"], DataOf<E>> : never;
type CommandMap<State, Event> =
  | Readonly<Record<string, (state: State, input: Loose) => Decision<Event>>>
  | readonly string[];
type InputOf<F> = F extends (...args: infer Args) => unknown
  ? Args["length"] extends 0 | 1
    ? undefined
    : Args extends [unknown, (infer Input)?]
      ? Input
      : undefined
  : never;
type Inputs<Commands, Command extends Message> = [Command] extends [never]
  ? { readonly [Name in keyof Commands as string extends Name ? never : Name]: InputOf<Commands[Name]> }
  : { readonly [C in Command as C["type"]]: DataOf<C> };

/** Per event type, how the data of a version becomes that of the next: `{ Credited: { 1: (data) => … } }`. */
export type Upcasts = Readonly<Record<string, Readonly<Record<number, (data: Loose) => unknown>>>>;

interface Definition<State, Handlers, Type extends string, Commands, Command extends Message, Event> {
  /** One of its kind in a context; without a dot. */
  readonly name: string;
  /** 1 by default. Raise it when `evolve` changes its mind about old events: snapshots are then folded again. */
  readonly version?: number;
  readonly initialState: State | (() => State);
  /** A handler per event type, or one function for all. */
  readonly evolve: Handlers;
  /** The event types of an `evolve` that is one function; every type when absent. */
  readonly events?: readonly Type[];
  /** Functions by name; or, beside `decide`, the names it takes (any name when absent). */
  readonly commands?: Commands;
  /** One function for all commands, in the order of Emmett's deciders. */
  readonly decide?: (command: Command, state: NoInfer<State>) => Decision<Event>;
  /** Events between snapshots. */
  readonly snapshotEvery?: number;
  /** How long its events are kept; for ever by default. An event goes when no aggregate that folds it keeps it. */
  readonly retention?: Retention;
  readonly upcast?: Upcasts;
}

// Deferred until the state is inferred, so that a handler's literals are read with the state in view. The compiler reads a
// handler without parameters before that: `(_) => ({ status: "shut" })` keeps the literal, `() => …` widens it to string.
type Handler<State, Event> = [State] extends [infer S] ? (state: S, event: Event) => S : never;

type LooseHandlers<State, Event> =
  | Readonly<Record<string, Handler<State, LooseEvent>>>
  | Handler<State, Event>;

type TypedHandlers<State, E extends Message> =
  | { readonly [T in E["type"]]: Handler<State, Folded<Extract<E, { type: T }>>> }
  | Handler<State, Folded<E>>;

export type Evolve = (state: unknown, event: FoldEvent) => unknown;
export type Decide = (state: unknown, input: unknown) => unknown;
export type Upcast = (data: unknown) => unknown;

/** A checked definition. Its functions are erased to `unknown`; `types` exists for the compiler only. */
export interface Aggregate<State = unknown, Commands = unknown, Event = unknown> {
  readonly name: string;
  readonly version: number;
  readonly snapshotEvery: number;
  readonly retention: Retention | undefined;
  readonly initialState: () => State;
  readonly handlers: ReadonlyMap<string, Evolve>;
  /** Folds every type; then there are no `handlers`. */
  readonly evolveAll: Evolve | undefined;
  readonly commands: ReadonlyMap<string, Decide>;
  /** Takes commands of any name. */
  readonly decideAny: ((command: { type: string; data: unknown }, state: unknown) => unknown) | undefined;
  /** By type, the function from version 1 to 2 first. */
  readonly upcasts: ReadonlyMap<string, readonly Upcast[]>;
  readonly types?: { readonly state: State; readonly commands: Commands; readonly event: Event };
}

export type StateOf<A> = A extends Aggregate<infer State, unknown, unknown> ? State : never;
/** Command names with the type of their input; `undefined` when a command has none. */
export type CommandsOf<A> = A extends Aggregate<unknown, infer Commands, unknown> ? Commands : never;
export type EventOf<A> = A extends Aggregate<unknown, unknown, infer Event> ? Event : never;
/** The arguments behind a command's name: `send(name, ...input)`. */
export type InputArguments<Input> = undefined extends Input ? [input?: Input] : [input: Input];

type LooseEvent = FoldEvent<string, Loose>;

/**
 * Declares an aggregate. `defineAggregate({ … })` infers the state and leaves event data loose;
 * `defineAggregate<AccountEvent>()({ … })` types every event, and wants a handler for each. Throws APPLICATION_INVALID.
 */
export function defineAggregate<
  State,
  Commands extends CommandMap<State, NewEvent<string, Loose>>,
  Event = LooseEvent,
  Command extends Message = never,
>(
  definition: Definition<
    State,
    LooseHandlers<NoInfer<State>, Event>,
    string,
    Commands,
    Command,
    NewEvent<string, Loose>
  >,
): Aggregate<State, Inputs<Commands, Command>, Event>;
export function defineAggregate<E extends Message>(): <
  State,
  Commands extends CommandMap<State, Decided<E>>,
  Command extends Message = never,
>(
  definition: Definition<State, TypedHandlers<NoInfer<State>, E>, E["type"], Commands, Command, Decided<E>>,
) => Aggregate<State, Inputs<Commands, Command>, Folded<E>>;
export function defineAggregate(definition?: unknown): unknown {
  return definition === undefined ? check : check(definition);
}

interface Given {
  readonly name: unknown;
  readonly version?: unknown;
  readonly initialState: unknown;
  readonly evolve: unknown;
  readonly events?: unknown;
  readonly commands?: unknown;
  readonly decide?: unknown;
  readonly snapshotEvery?: unknown;
  readonly retention?: unknown;
  readonly upcast?: unknown;
}

function check(definition: unknown): Aggregate {
  if (typeof definition !== "object" || definition === null) throw invalid("an aggregate is an object");
  const given = definition as Given;
  const { name } = given;
  if (typeof name !== "string" || name === "") throw invalid("an aggregate needs a name");
  if (name.includes(".")) throw invalid(`${name}: the name of an aggregate has no dot`);
  const where = `aggregate ${name}`;
  const typeProblem = eventTypeProblem(name);
  if (typeProblem !== undefined) throw invalid(`${where}: its name ${typeProblem}`);
  const single = typeof given.evolve === "function" ? (given.evolve as Evolve) : undefined;
  const decideAll = checkDecide(given.decide, where);
  const handlers = checkHandlers(given, single, where);
  return Object.freeze({
    name,
    version: checkCount(given.version ?? 1, `${where}: version`),
    snapshotEvery: checkCount(given.snapshotEvery ?? limits.snapshotEvery, `${where}: snapshotEvery`),
    retention: checkRetention(given.retention, where),
    initialState: checkInitialState(given.initialState, where),
    handlers,
    evolveAll: given.events === undefined ? single : undefined,
    commands: checkCommands(given.commands, decideAll, where),
    decideAny: given.commands === undefined ? decideAll : undefined,
    upcasts: checkUpcasts(given.upcast, where),
  });
}

function checkCount(value: unknown, what: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw invalid(`${what} is a whole number from 1`);
}

function checkInitialState(given: unknown, where: string): () => unknown {
  const make = typeof given === "function" ? (given as () => unknown) : undefined;
  const value = make === undefined ? deepFreeze(given) : make();
  if (value === undefined || value instanceof Promise) throw invalid(`${where}: initialState is missing`);
  return make ?? (() => value);
}

function checkHandlers(given: Given, single: Evolve | undefined, where: string): Map<string, Evolve> {
  const handlers = new Map<string, Evolve>();
  const add = (type: unknown, evolve: unknown): void => {
    const problem = eventTypeProblem(type);
    if (problem !== undefined) throw invalid(`${where}: the event type ${JSON.stringify(type)} ${problem}`);
    if (handlers.has(type as string)) throw invalid(`${where}: events names ${type} twice`);
    if (typeof evolve !== "function") throw invalid(`${where}: evolve.${type} is not a function`);
    handlers.set(type as string, evolve as Evolve);
  };
  if (single !== undefined) {
    if (given.events === undefined) return handlers;
    if (!Array.isArray(given.events) || given.events.length === 0) {
      throw invalid(`${where}: events is a list of event types`);
    }
    for (const type of given.events) add(type, single);
    return handlers;
  }
  if (given.events !== undefined) throw invalid(`${where}: events goes with an evolve that is one function`);
  if (typeof given.evolve !== "object" || given.evolve === null) {
    throw invalid(`${where}: evolve is a function, or has one per event type`);
  }
  for (const [type, evolve] of Object.entries(given.evolve)) add(type, evolve);
  if (handlers.size === 0) throw invalid(`${where}: evolve names no event type`);
  return handlers;
}

type DecideAll = (command: { type: string; data: unknown }, state: unknown) => unknown;

function checkDecide(given: unknown, where: string): DecideAll | undefined {
  if (given === undefined || typeof given === "function") return given as DecideAll | undefined;
  throw invalid(`${where}: decide is a function`);
}

function checkCommands(given: unknown, all: DecideAll | undefined, where: string): Map<string, Decide> {
  const commands = new Map<string, Decide>();
  if (given === undefined) return commands;
  if (typeof given !== "object" || given === null) throw invalid(`${where}: commands is an object`);
  const isList = Array.isArray(given);
  if (isList && all === undefined) throw invalid(`${where}: a list of commands goes with decide`);
  if (!isList && all !== undefined) throw invalid(`${where}: has both decide and functions in commands`);
  const entries: [unknown, unknown][] = isList
    ? given.map((name) => [
        name,
        all && ((state: unknown, data: unknown) => all({ type: name, data }, state)),
      ])
    : Object.entries(given);
  for (const [name, run] of entries) {
    if (typeof name !== "string" || name === "") throw invalid(`${where}: a command without a name`);
    if (name.includes(".")) throw invalid(`${where}: the name of command ${name} has no dot`);
    if (commands.has(name)) throw invalid(`${where}: commands names ${name} twice`);
    if (typeof run !== "function") throw invalid(`${where}: command ${name} is not a function`);
    commands.set(name, run as Decide);
  }
  return commands;
}

function checkUpcasts(given: unknown, where: string): Map<string, readonly Upcast[]> {
  const upcasts = new Map<string, readonly Upcast[]>();
  if (given === undefined) return upcasts;
  if (typeof given !== "object" || given === null) throw invalid(`${where}: upcast is an object`);
  for (const [type, steps] of Object.entries(given)) {
    const problem = eventTypeProblem(type);
    if (problem !== undefined) throw invalid(`${where}: upcast names a type that ${problem}`);
    if (typeof steps !== "object" || steps === null) throw invalid(`${where}: upcast.${type} is an object`);
    const functions: Upcast[] = [];
    // Integer keys come in ascending order, so a gap shows as the wrong next key.
    for (const [version, step] of Object.entries(steps)) {
      if (version !== String(functions.length + 1)) {
        throw invalid(`${where}: upcast.${type} has versions 1, 2, 3 … without a gap, not ${version}`);
      }
      if (typeof step !== "function") throw invalid(`${where}: upcast.${type}.${version} is not a function`);
      functions.push(step as Upcast);
    }
    if (functions.length >= 2 ** 16 - 1) throw invalid(`${where}: upcast.${type} has too many versions`);
    upcasts.set(type, functions);
  }
  return upcasts;
}

function invalid(message: string): WarpError {
  return new WarpError("APPLICATION_INVALID", message);
}
