import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { type Aggregate, defineAggregate, type FoldEvent } from "./aggregate.ts";
import { Rejection, reject } from "./command.ts";
import { compileAggregates } from "./fold.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

function event(type: string, data: unknown, seq = 1): FoldEvent {
  return { entity: "alice", seq, type, data, recordedAt: 1000 + seq };
}

function failure(call: () => unknown): WarpError {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof WarpError) return thrown;
    throw thrown;
  }
  throw new Error("it did not fail");
}

const cause = new RangeError("boom");
const raise = (): never => {
  throw cause;
};

const account = defineAggregate({
  name: "account",
  initialState: { cents: 0 },
  evolve: {
    Opened: (state) => state,
    Credited: (state, { data }) => ({ cents: state.cents + data.cents }),
  },
  commands: {
    close: (state) =>
      state.cents > 0 ? reject("NOT_EMPTY", { cents: state.cents }) : { type: "Closed", data: {} },
    debit: (_state, input: { cents: number }) => [{ type: "Debited", data: input }],
  },
});
const profile = defineAggregate({
  name: "profile",
  initialState: { name: "", renamed: 0 },
  evolve: {
    Opened: (state, { data }) => ({ ...state, name: data.owner }),
    Renamed: (state, { data }) => ({ name: data.name, renamed: state.renamed + 1 }),
  },
  commands: { close: () => undefined },
});
const log = defineAggregate({
  name: "log",
  initialState: [] as readonly number[],
  evolve: (state: readonly number[], { seq }: FoldEvent) => [...state, seq],
});

describe("folding", () => {
  const plan = compileAggregates([account, profile]);

  test("each aggregate folds the types it names, on its own state", () => {
    let states = plan.initialStates();
    states = plan.fold(states, event("Opened", { owner: "Alice" }, 1));
    states = plan.fold(states, event("Credited", { cents: 5 }, 2));
    states = plan.fold(states, event("Renamed", { name: "Al" }, 3));
    expect(states).toEqual([{ cents: 5 }, { name: "Al", renamed: 1 }]);
    expect(plan.indexOf("profile")).toBe(1);
    expect(plan.indexOf("other")).toBeUndefined();
  });

  test("the array is the same when nothing changed, and is never changed itself", () => {
    const states = Object.freeze(plan.initialStates());
    expect(plan.fold(states, event("Unknown", {}))).toBe(states);
    const next = plan.fold(states, event("Credited", { cents: 1 }));
    expect(next).not.toBe(states);
    expect(next[1]).toBe(states[1]);
    expect(states).toEqual([{ cents: 0 }, { name: "", renamed: 0 }]);
    expect(compileAggregates([account]).fold([{ cents: 1 }], event("Opened", {}))).toEqual([{ cents: 1 }]);
  });

  test("an aggregate with one evolve and no list folds every type", () => {
    const all = compileAggregates([account, log]);
    expect(all.handlersOf("Credited").map((handler) => handler.aggregate)).toEqual(["account", "log"]);
    expect(all.handlersOf("Unknown").map((handler) => handler.aggregate)).toEqual(["log"]);
    expect(all.foldOne(1, [], event("Unknown", {}, 7))).toEqual([7]);
    expect(all.foldOne(0, "unchanged", event("Unknown", {}, 7))).toBe("unchanged");
  });

  test("types named like parts of Object are types like any other", () => {
    expect(plan.handlersOf("constructor")).toEqual([]);
    expect(plan.versionOf("toString")).toBe(1);
    expect(plan.command("hasOwnProperty")).toBeUndefined();
  });

  test("folding all aggregates is folding each alone", () => {
    const types = fc.constantFrom("Opened", "Credited", "Renamed", "Other");
    const plans = compileAggregates([account, profile, log]);
    fc.assert(
      fc.property(fc.array(fc.tuple(types, fc.integer())), (generated) => {
        let states = plans.initialStates();
        const alone = [...states];
        generated.forEach(([type, cents], i) => {
          const next = event(type, { cents, name: `${cents}`, owner: `${cents}` }, i + 1);
          states = plans.fold(states, next);
          for (const index of alone.keys()) alone[index] = plans.foldOne(index, alone[index], next);
        });
        expect(states).toEqual(alone);
      }),
      { seed, numRuns: 200 },
    );
  });
});

