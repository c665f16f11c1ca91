/**
 * When what erasures leave behind in the files of a build is removed: deletions that come together are purged together, and
 * purging takes a bounded share of the time.
 */
import type { FromBuild } from "../messages.ts";

/** Deletions that come together are purged together … */
const delayMs = 100;
/** … and purging takes at most this share of the time. */
const share = 0.1;

export interface PurgingParts {
  /** Has it done between two batches. */
  readonly runUrgently: (work: () => Promise<void>) => void;
  readonly purge: () => Promise<void>;
  readonly say: (message: FromBuild) => void;
}

export class Purging {
  readonly #parts: PurgingParts;
  #timer: NodeJS.Timeout | undefined;
  #purgedAt = 0;
  #tookMs = 0;
  readonly #asked: { shard: number; position: number }[] = [];

  constructor(parts: PurgingParts) {
    this.#parts = parts;
  }

  /** Somebody waits for the purge of this erasure, whose rows are deleted. */
  ask(shard: number, position: number): void {
    this.#asked.push({ shard, position });
  }

  /** Rows were deleted. */
  plan(): void {
    this.#timer ??= setTimeout(() => this.#parts.runUrgently(() => this.#run()), this.#delay());
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #delay(): number {
    const since = performance.now() - this.#purgedAt;
    return Math.max(delayMs, this.#tookMs / share - since);
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    const erased = this.#asked.splice(0);
    const start = performance.now();
    await this.#parts.purge();
    this.#purgedAt = performance.now();
    this.#tookMs = this.#purgedAt - start;
    this.#parts.say({ type: "purged", erased });
  }
}
