import { describe, expect, test } from "bun:test";
import { defineAggregate } from "./aggregate.ts";
import { reject } from "./command.ts";
import { specification } from "./specification.ts";

const account = defineAggregate({
  name: "account",
  initialState: { cents: 0, lastSeq: 0 },
  evolve: {
    Credited: (state, { data, seq }) => ({ cents: state.cents + data.cents, lastSeq: seq }),
    Debited: (state, { data, seq }) => ({ cents: state.cents - data.cents, lastSeq: seq }),
  },
  commands: {
    debit: (state, input: { cents: number }) =>
      state.cents < input.cents
        ? reject("INSUFFICIENT_FUNDS", { have: state.cents })
        : { type: "Debited", data: input },
    sweep: (state) => (state.cents === 0 ? [] : [{ type: "Debited", data: { cents: state.cents } }]),
  },
});
const { given } = specification(account);
const credited = (cents: number) => ({ type: "Credited", data: { cents } });

describe("a specification that holds", () => {
  test("says nothing", () => {
    given([]).thenState({ cents: 0, lastSeq: 0 });
    given(credited(5)).thenState({ cents: 5, lastSeq: 1 });
    given([credited(5), credited(6)]).thenState({ cents: 11, lastSeq: 2 });
    given(credited(5))
      .when("debit", { cents: 5 })
      .thenEvents({ type: "Debited", data: { cents: 5 } });
    given(credited(5)).when("debit", { cents: 2 }).thenState({ cents: 3, lastSeq: 2 });
    given(credited(5)).when("debit", { cents: 6 }).thenRejects("INSUFFICIENT_FUNDS");
    given(credited(5)).when("debit", { cents: 6 }).thenRejects("INSUFFICIENT_FUNDS", { have: 5 });
    given([]).when("sweep").thenNothing();
    given(credited(5))
      .when("sweep")
      .thenEvents([{ type: "Debited", data: { cents: 5 } }]);
  });
});

describe("a specification that does not hold", () => {
  const message = (call: () => void): string => {
    try {
      call();
    } catch (thrown) {
      return (thrown as Error).message;
    }
    throw new Error("it held");
  };

  test("shows the lines that differ", () => {
    const outcome = given(credited(5)).when("debit", { cents: 5 });
    expect(message(() => outcome.thenEvents([{ type: "Debited", data: { cents: 4 } }]))).toBe(
      [
        "other events than expected (- expected, + actual)",
        "  [",
        "    {",
        "      data: {",
        "-       cents: 4",
        "+       cents: 5",
        "      },",
        "      type: 'Debited'",
        "    }",
        "  ]",
      ].join("\n"),
    );
    expect(message(() => outcome.thenNothing())).toContain("+       cents: 5");
    expect(message(() => outcome.thenState({ cents: 0, lastSeq: 9 }))).toContain(
      "-   lastSeq: 9\n+   lastSeq: 2",
    );
  });

  test("says what came instead of events or of a rejection", () => {
    const rejected = given([]).when("debit", { cents: 1 });
    expect(message(() => rejected.thenNothing())).toContain("the command rejected with");
    expect(message(() => rejected.thenRejects("CLOSED"))).toContain(
      "-   code: 'CLOSED',\n+   code: 'INSUFFICIENT_FUNDS'",
    );
    expect(message(() => rejected.thenRejects("INSUFFICIENT_FUNDS", { have: 1 }))).toContain("+     have: 0");
    const decided = given([]).when("sweep");
    expect(message(() => decided.thenRejects("CLOSED"))).toContain("a rejection with CLOSED was expected");
  });
});

test("a decider that changes its state or its events fails its specification", () => {
  const careless = defineAggregate({
    name: "careless",
    initialState: () => ({ items: [] as string[] }),
    evolve: {
      Added: (state, { data }) => {
        data.items.push("extra");
        return state;
      },
    },
  });
  expect(() => specification(careless).given({ type: "Added", data: { items: [] } })).toThrow(
    "evolve of careless",
  );
});

test("given events say of others what they would, or null once that is erased", () => {
  const parcel = defineAggregate({
    name: "parcel",
    version: 1,
    initialState: { to: "nowhere" as unknown },
    evolve: {
      Shipped: (state: { to: unknown }, event) => ("personal" in event ? { to: event.personal } : state),
    },
  });
  const shipped = (data: unknown) => ({
    type: "Shipped",
    data: {},
    personal: { subject: "customer-2", data },
  });
  specification(parcel).given(shipped("Elm Street 1")).thenState({ to: "Elm Street 1" });
  specification(parcel).given(shipped(null)).thenState({ to: null });
  specification(parcel).given({ type: "Shipped", data: {} }).thenState({ to: "nowhere" });
});
