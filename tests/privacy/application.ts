/**
 * What the processes fold and derive that are killed in the middle of erasures: the aggregates of the crash tests, and a
 * projection whose rows have everything of an event in plaintext.
 */
import { defineProjection } from "warp";
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
