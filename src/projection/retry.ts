/**
 * Doing again, later, what could not be done: after half a second, then after twice as long each time, up to a minute.
 */
const msMin = 500;
const msMax = 60_000;

export class Retry {
  readonly #work: () => void;
  #timer: NodeJS.Timeout | undefined;
  #ms = msMin;

  constructor(work: () => void) {
    this.#work = work;
  }

  get isPlanned(): boolean {
    return this.#timer !== undefined;
  }

  /** Once, however often it is asked for. */
  plan(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#work();
    }, this.#ms);
    this.#ms = Math.min(this.#ms * 2, msMax);
  }

  /** It could be done: the next wait is a short one. */
  reset(): void {
    this.#ms = msMin;
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
