/**
 * How much of the main thread followers may take: after work of *d* ms they pause for 12 to 24 × *d*, as long as
 * something is appended meanwhile. Nothing is appended: they take what there is.
 */

/**
 * With it all followers together take a thirteenth of a busy main thread; what they leave in caches and for the collector, sockets
 * and the kernel come on top.
 */
const pauseFactor = 12;
/** That grows with their number: a thousand cost the writer a quarter of its speed at 12, and a sixth at 24. */
const pauseFactorOfMany = 24;
const many = 1000;
/** A thread that was not scheduled for a while has not worked for as long. */
const pauseMsMax = 600;
/** Passes over the microtasks in which those who were handed something do what they do at once. */
const microtasks = 8;

export class Pace {
  readonly #turns: () => number;
  readonly #followers: () => number;
  #seenTurn = 0;
  #freeAt = 0;
  /** Those who wait for their turn, one after the other. */
  #queue: Promise<void> = Promise.resolve();

  /** `turns` rises with every append that becomes durable; `followers` is how many there are. */
  constructor(turns: () => number, followers: () => number) {
    this.#turns = turns;
    this.#followers = followers;
  }

  /** ms until there may be more work. */
  get waitMs(): number {
    return Math.max(0, this.#freeAt - performance.now());
  }

  /** Work that began then has just been done; what it set off in microtasks is counted too. */
  async spent(startedAt: number): Promise<void> {
    for (let i = 0; i < microtasks; i++) await undefined;
    const now = performance.now();
    const turn = this.#turns();
    const isBusy = turn !== this.#seenTurn;
    this.#seenTurn = turn;
    if (!isBusy) return;
    const share = Math.min(1, this.#followers() / many);
    const factor = pauseFactor + share * (pauseFactorOfMany - pauseFactor);
    const pauseMs = Math.min((now - startedAt) * factor, pauseMsMax);
    this.#freeAt = Math.max(this.#freeAt, now) + pauseMs;
  }

  /** Does some work when there is time. Who asks waits in a line, and nothing is begun before it is known what the last took. */
  run(work: () => void): Promise<void> {
    const done = this.#queue.then(async () => {
      const { waitMs } = this;
      // Once: what others do meanwhile does not keep this one waiting for ever.
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const startedAt = performance.now();
      try {
        work();
      } finally {
        await this.spent(startedAt);
      }
    });
    // A failure is its caller's, not that of who comes behind.
    this.#queue = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }
}