describe("a failing evolve", () => {
  const failing = (evolve: () => unknown): (() => unknown) => {
    const aggregate = defineAggregate({
      name: "bad",
      initialState: {},
      evolve: { Moved: evolve as () => object },
    });
    const plan = compileAggregates([aggregate]);
    return () => plan.fold(plan.initialStates(), event("Moved", {}, 12));
  };
  test.each([
    ["throws", raise, "threw: boom"],
    ["returns nothing", () => undefined, "returned no state"],
    ["is async", async () => ({}), "returned a Promise"],
    ["is async and rejects", () => Promise.reject(cause), "returned a Promise"],
  ])("that %s is EVOLVE_FAILED and names where", (_, evolve, why) => {
    const error = failure(failing(evolve));
    expect(error.code).toBe("EVOLVE_FAILED");
    expect(error.message).toContain(why);
    expect(error.message).toContain('evolve of bad for Moved on entity "alice" at seq 12');
    expect(error.details).toEqual({ aggregate: "bad", type: "Moved", entity: "alice", seq: 12 });
    if (why.startsWith("threw")) expect(error.cause).toBe(cause);
  });

  test("that changes the initial state fails instead of changing it for every entity", () => {
    const mutating = defineAggregate({
      name: "bad",
      initialState: { items: [] as number[] },
      evolve: {
        Added: (state) => {
          state.items.push(1);
          return state;
        },
      },
    });
    const plan = compileAggregates([mutating]);
    expect(failure(() => plan.fold(plan.initialStates(), event("Added", {}))).code).toBe("EVOLVE_FAILED");
    expect(plan.initialStates()).toEqual([{ items: [] }]);
  });

  test("leaves the states of the aggregates before it as they were", () => {
    const bad = defineAggregate({
      name: "bad",
      initialState: {},
      evolve: {
        Credited: () => {
          throw cause;
        },
      },
    });
    const plan = compileAggregates([account, bad]);
    const states = plan.initialStates();
    expect(failure(() => plan.fold(states, event("Credited", { cents: 1 }))).code).toBe("EVOLVE_FAILED");
    expect(states).toEqual([{ cents: 0 }, {}]);
  });
});

describe("upcasts", () => {
  const upcast = {
    Credited: {
      1: (data: { euros: number }) => ({ cents: data.euros * 100 }),
      2: (data: { cents: number }) => ({ ...data, currency: "EUR" }),
    },
  };
  const versioned = defineAggregate({
    name: "a",
    initialState: 0,
    evolve: { Credited: (n) => n + 1 },
    upcast,
  });
  const plan = compileAggregates([versioned, profile]);

  test("run in sequence from the version that was stored", () => {
    expect(plan.versionOf("Credited")).toBe(3);
    expect(plan.versionOf("Opened")).toBe(1);
    expect(plan.upcast("Credited", 1, { euros: 2 })).toEqual({ cents: 200, currency: "EUR" });
    expect(plan.upcast("Credited", 2, { cents: 2 })).toEqual({ cents: 2, currency: "EUR" });
    const newest = { cents: 2, currency: "USD" };
    expect(plan.upcast("Credited", 3, newest)).toBe(newest);
  });

  test("give a stored event its newest form, and leave the others alone", () => {
    const stored = { ...event("Credited", { euros: 1 }), version: 1, position: 1 };
    expect(plan.upcastEvent(stored)).toEqual({
      ...stored,
      version: 3,
      data: { cents: 100, currency: "EUR" },
    });
    const newest = { ...stored, version: 3 };
    expect(plan.upcastEvent(newest)).toBe(newest);
  });

  test("of a version from the future, or that throw, say so", () => {
    const future = failure(() => plan.upcast("Credited", 4, {}));
    expect(future.code).toBe("APPLICATION_INVALID");
    expect(future.message).toContain("stored as version 4; this application knows 1 to 3");
    const stored = { ...event("Credited", null, 9), version: 1, position: 1 };
    const broken = failure(() => plan.upcastEvent(stored));
    expect(broken.code).toBe("EVOLVE_FAILED");
    expect(broken.message).toContain('entity "alice", seq 9: the upcast of Credited from version 1 threw');
    expect(broken.details).toMatchObject({ entity: "alice", seq: 9, type: "Credited", version: 1 });
  });

  test("may be shared by aggregates, and must not differ between them", () => {
    const same = defineAggregate({ name: "b", initialState: 0, evolve: { Credited: (n) => n }, upcast });
    expect(compileAggregates([versioned, same]).versionOf("Credited")).toBe(3);
    const other = defineAggregate({
      name: "c",
      initialState: 0,
      evolve: { Credited: (n) => n },
      upcast: { Credited: { 1: () => ({}) } },
    });
    const error = failure(() => compileAggregates([versioned, other]));
    expect(error.code).toBe("APPLICATION_INVALID");
    expect(error.message).toContain("different upcasts for Credited");
  });
});

