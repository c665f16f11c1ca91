/**
 * When something that failed is tried again: after 50 ms, and twice as long each time up to 5 s. Up to half of that less, by
 * chance, so that those who failed together do not come back together.
 */
const retryMsMin = 50;
const retryMsMax = 5_000;

export class Backoff {
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Calls `again` after the next wait, if {@link cancel} does not come before. */
  wait(again: () => void): void {
    const longest = Math.min(retryMsMax, retryMsMin * 2 ** this.#attempts++);
    this.#timer = setTimeout(again, longest * (0.5 + Math.random() / 2));
  }

  /** It has succeeded: the next wait is the shortest. */
  reset(): void {
    this.#attempts = 0;
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}
