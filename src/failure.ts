/**
 * How the failure of any part reaches all of a context: the first one counts, whenever somebody comes to listen.
 */
import type { WarpError } from "./core/errors.ts";

/** The first failure of any part, kept until somebody can hear of it. */
export class Failure {
  error: WarpError | undefined;
  #onFailed: ((error: WarpError) => void) | undefined;
  #resolve: (error: WarpError) => void = () => {};
  /** Resolves when the engine fails. */
  readonly happened = new Promise<WarpError>((resolve) => {
    this.#resolve = resolve;
  });

  set(error: WarpError): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.#resolve(error);
    this.#onFailed?.(error);
  }

  set onFailed(listener: (error: WarpError) => void) {
    this.#onFailed = listener;
    if (this.error !== undefined) listener(this.error);
  }

  throwIfFailed(): void {
    if (this.error !== undefined) throw this.error;
  }
}
