/** A feed that keeps who is told to wait from reading on behind a position. */
import { MemoryFeed } from "./memory-feed.ts";

export class HeldFeed extends MemoryFeed {
  readonly #held = new Map<number, { passes: number; release: Promise<void>; letGo: () => void }>();

  /** The first `passes` who read behind this position pass. */
  hold(after: number, passes: number): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(after, { passes, release: promise, letGo: resolve });
  }

  letGo(after: number): void {
    this.#held.get(after)?.letGo();
    this.#held.delete(after);
  }

  override async read(shard: number, after: number) {
    const held = this.#held.get(after);
    if (held !== undefined && held.passes-- <= 0) await held.release;
    return await super.read(shard, after);
  }
}
