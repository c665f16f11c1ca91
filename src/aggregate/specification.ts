/**
 * Given/when/then specifications of deciders: past events, a command, and what must come of it.
 *
 * They run on the same fold plan as the engine, on frozen states, and need no test runner: a specification that does
 * not hold throws an Error whose message shows the difference. The methods are not called `then`, because `await` would
 * take the object for a promise.
 */
import { inspect, isDeepStrictEqual } from "node:util";
import type { NewEvent } from "../core/event.ts";
import type { Aggregate, CommandsOf, InputArguments, StateOf } from "./aggregate.ts";
import { Rejection } from "./command.ts";
import { compileAggregates } from "./fold.ts";
import { deepFreeze } from "./freeze.ts";

/** What a command came to: events (none for nothing) or a rejection. */
export interface Outcome<State> {
  /** Exactly these events, in order; one event may stand without an array. */
  readonly thenEvents: (events: NewEvent | readonly NewEvent[]) => void;
  /** No events and no rejection. */
  readonly thenNothing: () => void;
  /** The state after the events. */
  readonly thenState: (state: State) => void;
  /** A rejection with this code; `details` are compared when given. */
  readonly thenRejects: (code: string, details?: unknown) => void;
}

export interface Given<State, Commands> {
  readonly when: <Name extends keyof Commands & string>(
    command: Name,
    ...input: InputArguments<Commands[Name]>
  ) => Outcome<State>;
  /** The state that the given events fold to. */
  readonly thenState: (state: State) => void;
}

export interface Specification<State, Commands> {
  /**
   * Past events; `occurredAt` and `personal` as they would be appended, or as they are read when who was spoken of is erased:
   * with `personal.data` null. `recordedAt` is their seq, in ms since 1970.
   */
  readonly given: (events: NewEvent | readonly NewEvent[]) => Given<State, Commands>;
}

/** `specification(account).given([opened]).when("debit", { cents: 5 }).thenRejects("INSUFFICIENT_FUNDS")`. */
export function specification<A extends Aggregate>(aggregate: A): Specification<StateOf<A>, CommandsOf<A>> {
  const plan = compileAggregates([aggregate]);
  const entity = "specified";
  const foldAll = (state: unknown, events: readonly NewEvent[], seqBefore: number): unknown =>
    events.reduce((before, { type, data, occurredAt, personal }, i) => {
      const seq = seqBefore + i + 1;
      const event = { entity, seq, type, data: deepFreeze(data), recordedAt: seq };
      const at = occurredAt === undefined ? {} : { occurredAt: Number(occurredAt) };
      const said = personal === undefined ? {} : { personal: deepFreeze(personal.data) };
      return deepFreeze(plan.foldOne(0, before, { ...event, ...at, ...said }));
    }, state);

  return {
    given: (events) => {
      const past = listOf(events);
      const state = foldAll(deepFreeze(aggregate.initialState()), past, 0);
      return {
        thenState: (expected) => compare("state", state, expected),
        when: (name, ...[input]) => {
          const command = plan.command(name);
          if (command === undefined) throw new Error(`aggregate ${aggregate.name} has no command ${name}`);
          const decision = command.decide(state, input, entity);
          return outcomeOf(decision, (decided) => foldAll(state, decided, past.length));
        },
      };
    },
  };
}

function outcomeOf<State>(
  decision: readonly NewEvent[] | Rejection,
  foldOn: (events: readonly NewEvent[]) => unknown,
): Outcome<State> {
  const decidedEvents = (): readonly NewEvent[] => {
    if (!(decision instanceof Rejection)) return decision;
    throw new Error(`events were expected, but the command rejected with ${show({ ...decision })}`);
  };
  return {
    thenEvents: (expected) => compare("events", decidedEvents(), listOf(expected)),
    thenNothing: () => compare("events", decidedEvents(), []),
    thenState: (expected) => compare("state", foldOn(decidedEvents()), expected),
    thenRejects: (code, details) => {
      if (!(decision instanceof Rejection)) {
        throw new Error(`a rejection with ${code} was expected, but the command decided ${show(decision)}`);
      }
      const expected = { code, details: details === undefined ? decision.details : details };
      compare("rejection", { code: decision.code, details: decision.details }, expected);
    },
  };
}

function listOf(events: NewEvent | readonly NewEvent[]): readonly NewEvent[] {
  return Array.isArray(events) ? events : [events as NewEvent];
}

function compare(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(
    `other ${what} than expected (- expected, + actual)\n${difference(show(expected), show(actual))}`,
  );
}

function show(value: unknown): string {
  return inspect(value, { depth: Number.POSITIVE_INFINITY, sorted: true, compact: false });
}

/** Lines of both texts by their longest common subsequence, marked `-`, `+` or unmarked. */
function difference(expected: string, actual: string): string {
  const a = expected.split("\n");
  const b = actual.split("\n");
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const [down, right] = [common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0];
      common[i * width + j] =
        a[i] === b[j] ? (common[(i + 1) * width + j + 1] ?? 0) + 1 : Math.max(down, right);
    }
  }
  const lines: string[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(`  ${a[i++]}`);
      j++;
    } else if (
      j === b.length ||
      (i < a.length && (common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0))
    ) {
      lines.push(`- ${a[i++]}`);
    } else {
      lines.push(`+ ${b[j++]}`);
    }
  }
  return lines.join("\n");
}
