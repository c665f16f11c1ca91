/**
 * A hot path as the tool sees it: steps that run by themselves, and the whole they belong to.
 */
import type { Run } from "./clock.ts";

export interface Steps {
  /** By the names of the table. A step that is done once for many events says for how many (`per`). */
  readonly steps: Readonly<Record<string, { readonly run: Run; readonly per?: number }>>;
  /** ns of processor time that an event takes in a whole run; see the table for which threads. */
  whole(): Promise<number>;
  close(): Promise<void>;
}
