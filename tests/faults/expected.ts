/**
 * What the recovery tests expect of a directory that was changed.
 */
import { expect } from "bun:test";
import type { Outcome } from "./flips.ts";

export const identical: Outcome = { kind: "identical", what: "" };
/** A WarpError with this code whose details have these words, in this order. */
export const error = (code: string, ...words: string[]): Outcome => ({
  kind: "error",
  what: expect.stringMatching(new RegExp([code, ...words].join(".*"))) as unknown as string,
});
