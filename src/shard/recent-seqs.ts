/**
 * The seq that is due next for entities that were settled lately: a bounded, direct-mapped cache.
 *
 * It is there to catch a broken engine before it reaches the disk. What is not in it is not doubted; `check` proves
 * the rest.
 */

/** A power of two; 20 bytes each. */
const capacity = 65_536;

export class RecentSeqs {
  readonly #numbers = new Float64Array(capacity);
  readonly #shards = new Uint16Array(capacity);
  readonly #due = new Float64Array(capacity);

  /** The seq that is due for an entity, or 0 when that is not known. */
  dueFor(shard: number, number: number): number {
    const at = slotOf(shard, number);
    return this.#numbers[at] === number && this.#shards[at] === shard ? (this.#due[at] ?? 0) : 0;
  }

  remember(shard: number, number: number, due: number): void {
    const at = slotOf(shard, number);
    this.#numbers[at] = number;
    this.#shards[at] = shard;
    this.#due[at] = due;
  }
}

function slotOf(shard: number, number: number): number {
  return (Math.imul(shard, 0x9e37) ^ number) & (capacity - 1);
}