describe("commands", () => {
  const plan = compileAggregates([account, profile]);
  const decideOn = (name: string, state: unknown, input?: unknown, of = plan) =>
    of.command(name)?.decide(state, input, "alice");

  test("are found by their name, or by the qualified one", () => {
    expect(plan.command("debit")).toMatchObject({ index: 0, aggregate: "account", name: "debit" });
    expect(plan.command("profile.close")).toMatchObject({ index: 1, aggregate: "profile", name: "close" });
    expect(plan.command("unknown")).toBeUndefined();
    expect(plan.command("profile.debit")).toBeUndefined();
  });

  test("that several aggregates have must be qualified", () => {
    const error = failure(() => plan.command("close"));
    expect(error.code).toBe("UNKNOWN_COMMAND");
    expect(error.message).toContain("say account.close or profile.close");
  });

  test("decide one event, many, none, or a rejection", () => {
    const debited: NewEvent = { type: "Debited", data: { cents: 1 } };
    expect(decideOn("debit", { cents: 1 }, { cents: 1 })).toEqual([debited]);
    expect(decideOn("account.close", { cents: 0 })).toEqual([{ type: "Closed", data: {} }]);
    expect(decideOn("profile.close", {})).toEqual([]);
    const rejection = decideOn("account.close", { cents: 3 });
    expect(rejection).toBeInstanceOf(Rejection);
    expect(rejection).toMatchObject({ code: "NOT_EMPTY", details: { cents: 3 } });
  });

  test.each([
    ["throws", raise, "threw: boom"],
    ["is async", async () => undefined, "returned a Promise"],
    ["returns text", () => "Debited", "returned string, which is no event"],
    ["returns an event without type", () => [{ data: 1 }], "an event whose type is not a string"],
    ["returns an empty type", () => ({ type: "", data: 1 }), "an event whose type is empty"],
    ["rejects without a code", () => reject(""), "rejected without a code"],
    ["rejects with a Map", () => reject("NO", new Map()), "details that are not JSON data"],
    [
      "rejects with half a character",
      () => reject("NO", { name: "\ud83d" }),
      "details that are not JSON data",
    ],
  ])("that %s is COMMAND_FAILED and names where", (_, run, why) => {
    const commands = { act: run as unknown as () => undefined };
    const bad = defineAggregate({ name: "bad", initialState: 0, evolve: { A: (n) => n }, commands });
    const error = failure(() => decideOn("act", 0, undefined, compileAggregates([bad])));
    expect(error.code).toBe("COMMAND_FAILED");
    expect(error.message).toContain('command act of bad on entity "alice"');
    expect(error.message).toContain(why);
    if (why.startsWith("threw")) expect(error.cause).toBe(cause);
  });

  test("of one decide get the command as Emmett has it, by a list of names or by any name", () => {
    const evolve = (n: number): number => n;
    const decide = (command: { type: string; data: unknown }, state: number) => ({
      type: command.type,
      data: state,
    });
    const listed = defineAggregate({ name: "l", initialState: 1, evolve, decide, commands: ["Do"] });
    const any = defineAggregate({ name: "a", initialState: 1, evolve, decide });
    const both = compileAggregates([listed, any]);
    expect(both.command("Do")).toMatchObject({ aggregate: "l" });
    expect(both.command("Other")).toMatchObject({ aggregate: "a", name: "Other", index: 1 });
    expect(decideOn("a.Do", 4, {}, both)).toEqual([{ type: "Do", data: 4 }]);
    expect(both.command("l.Other")).toBeUndefined();
    expect(compileAggregates([any, { ...any, name: "b" }]).command("Other")).toBeUndefined();
    expect(compileAggregates([any, { ...any, name: "b" }]).command("b.Other")).toMatchObject({
      aggregate: "b",
    });
  });
});

describe("the plan", () => {
  test("refuses two aggregates of one name", () => {
    const error = failure(() => compileAggregates([account, account]));
    expect([error.code, error.message]).toEqual(["APPLICATION_INVALID", "two aggregates are called account"]);
  });

  test("without aggregates is the document", () => {
    const plan = compileAggregates([]);
    let states = plan.initialStates();
    states = plan.fold(states, event("Named", { name: "Al", tags: ["a"] }, 1));
    states = plan.fold(states, event("constructor", { tags: null, address: { city: "X" } }, 2));
    states = plan.fold(states, event("Named", { address: { zip: "1" } }, 3));
    expect(plan.aggregates.map((aggregate: Aggregate) => aggregate.name)).toEqual(["document"]);
    expect(states).toEqual([
      { counts: { Named: 2, constructor: 1 }, value: { name: "Al", address: { city: "X", zip: "1" } } },
    ]);
  });
});
