/**
 * What the compiler must infer and must refuse. The assignments are checked by tsc; running them checks the definitions.
 */
import { expect, test } from "bun:test";
import {
  type CommandsOf,
  defineAggregate,
  type EventOf,
  type InputArguments,
  type StateOf,
} from "./aggregate.ts";
import { reject } from "./command.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_Claim extends true>(): void {}

type AccountEvent =
  | { type: "Opened"; data: { owner: string } }
  | { type: "Credited"; data: { cents: number; ref: string } };

test("the state, the commands and their inputs are inferred", () => {
  const account = defineAggregate({
    name: "account",
    version: 1,
    initialState: { cents: 0 },
    evolve: {
      Opened: (state) => state,
      Credited: (state, { data }) => ({ cents: state.cents + data.cents }),
    },
    commands: {
      debit: (state, input: { cents: number; ref: string }) =>
        state.cents < input.cents
          ? reject("INSUFFICIENT_FUNDS", { have: state.cents })
          : { type: "Debited", data: input },
      close: (state) => (state.cents === 0 ? [{ type: "Closed", data: {} }] : undefined),
      note: (_state, input?: string) => ({ type: "Noted", data: input ?? null }),
    },
    snapshotEvery: 500,
  });
  holds<Same<StateOf<typeof account>, { cents: number }>>();
  holds<Same<CommandsOf<typeof account>["debit"], { cents: number; ref: string }>>();
  holds<Same<CommandsOf<typeof account>["close"], undefined>>();
  holds<Same<InputArguments<CommandsOf<typeof account>["close"]>, [input?: undefined]>>();
  holds<Same<InputArguments<CommandsOf<typeof account>["note"]>, [input?: string | undefined]>>();
  holds<Same<keyof CommandsOf<typeof account>, "debit" | "close" | "note">>();
  expect([...account.commands.keys()]).toEqual(["debit", "close", "note"]);
});

test("an initialState that is a function gives the state's type", () => {
  const list = defineAggregate({
    name: "list",
    initialState: () => ({ items: [] as string[] }),
    evolve: { Added: (state, { data }) => ({ items: [...state.items, data.item] }) },
  });
  holds<Same<StateOf<typeof list>, { items: string[] }>>();
  holds<Same<keyof CommandsOf<typeof list>, never>>();
  expect(list.initialState()).toEqual({ items: [] });
});

test("a handler may return the literals of a declared state", () => {
  interface Door {
    readonly status: "open" | "shut";
  }
  const initialState: Door = { status: "shut" };
  const loose = defineAggregate({
    name: "door",
    initialState,
    evolve: { Opened: (state) => ({ ...state, status: "open" }), Shut: (_) => ({ status: "shut" }) },
    commands: { toggle: (state) => ({ type: state.status === "open" ? "Shut" : "Opened", data: null }) },
  });
  const typed = defineAggregate<{ type: "Opened"; data: null } | { type: "Shut"; data: null }>()({
    name: "door",
    initialState: () => initialState,
    evolve: {
      Opened: (state) => ({ ...state, status: "open" }),
      Shut: (state) => ({ ...state, status: "shut" }),
    },
    commands: { shut: (state) => (state.status === "shut" ? undefined : { type: "Shut", data: null }) },
  });
  holds<Same<StateOf<typeof loose>, Door>>();
  holds<Same<StateOf<typeof typed>, Door>>();
  holds<Same<keyof CommandsOf<typeof typed>, "shut">>();
  expect(typed.initialState()).toEqual({ status: "shut" });
});

test("declared events type every handler and every decision", () => {
  const account = defineAggregate<AccountEvent>()({
    name: "account",
    initialState: { cents: 0, owner: "" },
    evolve: {
      Opened: (state, { data, type }) => {
        holds<Same<typeof type, "Opened">>();
        holds<Same<typeof data, { owner: string }>>();
        return { ...state, owner: data.owner };
      },
      Credited: (state, { data, seq }) => ({ ...state, cents: state.cents + data.cents * Math.sign(seq) }),
    },
    commands: {
      credit: (state, input: { cents: number }) =>
        state.owner === "" ? reject("NOT_OPEN") : { type: "Credited", data: { ...input, ref: "cash" } },
      open: (_state, owner: string) => [{ type: "Opened", data: { owner } }],
      nothing: () => undefined,
    },
  });
  holds<Same<StateOf<typeof account>, { cents: number; owner: string }>>();
  holds<Same<CommandsOf<typeof account>["credit"], { cents: number }>>();
  holds<Same<CommandsOf<typeof account>["open"], string>>();
  holds<Same<CommandsOf<typeof account>["nothing"], undefined>>();
  holds<Same<EventOf<typeof account>["type"], "Opened" | "Credited">>();
  expect([...account.handlers.keys()]).toEqual(["Opened", "Credited"]);
});

test("one evolve and one decide, as Emmett writes them, are taken as they are", () => {
  type State = { cents: number };
  type Command = { type: "Credit"; data: { cents: number } } | { type: "Empty"; data: undefined };
  const initialState = (): State => ({ cents: 0 });
  const evolve = (state: State, event: AccountEvent): State =>
    event.type === "Credited" ? { cents: state.cents + event.data.cents } : state;
  const decide = (command: Command, _state: State): AccountEvent[] =>
    command.type === "Credit" ? [{ type: "Credited", data: { ...command.data, ref: "" } }] : [];
  const definition = { name: "account", initialState, evolve, decide };
  const loose = defineAggregate({ ...definition, events: ["Credited"], commands: ["Credit", "Empty"] });
  const typed = defineAggregate<AccountEvent>()({ ...definition, events: ["Credited", "Opened"] });
  holds<Same<StateOf<typeof loose>, State>>();
  holds<Same<StateOf<typeof typed>, State>>();
  holds<Same<CommandsOf<typeof loose>["Credit"], { cents: number }>>();
  holds<Same<CommandsOf<typeof typed>["Empty"], undefined>>();
  holds<Same<EventOf<typeof loose>, AccountEvent>>();
  expect([...loose.handlers.keys()]).toEqual(["Credited"]);
  expect(typed.decideAny).toBeDefined();
});

test("what does not fit is refused by the compiler", () => {
  const name = "account";
  const initialState = { cents: 0 };
  const Opened = (state: { cents: number }) => state;
  const define = defineAggregate<AccountEvent>();
  // @ts-expect-error: no handler for Credited
  define({ name, initialState, evolve: { Opened } });
  // @ts-expect-error: a type that is not declared
  define({ name, initialState, evolve: { Opened, Credited: Opened, Debited: Opened } });
  // @ts-expect-error: a handler that returns another state
  define({ name, initialState, evolve: { Opened, Credited: () => ({ cents: "1" }) } });
  const evolve = { Opened, Credited: Opened };
  // @ts-expect-error: an event that is not declared
  define({ name, initialState, evolve, commands: { a: () => ({ type: "Closed", data: {} }) } });
  // @ts-expect-error: data of another form
  define({ name, initialState, evolve, commands: { a: () => ({ type: "Opened", data: {} }) } });
  // @ts-expect-error: a state that is not this aggregate's
  defineAggregate({ name, initialState, evolve: { Opened: (state) => ({ cents: `${state.cents}` }) } });
  // @ts-expect-error: commands are synchronous
  defineAggregate({ name, initialState, evolve, commands: { a: async () => undefined } });
  expect(true).toBe(true);
});
