/**
 * The built-in aggregate of a context without an application: counts events by type, and keeps the JSON merge patch
 * (RFC 7396) of their data in order.
 */
import { defineAggregate } from "./aggregate.ts";
import { mergePatch } from "./merge-patch.ts";

export interface DocumentState {
  /** Events so far, by type. */
  readonly counts: Readonly<Record<string, number>>;
  /** The data of all events merged; begins as `{}`. */
  readonly value: unknown;
}

const initialState: DocumentState = { counts: {}, value: {} };

export const document = defineAggregate({
  name: "document",
  version: 1,
  initialState,
  evolve: (state, { type, data }) => ({
    counts: {
      ...state.counts,
      [type]: (Object.hasOwn(state.counts, type) ? (state.counts[type] ?? 0) : 0) + 1,
    },
    value: mergePatch(state.value, data),
  }),
});
