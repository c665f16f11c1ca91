/**
 * Whether a backup shall end early: memory that the thread that asks and those that do it share. They look at it between pages
 * and objects; what an interrupted backup has written counts for nothing, and the next one removes it.
 */
import { WarpError } from "../../core/errors.ts";

export class StopFlag {
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(memory = new SharedArrayBuffer(4)) {
    this.memory = memory;
    this.#word = new Int32Array(memory);
  }

  set(): void {
    Atomics.store(this.#word, 0, 1);
  }

  /** Errors: ABORTED once it is set. */
  requireUnset(): void {
    if (Atomics.load(this.#word, 0) === 0) return;
    throw new WarpError("ABORTED", "the backup was interrupted; the one before it is as it was");
  }
}
