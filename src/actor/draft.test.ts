import { expect, test } from "bun:test";
import { FoldPlan } from "../aggregate/fold.ts";
import { limits } from "../core/limits.ts";
import { draftEvents } from "./draft.ts";
import { Folding } from "./folding.ts";

test("types are counted while they are looked for: what is too much is not looked at to its end", () => {
  const events = Array.from({ length: limits.appendEventsMax }, (_, i) => ({ type: `T${i}`, data: null }));
  let looked = 0;
  const watched = new Proxy(events, {
    get: (list, name) => {
      if (name !== "length") looked++;
      return Reflect.get(list, name);
    },
  });
  const folding = new Folding(new FoldPlan([]), { info: () => {}, warn: () => {}, error: () => {} });
  expect(() => draftEvents(folding, watched)).toThrow("event types");
  expect(looked).toBe(limits.appendTypesMax + 1);
});
