/**
 * What the contract suite runs against: two aggregates that share events, a command that says no, and code that fails.
 *
 * A module has its exports in the order of their names, so `purse` is the default aggregate.
 */
import { defineAggregate, reject } from "warp";

type Moved = { data: { cents: number } };
type Filled = { data: { text: string; times: number } };
type Tally = { movements: number; texts?: string[]; nothing?: undefined };

export const purse = defineAggregate({
  name: "purse",
  version: 1,
  initialState: { cents: 0 },
  evolve: {
    Earned: (state, { data }: Moved) => ({ cents: state.cents + data.cents }),
    Spent: (state, { data }: Moved) => ({ cents: state.cents - data.cents }),
    Broken: () => {
      throw new Error("this event cannot be folded");
    },
  },
  commands: {
    spend: (state, input: { cents: number }) =>
      state.cents < input.cents
        ? reject("TOO_LITTLE", { have: state.cents })
        : { type: "Spent", data: input },
    fail: () => {
      throw new Error("this command fails");
    },
  },
});

export const tally = defineAggregate({
  name: "tally",
  version: 1,
  initialState: { movements: 0 } as Tally,
  evolve: {
    Earned: ({ movements }) => ({ movements: movements + 1 }),
    Spent: ({ movements }) => ({ movements: movements + 1 }),
    /** A state that is larger than any event, with a field that JSON leaves out. */
    Filled: (state, { data }: Filled) => ({
      ...state,
      texts: Array<string>(data.times).fill(data.text),
      nothing: undefined,
    }),
  },
  commands: {},
});
