/**
 * What the tests of erasures fold and derive: the aggregates of the crash tests with a projection whose rows have everything
 * of an event in plaintext, and an aggregate whose states have texts, with another.
 */
import { defineAggregate, defineProjection } from "warp";
import type { LoadEvent } from "../crash/aggregates.ts";

export { purse, trail } from "../crash/aggregates.ts";

export const marks = defineProjection<LoadEvent>()({
  name: "marks",
  tables: {
    mark: {
      columns: { owner: "text", seq: "integer", content: "text" },
      key: ["owner", "seq"],
      subjects: ["owner"],
    },
  },
  on: {
    Earned: ({ entity, seq, data }, { mark }) =>
      mark.insert({ owner: entity, seq, content: JSON.stringify(data) }),
    Spent: ({ entity, seq, data }, { mark }) =>
      mark.insert({ owner: entity, seq, content: JSON.stringify(data) }),
  },
});

export const memory = defineAggregate({
  name: "memory",
  version: 1,
  initialState: { loud: "" },
  evolve: { Remembered: (_, { data }: { data: { text: string } }) => ({ loud: data.text.toUpperCase() }) },
  snapshotEvery: 3,
});

export const notes = defineProjection<{ type: "Remembered"; data: { text: string } }>()({
  name: "notes",
  tables: {
    note: {
      columns: { owner: "text", seq: "integer", content: "text" },
      key: ["owner", "seq"],
      subjects: ["owner"],
    },
  },
  on: {
    Remembered: ({ entity, seq, data }, { note }) => note.insert({ owner: entity, seq, content: data.text }),
  },
});
