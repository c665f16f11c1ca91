import { describe, expect, test } from "bun:test";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { defineAggregate } from "./aggregate.ts";

/** Definitions as JavaScript can write them, whatever the types say. */
const define = defineAggregate as unknown as (definition: unknown) => unknown;
const right = { name: "account", initialState: { cents: 0 }, evolve: { Opened: (state: unknown) => state } };

describe("a definition that is refused with APPLICATION_INVALID", () => {
  const single = (state: unknown): unknown => state;
  const long = "x".repeat(limits.eventTypeBytesMax + 1);
  test.each([
    ["an aggregate is an object", null],
    ["an aggregate needs a name", { ...right, name: "" }],
    ["an aggregate needs a name", { ...right, name: undefined }],
    ["has no dot", { ...right, name: "bank.account" }],
    ["its name is longer than", { ...right, name: long }],
    ["version is a whole number from 1", { ...right, version: 0 }],
    ["version is a whole number from 1", { ...right, version: 1.5 }],
    ["version is a whole number from 1", { ...right, version: "1" }],
    ["snapshotEvery is a whole number from 1", { ...right, snapshotEvery: 0 }],
    ["initialState is missing", { ...right, initialState: undefined }],
    ["initialState is missing", { ...right, initialState: async () => ({}) }],
    ["evolve is a function, or has one per event type", { ...right, evolve: undefined }],
    ["evolve names no event type", { ...right, evolve: {} }],
    ["evolve.Opened is not a function", { ...right, evolve: { Opened: 1 } }],
    ['the event type "" is empty', { ...right, evolve: { "": single } }],
    ["is longer than 255 bytes", { ...right, evolve: { [long]: single } }],
    ['the event type "__proto__" is reserved', { ...right, evolve: { ["__proto__"]: single } }],
    ["events is a list of event types", { ...right, evolve: single, events: [] }],
    ["events names A twice", { ...right, evolve: single, events: ["A", "A"] }],
    ["events goes with an evolve that is one function", { ...right, events: ["Opened"] }],
    ["commands is an object", { ...right, commands: 1 }],
    ["command debit is not a function", { ...right, commands: { debit: 1 } }],
    ["a command without a name", { ...right, commands: { "": single } }],
    ["the name of command a.b has no dot", { ...right, commands: { "a.b": single } }],
    ["a list of commands goes with decide", { ...right, commands: ["debit"] }],
    ["commands names a twice", { ...right, decide: single, commands: ["a", "a"] }],
    ["both decide and functions in commands", { ...right, decide: single, commands: { a: single } }],
    ["decide is a function", { ...right, decide: {} }],
    ["upcast is an object", { ...right, upcast: single }],
    ["upcast.Opened is an object", { ...right, upcast: { Opened: single } }],
    ["has versions 1, 2, 3 … without a gap, not 2", { ...right, upcast: { Opened: { 2: single } } }],
    [
      "has versions 1, 2, 3 … without a gap, not 3",
      { ...right, upcast: { Opened: { 1: single, 3: single } } },
    ],
    ["upcast.Opened.1 is not a function", { ...right, upcast: { Opened: { 1: 1 } } }],
  ])("%s", (message, definition) => {
    let thrown: unknown;
    try {
      define(definition);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(WarpError);
    expect((thrown as WarpError).code).toBe("APPLICATION_INVALID");
    expect((thrown as WarpError).message).toContain(message);
  });
});

test("what is left out has a default", () => {
  const account = defineAggregate({ name: "account", initialState: 0, evolve: { Opened: (state) => state } });
  expect(account).toMatchObject({ version: 1, snapshotEvery: limits.snapshotEvery, decideAny: undefined });
  expect(account.commands.size).toBe(0);
  expect(account.upcasts.size).toBe(0);
});

test("an initial value is frozen, and a function gives each entity its own", () => {
  const shared = defineAggregate({
    ...right,
    initialState: { nested: { list: [1] } },
    evolve: { A: (state) => state },
  });
  expect(shared.initialState()).toBe(shared.initialState());
  expect(Object.isFrozen(shared.initialState().nested.list)).toBe(true);
  const own = defineAggregate({
    ...right,
    initialState: () => ({ set: new Set() }),
    evolve: { A: (state) => state },
  });
  expect(own.initialState()).not.toBe(own.initialState());
});
